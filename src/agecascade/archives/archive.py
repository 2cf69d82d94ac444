"""Archive: a file, or all files of a folder, as one stream of members with safe names and errors of one line."""

from __future__ import annotations

import lzma
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from agecascade.archives import nested, recordio, streams
from agecascade.archives.nested import Entry
from agecascade.archives.streams import DEPTH, ENTRY_COST, Budget, Damaged, Locked, Place, Stream, Unsafe, decoded, on_disk, too_large
from agecascade.errors import ArchiveError
from agecascade.io import storage
from agecascade.io.storage import Location

PICTURE_SUFFIXES = (  # of the files that are read as pictures; their content decides which format they are
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".jp2", ".avif", ".heic", ".heif", ".hif"),
)
_FAULTS = (Damaged, Locked, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)
_OUTWARD = re.compile(r"/|[A-Za-z]:|(.*/)?\.\.(/|$)", re.DOTALL)
_LITTER = re.compile(
    r"(?:^|/)(?:\.(?!\.?(?:/|$))|(?:__MACOSX|@eaDir|@Recycle|#recycle|\$RECYCLE\.BIN|System Volume Information|lost\+found)(?:/|$)"
    r"|(?:Thumbs|ehthumbs|ehthumbs_vista)\.db$|desktop\.ini$|Icon\r$)",
    re.IGNORECASE,
)
_SHOWN = 100  # letters of a name in a message
_PLACE = 200  # bytes of an entry of `skipped` besides its name
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Member(NamedTuple):
    """A file of an archive. Call `read` before asking for the next member: a compressed tar runs forward only."""

    name: str  # posix path inside the archive; in an archive inside it, that one's path and then the path there
    read: Callable[[], bytes]


class Archive:
    """An archive file, or a folder of archives and loose files, as one stream of members; it can be read several times."""

    def __init__(self, path: Location) -> None:
        self.path = path
        self.skipped: dict[str, str] = {}  # member -> why it is never read; filled as `members` runs
        self._held = 0  # bytes of `skipped`
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
        """(path, storage.state) of every file, which changes when the archive does; read without opening the files."""
        return [(path, storage.state(path)) for _, path in self._paths() if not _is_dead(path)]

    def members(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Member]:
        """The plain files in the archive's own order (folders: sorted), those with one of `suffixes` in any case.

        Archives inside the archive are opened where they stand, up to three levels deep. Links, unsafe names and
        members that are too large are left out and noted in `skipped`. Raises ArchiveError on damaged content, also from `Member.read`.
        """
        for name, path in self._paths():
            entries = self._entries(path) if name is None else [_Loose(name, path)]
            for located in self._walk(entries, path, Budget(partial(storage.size, path))):
                if suffixes is not None and not located.name.lower().endswith(suffixes):
                    continue
                try:
                    refusal = located.entry.refusal()
                except _FAULTS as error:
                    raise _error(error, path, located.name) from error
                if refusal:
                    self._skip(located.name, refusal)
                else:
                    yield Member(located.name, partial(_read, located))

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
        if not storage.located(self.path).is_dir():
            yield None, str(self.path)
            return
        with _faults_named(str(self.path)):
            for folder, below, folders, files in storage.walk(self.path):
                folders[:] = sorted(name for name in folders if not is_litter(name))
                linked = [name for name in folders if _is_link(os.path.join(folder, name))]  # noqa: PTH118  # not visited, but told
                yield from self._files(folder, below, linked + [name for name in files if not is_litter(name)])

    def _files(self, folder: str, below: str, names: list[str]) -> Iterator[tuple[str | None, str]]:
        for name in sorted(sorted(names), key=nested.is_archive):  # tables before archives, so that a search for one ends early
            path = os.path.join(folder, name)  # noqa: PTH118  # there may be a million, and a Path takes five times as long
            if nested.is_archive(name) and not _is_special(path):
                yield None, path
            else:
                yield decoded(os.fsencode(f"{below}/{name}" if below else name)), path

    def _entries(self, path: str) -> Iterator[Entry]:
        """The entries of the archive file at `path`."""
        with _faults_named(path), storage.opened(path) as file:
            self._opened.add(file)
            try:
                size = storage.size(path)
                if path.lower().endswith(".rec"):
                    recordio.check_index(path[: -len(".rec")] + ".idx", size)
                yield from nested.entries(on_disk(Place(file, 0, size)), path)
            finally:
                self._opened.discard(file)

    def _walk(self, entries: Iterable[Entry], path: str, budget: Budget, within: str = "", depth: int = 0) -> Iterator[_Located]:
        """The plain files among `entries` and in archives among them."""
        for entry in entries:
            inner = _tidied(entry.name)
            if is_litter(inner):
                continue
            name = within + inner
            fault = _name_fault(inner) or entry.fault or nested.foreign(inner)
            if fault:
                self._skip(_printable(name), fault)
            elif not nested.is_archive(inner):
                yield _Located(name, entry, path)
            elif depth == DEPTH:
                self._skip(name, f"archives lie inside one another more than {DEPTH} deep")
            else:
                yield from self._inside(_Located(name, entry, path), budget, depth + 1)

    def _inside(self, located: _Located, budget: Budget, depth: int) -> Iterator[_Located]:
        try:
            with _faults_named(located.path, located.name):
                stream = located.entry.open()._replace(budget=budget)
                entries = _counted(nested.entries(stream, located.name), budget)
                yield from self._walk(entries, located.path, budget, f"{located.name}/", depth)
        except Unsafe as error:
            self._skip(located.name, str(error))

    def _skip(self, name: str, reason: str) -> None:
        """Note a member that is never read. Raises ArchiveError where their names would fill the memory."""
        if name not in self.skipped:
            self._held += sys.getsizeof(name) + _PLACE
        if self._held > streams.SKIPPED_LIMIT:
            raise ArchiveError(
                f"{self.path} holds {len(self.skipped):,} members that are not read and more, such as {_short(name)}: {reason}; unpack it "
                "by hand, and keep the pictures alone"
            )
        self.skipped[name] = reason


def _counted(entries: Iterable[Entry], budget: Budget) -> Iterator[Entry]:
    """The entries of an archive inside another, each of which costs it a part of the budget."""
    for entry in entries:
        budget.spend(ENTRY_COST)
        yield entry


class _Located(NamedTuple):
    """A member with the entry and the file on disk that it comes from."""

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
    """Whether it is a pipe or the like, which would block; a dangling link is not."""
    return not storage.is_remote(path) and Path(path).exists() and not Path(path).is_file()


def _is_link(path: str) -> bool:
    return not storage.is_remote(path) and os.path.islink(path)  # noqa: PTH114  # as _is_dead


def _is_dead(path: str) -> bool:
    """Whether it is a link that leads nowhere or to itself."""
    return not storage.is_remote(path) and not os.path.exists(path)  # noqa: PTH110  # a Path takes five times as long


def _read(located: _Located) -> bytes:
    try:
        return located.entry.read()
    except _FAULTS as error:
        raise _error(error, located.path, located.name) from error


def open_archives(path: Location) -> Archive:
    """The archive at `path`: a zip, tar or RecordIO file, or a folder of archives and loose files (data/raw/<name>/).

    `path` may be an fsspec address such as s3://bucket/faces.zip. Raises ArchiveError if it is missing or empty, or a file in it
    is truncated or no archive.
    """
    path = path if storage.is_remote(path) else Path(path)
    if not storage.located(path).exists():
        raise ArchiveError(f"{path} is missing; `dvc repro` fetches it")
    archive = Archive(path)
    archive.check()
    return archive


def _error(error: BaseException, path: str, member: str = "") -> ArchiveError:
    """One line for the user about one of _FAULTS."""
    where = f"{path}, member {member}," if member else f"{path}"
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Locked):
        return ArchiveError(f"{where} {reason}; unpack it by hand and put the folder in its place")
    if isinstance(error, OSError) and error.errno is not None:  # the system's, not a decoder's
        return ArchiveError(f"{where} cannot be read: {reason}")
    return ArchiveError(f"{where} is truncated, damaged or no archive ({reason}); fetch it again")


@contextmanager
def _faults_named(path: str, member: str = "") -> Iterator[None]:
    """Turn the errors of damaged content into one ArchiveError that names the file."""
    try:
        yield
    except _FAULTS as error:
        raise _error(error, path, member) from error


def _tidied(name: str) -> str:
    """The name with slashes for backslashes, and without the `./` that some tools put first."""
    return name.replace("\\", "/").removeprefix("./")


def is_litter(name: str) -> bool:
    """Whether a path holds a system's own file or folder, or a hidden one: .DS_Store, ._001A02.JPG, __MACOSX/, .thumbnails/, Thumbs.db."""
    return _LITTER.search(name) is not None


def _name_fault(name: str) -> str:
    """Why a member of this name is left out, or ""."""
    if len(name) > streams.NAME_LIMIT:
        return f"its name has {len(name):,} letters, more than the {streams.NAME_LIMIT:,} of a path"
    if _OUTWARD.match(name):
        return "its name leads out of the archive"
    return "its name holds control characters" if _CONTROL.search(name) else ""


def _short(name: str) -> str:
    """The name, or its beginning."""
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."


def _printable(name: str) -> str:
    """The name on one line."""
    return _CONTROL.sub(lambda control: f"\\x{ord(control[0]):02x}", name)
