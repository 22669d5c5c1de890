"""The rooms of the library: imports run downwards, in no circle, and a module is short enough to be read at once."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "src/readclade"
# From the lowest up: a module imports from its own room and from those above its line here.
ROOMS = [
    "readclade",
    "storage",
    "taxonomy",
    "inputs",
    "reads",
    "downloads",
    "dnabert2",
    "embedders",
    "shards",
    "results",
    "embedding",
    "clustering/ranks",
    "clustering/links",
    "clustering/groups",
    "clustering/genomes",
    "clustering",
    "labelling",
    "evaluation",
    "report",
    "workflow",
]
MOST_LINES = 300
# What later work writes anew.
TO_BE_REPLACED = {"reads/cleaning.py"}


def get_name(path: Path) -> str:
    """Return a module's name without `readclade.`; a package has its folder's."""
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts).removesuffix("__init__").strip(".")


MODULES = {get_name(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def get_room(module: str) -> str:
    """Return the folder of a module; modules of the library's own folder are the lowest room."""
    folder = MODULES[module].parent
    return "readclade" if folder == LIBRARY else str(folder.relative_to(LIBRARY))


def find_imports(module: str) -> set[str]:
    """Return the modules of the library that a module imports, wherever in its code."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "readclade":
            base = node.module.removeprefix("readclade").strip(".")
            names = [f"{base}.{name.name}".strip(".") for name in node.names]
            found |= {name if name in MODULES else base for name in names}
        if isinstance(node, ast.Import):
            found |= {name.name.removeprefix("readclade").strip(".") for name in node.names if "readclade" in name.name}
    return found


IMPORTS = {module: find_imports(module) for module in MODULES}


def test_every_folder_is_a_room():
    assert {get_room(module) for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_downwards(room):
    upwards = {
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if get_room(module) == room and ROOMS.index(get_room(other)) > ROOMS.index(room)
    }
    assert not upwards


def test_rooms_and_modules_are_in_no_circle():
    rooms = defaultdict(set)
    for module, others in IMPORTS.items():
        rooms[get_room(module)] |= {get_room(other) for other in others} - {get_room(module)}
    # Both raise CycleError, which names the circle. A package's own folder may import what lies in it.
    assert list(TopologicalSorter(rooms).static_order())
    assert list(TopologicalSorter({name: others - {name} for name, others in IMPORTS.items()}).static_order())


@pytest.mark.parametrize("path", sorted(set(MODULES.values())), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_module_can_be_read_at_once(path):
    if str(path.relative_to(LIBRARY)) not in TO_BE_REPLACED:
        assert len(path.read_text().splitlines()) <= MOST_LINES
