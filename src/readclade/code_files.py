"""Which files of the library decide a result: the inputs that make Snakemake run a rule again when code changes.

A rule names folders. What a run keeps from an earlier one, shards and checkpoints, goes by the imports of the module
that makes it: fewer files, because making them anew costs more.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_LIBRARY = Path(__file__).parent
# What cannot change a result: messages, arguments, checks that pass or refuse, the way of whole files.
HARMLESS = {"cli", "code_files", "errors", "formats", "inputs", "storage", "workflow"}


def list_code(*names: str) -> list[Path]:
    """Return the files of folders of the library, and of modules that lie beside these, in a fixed order."""
    found = []
    for name in names:
        folder = _LIBRARY / name
        files = folder.rglob("*") if folder.is_dir() else [folder.with_suffix(".py")]
        found += [file for file in files if not file.is_dir() and "__pycache__" not in file.parts]
    return sorted(file for file in found if not file.exists() or file.stat().st_size)


def find_sources(script: Path) -> list[Path]:
    """Return a script and the modules of the library that it imports, directly or not, in a fixed order."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _find_imports(path) if path.suffix == ".py" else []
    return sorted(found)


@cache
def _find_imports(path: Path) -> list[Path]:
    """Return the files of the library's modules that a file imports by `from readclade... import ...`."""
    modules = []
    for node in _walk_statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "readclade":
            package = node.module.split(".")[1:]
            names = [package, *([*package, name.name] for name in node.names)]
            modules += [name for name in names if name and name[0] not in HARMLESS]
    paths = [_LIBRARY.joinpath(*module) for module in modules]
    # A module's data, where it has any, lie beside it under its name.
    files = [
        file for path in paths for file in (path.with_suffix(".py"), path.with_suffix(".txt"), path / "__init__.py")
    ]
    return [file for file in files if file.exists() and file.stat().st_size]


def _walk_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements in a node: the expressions, which are ten times as many, import nothing."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from _walk_statements(child)
