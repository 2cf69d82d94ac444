"""A file, or all files of a folder, as one stream of members."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from agecascade.archives import names, nested, recordio
from agecascade.archives.limits import DEPTH, FAULTS, Unsafe, faults_told, told, too_large
from agecascade.archives.nested import Entry
from agecascade.archives.streams import Place, Stream, on_disk
from agecascade.errors import ArchiveError
from agecascade.io import storage
from agecascade.io.storage import Location


class Member(NamedTuple):
    """A file of an archive. Call `read` before asking for the next member: a compressed tar runs forward only."""

    name: str  # posix path inside the archive; in an archive inside it, that one's path and then the path there
    read: Callable[[], bytes]


class Archive:
    """The members of a file, or of all archives and loose files of a folder; `members` may be called several times."""

    def __init__(self, path: Location) -> None:
        self.path = path
        self.skipped: dict[str, str] = {}  # member -> why it is never read; filled as `members` runs
        self._opened: set[BinaryIO] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what unfinished passes left open; a later pass opens it again."""
        while self._opened:
            self._opened.pop().close()

    def state(self) -> list[tuple[str, str]]:
        """(path, storage.state) of every file: what changes when the archive does, told without reading it."""
        return [(path, storage.state(path)) for _, path in self._paths()]

    def members(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Member]:
        """The plain files in the archive's own order (folders: sorted), those with one of `suffixes` in any case.

        Archives inside the archive are gone through at their place, up to three levels deep. Links, unsafe names and what is
        too large to be read are left out and noted in `skipped`. Raises ArchiveError on damaged content, also from `Member.read`.
        """
        for name, path in self._paths():
            entries = self._entries(path) if name is None else [_Loose(name, path)]
            for found in self._walk(entries, path):
                if suffixes is not None and not found.name.lower().endswith(suffixes):
                    continue
                try:
                    refusal = found.entry.refusal()
                except FAULTS as error:
                    raise told(error, path, found.name) from error
                if refusal:
                    self.skipped[found.name] = refusal
                else:
                    yield Member(found.name, partial(_read, found))

    def check(self) -> None:
        """Raise ArchiveError unless every archive file can be opened and there is a file in one of them."""
        paths = files = 0
        for name, path in self._paths():
            paths += 1
            files += name is not None or next(self._entries(path), None) is not None
        if not files:
            raise ArchiveError(f"{self.path} {'holds no files' if paths else 'is empty'}; fetch the archive again")

    def _paths(self) -> Iterator[tuple[str | None, str]]:
        """(name of a loose file, or None for an archive; path)."""
        if not storage.is_dir(self.path):
            yield None, str(self.path)
            return
        for folder, folders, files in storage.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            visible = sorted(name for name in files if not name.startswith("."))
            within = storage.within(folder, self.path)
            for name in sorted(visible, key=nested.is_archive):  # tables before archives, so that a search for one ends early
                path = os.path.join(folder, name)  # noqa: PTH118  # there may be a million, and a Path takes five times as long
                if nested.is_archive(name) and not _is_special(path):
                    yield None, path
                else:
                    yield names.decoded(os.fsencode(f"{within}/{name}" if within else name)), path

    def _entries(self, path: str) -> Iterator[Entry]:
        """What the archive file at `path` holds."""
        with faults_told(path), storage.opened(path) as file:
            self._opened.add(file)
            try:
                size = storage.size(path)
                if path.lower().endswith(".rec"):
                    recordio.check_index(path[: -len(".rec")] + ".idx", size)
                yield from nested.entries(on_disk(Place(file, 0, size)), path)
            finally:
                self._opened.discard(file)

    def _walk(self, entries: Iterable[Entry], path: str, within: str = "", depth: int = 0) -> Iterator[_Found]:
        """The plain files among `entries` and in archives among them."""
        for entry in entries:
            inner = names.tidied(entry.name)
            if names.is_litter(inner):
                continue
            name = within + inner
            fault = names.fault(inner) or entry.fault or nested.foreign(inner)
            if fault:
                self.skipped[names.shown(name)] = fault
            elif not nested.is_archive(inner):
                yield _Found(name, entry, path)
            elif depth == DEPTH:
                self.skipped[name] = f"archives lie inside one another more than {DEPTH} deep"
            else:
                yield from self._inside(_Found(name, entry, path), depth + 1)

    def _inside(self, found: _Found, depth: int) -> Iterator[_Found]:
        try:
            with faults_told(found.path, found.name):
                entries = nested.entries(found.entry.open(), found.name)
                yield from self._walk(entries, found.path, f"{found.name}/", depth)
        except Unsafe as error:
            self.skipped[found.name] = str(error)


class _Found(NamedTuple):
    """A member with where it comes from."""

    name: str
    entry: Entry
    path: str  # of the file on disk


class _Loose:
    """A file of a folder as an entry."""

    __slots__ = ("_path", "fault", "name")

    def __init__(self, name: str, path: str) -> None:
        self.name, self._path = name, path
        plain = storage.is_remote(path) or os.path.isfile(path)  # noqa: PTH113
        self.fault = "" if plain else "it is a link or a device, no file"

    def refusal(self) -> str:
        return too_large(storage.size(self._path))

    def read(self) -> bytes:
        with storage.opened(self._path) as file:
            return file.read()

    def open(self) -> Stream:
        return on_disk(Place(storage.opened(self._path), 0, storage.size(self._path)))


def _is_special(path: str) -> bool:
    """Whether it is a pipe or the like, which would be waited for; a link to nowhere is not."""
    return not storage.is_remote(path) and Path(path).exists() and not Path(path).is_file()


def _read(found: _Found) -> bytes:
    try:
        return found.entry.read()
    except FAULTS as error:
        raise told(error, found.path, found.name) from error


def open_archives(path: Location) -> Archive:
    """The archive at `path`: a zip, tar or RecordIO file, or a folder of archives and loose files (data/raw/<name>/).

    `path` may be an fsspec address such as s3://bucket/faces.zip. Raises ArchiveError if it is missing or empty, or a file in it
    is truncated or no archive.
    """
    path = path if storage.is_remote(path) else Path(path)
    if not storage.exists(path):
        raise ArchiveError(f"{path} is missing; `dvc repro` fetches it")
    archive = Archive(path)
    archive.check()
    return archive
