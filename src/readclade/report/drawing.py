"""The figures of the report, as images that lie inside the HTML file.

Dense scatter plots are PNG, everything else is SVG. The same data give the same bytes: no dates, no random names, one
thread. Labels come from files, so they are never read as formulas.
"""

import base64
import io
import re
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter
from matplotlib.typing import RcKeyType
from PIL import Image as PillowImage
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from readclade.reads.plan import ReadPlan

# Okabe & Ito (2008) and Paul Tol's "muted" set: distinct for the colour-blind as far as twenty colours can be.
PALETTE = (
    "#0072B2", "#E69F00", "#117733", "#CC79A7", "#56B4E9", "#882255", "#D55E00", "#44AA99", "#332288", "#B8A000",
    "#CC6677", "#009E73", "#AA4499", "#6B4423", "#88CCEE", "#999933", "#7A5195", "#DDAA77", "#2F4B4B", "#F08080",
)  # fmt: skip
GREY = "#8A8A8A"  # unclassified
PALE = "#D4D4D4"  # unassigned
OTHER = "#BFB3A2"  # taxa beyond the palette
_INK = "#24303A"
FEWEST_FOR_TSNE = 30
MOST_LABELS = 24
_STYLE: dict[RcKeyType, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#7A858F",
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 9,
    "grid.color": "#E3E7EA",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "readclade",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class Image:
    """An image for an <img> element: `source` is a data URI, `alt` says in words what is seen."""

    source: str
    alt: str


@dataclass(frozen=True)
class Bar:
    """One bar: its label and value, the text at its end and its colour."""

    label: str
    value: float
    text: str
    colour: str
    is_italic: bool = False


@dataclass(frozen=True)
class Dots:
    """One class of points of a map: rows of the points, colour, and what stands at its middle and in the legend."""

    rows: np.ndarray
    colour: str
    label: str
    legend: str | None = None


def get_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name; names beyond the palette share one."""
    return {name: PALETTE[i] if i < len(PALETTE) else OTHER for i, name in enumerate(names)}


def clean_label(text: str, longest: int = 48) -> str:
    """Return a text that can be drawn: without control characters, shortened in the middle."""
    text = re.sub(r"[^\S ]|[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", text).strip()
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def lay_out(vectors: np.ndarray) -> np.ndarray:
    """Return (n, 2) places of (n, r) calibrated vectors: t-SNE, or the first two directions of very few vectors.

    Source: van der Maaten & Hinton (2008), doi:10.5555/1390681.1390720; started from the first two directions.
    """
    first_two = np.zeros((len(vectors), 2))
    first_two[:, : min(2, vectors.shape[1])] = vectors[:, :2]
    spread = first_two.std() if len(vectors) >= FEWEST_FOR_TSNE else 0.0
    if not spread > 0:
        return first_two
    # More threads would add up in another order, and t-SNE turns a last bit into another picture.
    with threadpool_limits(1):
        method = TSNE(
            init=(first_two / spread * 1e-4).astype(np.float32),
            perplexity=min(30.0, (len(vectors) - 1) / 3),
            max_iter=500,
            random_state=0,
            n_jobs=1,
        )
        return method.fit_transform(vectors.astype(np.float32))


def draw_maps(places: np.ndarray, panels: dict[str, list[Dots]], alt: str, dots_per_inch: int = 200) -> Image:
    """Draw the same (n, 2) places once for each panel, by title, in that panel's colours."""
    legend = list({dots.legend: dots.colour for panel in panels.values() for dots in panel if dots.legend}.items())
    columns = 4
    inches = 0.3 + 0.2 * -(-len(legend) // columns)
    with use_style():
        figure = Figure(figsize=(10.4, 5.2 + inches), layout="none")  # type: ignore[arg-type]  # "none" is documented
        bottom = inches / (5.2 + inches)
        for number, (title, panel) in enumerate(panels.items()):
            axes = figure.add_axes((0.005 + 0.5 * number, bottom, 0.49, 0.95 - bottom), xticks=[], yticks=[])
            axes.set_title(title)
            axes.spines[:].set_visible(True)
            colours = np.full(len(places), PALE, dtype="<U7")
            for dots in panel:
                colours[dots.rows] = dots.colour
            # In a mixed order no class covers another one.
            order = np.random.default_rng(0).permutation(len(places))
            size = np.clip(12000 / max(len(places), 1), 2.5, 40)
            axes.scatter(places[order, 0], places[order, 1], s=size, c=colours[order], linewidths=0, alpha=0.8)
            # More labels than these, or labels of a few dots, would cover the map.
            for dots in sorted(panel, key=lambda dots: -len(dots.rows))[:MOST_LABELS]:
                if dots.label and len(dots.rows) * 200 >= max(len(places), 1):
                    _write_at_middle(axes, places[dots.rows], clean_label(dots.label, 24))
        handles = [
            Line2D([], [], color=colour, label=clean_label(name, 40), marker="o", linestyle="")
            for name, colour in legend
        ]
        if handles:
            style = {"handletextpad": 0.2, "columnspacing": 1.2, "fontsize": 8.5}
            figure.legend(handles=handles, loc="lower center", ncols=min(columns, len(handles)), **style)
        return Image(_get_png(figure, dots_per_inch), alt)


def draw_bars(bars: Sequence[Bar], axis: str, alt: str) -> Image:
    """Draw horizontal bars from top to bottom with their texts."""
    with use_style():
        figure = Figure(figsize=(10.4, 0.75 + 0.27 * max(len(bars), 1)), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(bars))
        axes.barh(rows, [bar.value for bar in bars], color=[bar.colour for bar in bars], height=0.72)
        axes.set_yticks(rows, [clean_label(bar.label) for bar in bars])
        for tick, bar in zip(axes.get_yticklabels(), bars, strict=True):
            tick.set_fontstyle("italic" if bar.is_italic else "normal")
        for row, bar in enumerate(bars):
            axes.annotate(bar.text, (bar.value, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
        axes.set_ylim(len(bars) - 0.4, -0.6)
        # A letter of the text takes about 1 % of the axis.
        axes.set_xlim(0, max([bar.value * (1.02 + 0.0115 * len(bar.text)) for bar in bars], default=1) or 1)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set_xlabel(axis)
        return Image(get_svg(figure), alt)


def draw_stacks(stacks: dict[str, list[Bar]], legend: Sequence[Bar], axis: str, alt: str) -> Image:
    """Draw one horizontal stack for each name, with one legend."""
    with use_style():
        columns = 4
        inches = 0.1 + 0.2 * -(-len(legend) // columns)
        height = 0.6 + 0.4 * len(stacks) + inches
        figure = Figure(figsize=(10.4, height), layout="none")  # type: ignore[arg-type]  # "none" is documented
        bottom = (inches + 0.5) / height
        axes = figure.add_axes((0.13, bottom, 0.85, 1 - bottom - 0.05))
        for row, stack in enumerate(stacks.values()):
            left = 0.0
            for bar in stack:
                axes.barh(row, bar.value, left=left, height=0.68, color=bar.colour, edgecolor="white", linewidth=0.6)
                left += bar.value
        axes.set_yticks(range(len(stacks)), [clean_label(name, 20) for name in stacks])
        axes.set_ylim(len(stacks) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set_xlabel(axis)
        handles = [Patch(color=bar.colour, label=clean_label(bar.label)) for bar in legend]
        figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=8.5, columnspacing=1.2)
        return Image(get_svg(figure), alt)


def draw_reads(reads: ReadPlan, alt: str) -> Image:
    """Draw the lengths, the GC content and the base qualities that `reads.json` counts."""
    with use_style():
        figure = Figure(figsize=(10.4, 2.7), layout="constrained")
        lengths, gc, qualities = figure.subplots(1, 3)
        edges, counts = reads.lengths.edges, reads.lengths.counts
        if len(edges) == 2:
            lengths.bar(edges[0], counts[0], width=edges[0] * 0.06, color=PALETTE[0])
            lengths.set_xlim(0, edges[0] * 1.4)
        else:
            lengths.stairs(counts, edges, fill=True, color=PALETTE[0])
        if edges[-1] > 4 * edges[0]:
            lengths.set_xscale("log")
            lengths.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            lengths.xaxis.set_minor_formatter(NullFormatter())
        lengths.set(title="Read length", xlabel="bases", ylabel="reads")
        # Bins of 2 %: 1 % of a short read is hardly more than one base, and would show as a comb.
        shares = np.asarray(reads.gc.counts).reshape(-1, 2).sum(axis=1)
        gc.stairs(shares, np.linspace(0, 100, len(shares) + 1), fill=True, color=PALETTE[2])
        gc.set(title="GC content", xlabel="% G and C of a read", xlim=(0, 100))
        millions = np.array(reads.qualities.counts or [0]) / 1e6
        qualities.bar(np.arange(len(millions)), millions, width=0.9, color=PALETTE[1])
        qualities.xaxis.set_major_locator(MaxNLocator(integer=True))
        qualities.set_xlim(-1, max(len(millions), 41))
        qualities.set(title="Base quality", xlabel="Phred score", ylabel="million bases")
        for axes in (lengths, gc):
            axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        return Image(get_svg(figure), alt)


def draw_heat_map(shares: np.ndarray, rows: Sequence[str], columns: Sequence[str], alt: str) -> Image:
    """Draw (rows, columns) shares between 0 and 1; a share of 1 % and more is written into its cell."""
    with use_style():
        figure = Figure(figsize=(10.4, 1.1 + 0.28 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        mesh = axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
        fontsize = 8 if len(columns) <= 24 else 5.5
        for row, column in zip(*np.nonzero(shares >= 0.01), strict=True):
            share = shares[row, column]
            ink = "white" if share > 0.55 else _INK
            place = (column + 0.5, row + 0.5)
            axes.annotate(f"{100 * share:.0f}", place, ha="center", va="center", fontsize=fontsize, color=ink)
        axes.set_yticks(np.arange(len(rows)) + 0.5, [clean_label(name) for name in rows])
        axes.set_xticks(
            np.arange(len(columns)) + 0.5, columns, fontsize=fontsize, rotation=45 if len(columns) > 24 else 0
        )
        axes.set_ylim(len(rows), 0)
        axes.tick_params(length=0)
        axes.grid(False)
        bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=40, format=PercentFormatter(1, decimals=0))
        bar.set_label("of the genome's fragments")
        bar.outline.set_visible(False)
        return Image(get_svg(figure), alt)


def _write_at_middle(axes, places: np.ndarray, label: str) -> None:
    """Write a label on the point that is nearest to the median of its class, where the class is."""
    middle = np.median(places, axis=0)
    place = places[np.argmin(((places - middle) ** 2).sum(axis=1))]
    outline = [withStroke(linewidth=2.6, foreground="white")]
    axes.annotate(label, place, ha="center", va="center", fontsize=8.5, weight="bold", path_effects=outline)


@contextmanager
def use_style():
    """Draw in the report's style."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box in a PNG; browsers find one for an SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def get_svg(figure: Figure) -> str:
    """Return a figure as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _get_png(figure: Figure, dots_per_inch: int) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    # A palette halves the file, and nobody sees the difference.
    image = PillowImage.open(buffer).convert("RGB").quantize(128, dither=PillowImage.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
