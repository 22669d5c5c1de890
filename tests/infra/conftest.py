"""What the tests of the clouds' code share: every template as a mapping, and a reason where they cannot run."""

from importlib.util import find_spec
from typing import Any

import pytest


def pytest_pycollect_makemodule(module_path, parent):
    """Skip this folder, with the reason, in an environment that is not the one `make infra` makes."""
    if not find_spec("cfnlint"):
        pytest.skip("tests/infra run in .venv-infra: make infra", allow_module_level=True)


@pytest.fixture(scope="session")
def templates() -> dict[str, dict[str, Any]]:
    """Return the template of every stack by its name."""
    from infra.app import make_stacks

    return {stack.name: stack.to_template() for stack in make_stacks()}
