"""Take the picture of the README out of the demo's report.

Example, from the repository root, after `make demo`:
    .venv/bin/python docs/make_figures.py
"""

import base64
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write the map of the sample `long`, the last of the report's PNG images."""
    report = (ROOT / "demo/run/results/report.html").read_text(encoding="utf-8")
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', report)
    (ROOT / "docs/figures/demo-long-map.png").write_bytes(base64.b64decode(images[-1]))


if __name__ == "__main__":
    main()
