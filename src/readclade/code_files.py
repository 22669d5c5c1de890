"""Which source files decide what a script writes: the inputs that make Snakemake run a rule again when code changes."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_LIBRARY = Path(__file__).parent
# What cannot change a result: messages, arguments, checks that pass or refuse, the renaming of whole files.
_HARMLESS = {
    "cli",
    "errors",
    "storage.files",
    "embedding.remote_files",
    "shards.manifest",
    "embedding.metrics",
    "storage.s3",
    "storage.s3_client",
    "storage.s3_reader",
}
_HARMLESS |= {"inputs.schemas", "shards.store", "code_files", "storage.locations", "inputs.tables"}


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


@cache  # Snakemake asks for eleven scripts, which share most modules
def _find_imports(path: Path) -> list[Path]:
    """Return the files of the library's modules that a file imports by `from readclade... import ...`."""
    modules = []
    for node in _walk_statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "readclade":
            package = node.module.split(".")[1:]
            names = [package, *([*package, name.name] for name in node.names)]
            modules += [name for name in names if name and ".".join(name) not in _HARMLESS]
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
