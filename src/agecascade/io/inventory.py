"""Inventory of the files that a person has placed by hand: small JSON files that change only when those files do.

DVC does not watch archives/ nor the mirror. The stage `inventory` runs at every `dvc repro`, and `download` depends on what it writes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agecascade.io.files import checksum, write_json, written_beside
from agecascade.io.places import Source, repository_root, state_folder

SMALL = 16 * 2**20  # bytes of a file that is known by its content; larger ones by length and time of change

Entry = dict[str, Any]


def write_inventory(sources_of: Mapping[str, Sequence[Source]], data: Path) -> list[str]:
    """Write <data>/inventory/<data set>.json for every data set: {file: its listing} of those that lie in the mirror or in archives/.

    Files that are gone, but were copied to data/raw, stay listed as they were: nothing is to be fetched again. Returns a line for each of
    these. Raises FetchError for a wrong mirror.
    """
    remembered = state_folder() / "inventory"
    entries: dict[str, Entry] = {}
    for name, sources in sources_of.items():
        before = _read(data / "inventory" / f"{name}.json") or _read(remembered / f"{name}.json")
        entries[name] = {source.file: listed for source in sources if (listed := _listed(source, name, data, before)) is not None}
    with written_beside(data / "inventory") as folder:
        folder.mkdir()
        for name, entry in entries.items():
            write_json(folder / f"{name}.json", entry)
            if entry:  # for the time after another study, whose inventory replaces this one
                remembered.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / f"{name}.json", remembered / f"{name}.json")
    gone = ((name, source) for name, sources in sources_of.items() for source in sources if source.file in entries[name])
    return [
        f"{name}: {source.place} is no longer there; its copy in data/raw/{name} is used" for name, source in gone if source.local() is None
    ]


def listing(path: Path) -> Entry:
    """What tells a file or folder from a changed one: its name, number of files, bytes, and a digest of names, lengths and times.

    A single small file is known by its content alone. Links are followed as a copy follows them; what cannot be read counts with its name.
    """
    if path.is_file():
        size = path.stat().st_size
        digest = checksum(path) if size <= SMALL else _digest([(path.name, size, path.stat().st_mtime_ns)])
        return {"name": path.name, "files": 1, "bytes": size, "digest": digest}
    files = sorted(_files(path, ""))
    return {"name": path.name, "files": len(files), "bytes": sum(size for _, size, _ in files), "digest": _digest(files)}


def _listed(source: Source, name: str, data: Path, before: Entry) -> Entry | None:
    """The listing of a source, None where it was not placed by hand."""
    path = source.local()
    with suppress(FileNotFoundError):  # removed while it is read: it is gone
        if path is not None:
            return listing(path)
    if source.file not in before:
        return None
    raw = (root / data / "raw" / name / copy for root in (Path(), repository_root()) for copy in source.names())
    return before[source.file] if any(map(os.path.lexists, raw)) else None


def _read(path: Path) -> Entry:
    """An earlier inventory; nothing where there is none, or what is there cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _files(folder: Path, below: str, seen: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[str, int, int]]:
    """(path, bytes, time of change in ns) of every file; the folder itself is called `below`, and `seen` are those above it."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:  # a link that leads back
        return
    above = seen | {(status.st_dev, status.st_ino)}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            try:
                if entry.is_dir():
                    yield from _files(Path(entry.path), f"{name}/", above)
                    continue
                status = entry.stat()
                yield name, status.st_size, status.st_mtime_ns
            except OSError:  # a link to nothing, or a folder that this user may not read
                yield name, 0, 0


def _digest(files: Sequence[tuple[str, int, int]]) -> str:
    lines = "".join(f"{name}\0{size}\0{time}\n" for name, size, time in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()
