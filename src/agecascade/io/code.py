"""Which code made this: the modules that a module or script imports, directly or through others.

One answer for DVC and for interrupted work: the closure of each stage's script is written for DVC to watch (io.stage_code), and the
fingerprints of unfinished work (io.resume) hold the closure's digest. So a changed plot retrains nothing, and a changed loss
leaves nothing stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from agecascade.io.imports import PACKAGE, said

SOURCE = Path(__file__).resolve().parents[2]  # the folder that holds the package


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
    for name in said(path).imports:
        if name.split(".")[0] == PACKAGE:
            files |= _module_files(name, source)
        elif not path.is_relative_to(source / PACKAGE) and (beside := path.parent / f"{name}.py").is_file():
            files.add(beside)
    return frozenset(files - {path})


def named_modules(path: Path, source: Path = SOURCE) -> frozenset[str]:
    """The modules of the package that strings of the module at `path` name, as a registry of readers does, without what follows a colon."""
    names = {string.partition(":")[0] for string in said(path).strings if string.startswith(f"{PACKAGE}.")}
    return frozenset(name for name in names if _file_of(name, source) is not None)


def named_scripts(path: Path, folder: Path) -> frozenset[Path]:
    """The scripts in a folder that strings of the module at `path` name, as one that is run in an environment of its own."""
    return frozenset(folder / string for string in said(path).strings if string.endswith(".py") and (folder / string).is_file())


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
