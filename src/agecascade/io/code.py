"""Which code made this: the modules that a module or script imports, directly or through others.

One answer for DVC and for interrupted work. A test compares the closure of each stage's script with the `deps` of dvc.yaml
(tests/pipeline/test_stage_dependencies.py), and the fingerprints of unfinished work (io.resume) hold the closure's digest.
So a changed plot retrains nothing, and a changed loss leaves nothing stale.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock

SOURCE = Path(__file__).resolve().parents[2]  # the folder that holds the package
PACKAGE = Path(__file__).resolve().parents[1].name

_PARSING = Lock()  # Python 3.11 has one recursion counter for all threads that parse; a switch between them is a SystemError


@cache
def import_closure(*entries: str | Path, source: Path = SOURCE) -> frozenset[Path]:
    """The Python files of the package that these modules (dotted names) or scripts (paths) import, and the entries themselves.

    Imports inside functions count, for the function may be called; imports under TYPE_CHECKING do not. A module that is named
    in a string alone, as in a registry, is no import: see `named_modules`. source: the folder that holds the package.
    """
    waiting = [path for entry in entries for path in _entry_files(entry, source)]
    closure: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in closure:
            closure.add(path)
            waiting += imported_files(path, source)
    return frozenset(closure)


def code_digest(*entries: str | Path, source: Path = SOURCE) -> str:
    """SHA-256 over the names and contents of the import closure, in hexadecimal."""
    return files_digest(import_closure(*entries, source=source), source)


def files_digest(paths: Iterable[Path], source: Path = SOURCE) -> str:
    """SHA-256 over the names and contents of these files, in any order."""
    state = hashlib.sha256()
    for path in sorted(paths):
        name = path.relative_to(source) if path.is_relative_to(source) else Path(path.name)
        state.update(name.as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


@cache
def imported_files(path: Path, source: Path = SOURCE) -> frozenset[Path]:
    """The files that the module at `path` imports itself, from the package or from the script's own folder."""
    files: set[Path] = set()
    for name in _imported_names(path):
        if name.split(".")[0] == PACKAGE:
            files |= _module_files(name, source)
        elif not path.is_relative_to(source / PACKAGE) and (beside := path.parent / f"{name}.py").is_file():
            files.add(beside)
    return frozenset(files - {path})


def named_modules(path: Path, source: Path = SOURCE) -> frozenset[str]:
    """The modules of the package that strings of the module at `path` name, as a registry of readers does, without what follows a colon."""
    strings = (node.value for node in ast.walk(_parsed(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    names = {string.partition(":")[0] for string in strings if string.startswith(f"{PACKAGE}.")}
    return frozenset(name for name in names if _file_of(name, source) is not None)


def _entry_files(entry: str | Path, source: Path) -> set[Path]:
    return {entry} if isinstance(entry, Path) else _module_files(entry, source)


def _module_files(name: str, source: Path) -> set[Path]:
    """The file of a dotted name and those of the packages that hold it, which run first; of `package.attribute` those of the package."""
    parts = name.split(".")
    files = (_file_of(".".join(parts[:end]), source) for end in range(1, len(parts) + 1))
    return {file for file in files if file is not None}


def _file_of(name: str, source: Path) -> Path | None:
    place = source.joinpath(*name.split("."))
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _parsed(path: Path) -> ast.Module:
    with _PARSING:
        return ast.parse(path.read_bytes(), str(path))


def _imported_names(path: Path) -> Iterator[str]:
    """Every dotted name that the module imports; of `from a import b` both a and a.b, for b may be a module."""
    for node in _running(_parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node`, but those under TYPE_CHECKING and in a module's `__getattr__`: whoever uses its attributes imports them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef) and child.name == "__getattr__" and isinstance(node, ast.Module):
            continue
        yield child
        yield from _running(child)
