"""Archives of any kind, also inside others: which reader takes a file, and the entries that it holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from agecascade.archives import recordio, streams, tar_archive, zip_archive
from agecascade.archives.streams import Locked, Place, Stream, chunks, on_disk

_ZIP_SUFFIXES = (".zip",)
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_RECORD_SUFFIXES = (".rec",)
SUFFIXES = _ZIP_SUFFIXES + _TAR_SUFFIXES + _RECORD_SUFFIXES

_FOREIGN = {b"Rar!\x1a\x07": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive", b"\x28\xb5\x2f\xfd": "compressed by Zstandard"}


class Entry(Protocol):
    """A file, link or device in an archive."""

    name: str  # as it stands in the archive
    fault: str  # why it is no plain file, or ""

    def refusal(self) -> str:
        """Why the content is never read, or ""; call it before `read`."""

    def read(self) -> bytes:
        """The content."""

    def open(self) -> Stream:
        """The content as a stream, of any size, for an archive inside the archive."""


def is_archive(name: str) -> bool:
    """Whether a file of this name is treated as an archive."""
    return name.lower().endswith(SUFFIXES)


def foreign(name: str) -> str:
    """Why an archive of this name is left out, or ""."""
    return "it is an archive that is not read here: unpack it by hand" if name.lower().endswith((".rar", ".7z")) else ""


def entries(stream: Stream, name: str) -> Iterator[Entry]:
    """The entries of an archive called `name`, whose kind is recognised by its first bytes, else by its suffix.

    Raises Damaged, Locked, and Unsafe for a zip file inside another archive that is too large to be copied out.
    """
    start = stream.file.peek(6)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise Locked(f"is {what}, which is not read here")
    if start.startswith((b"PK\3\4", b"PK\5\6")) or name.lower().endswith(_ZIP_SUFFIXES):
        with _seekable(stream) as placed:
            yield from zip_archive.entries(placed)
    elif start.startswith(recordio.MAGIC) or name.lower().endswith(_RECORD_SUFFIXES):
        yield from recordio.entries(stream)
    else:
        yield from tar_archive.entries(stream)


@contextmanager
def _seekable(stream: Stream) -> Iterator[Stream]:
    """A seekable stream: itself, or a copy in memory or, if large, in a temporary file that is removed again."""
    if stream.place is not None:
        yield stream
        return
    with tempfile.SpooledTemporaryFile(max_size=streams.SPOOL_MEMORY) as copy:
        size = 0
        for chunk in chunks(stream.file.read, stream.consumed, None, streams.SPOOL_LIMIT):
            size += copy.write(chunk)
        yield on_disk(Place(copy, 0, size), stream.budget)
