"""Streams of bytes: a file, a member inside it, the content of a compressed member; and the limits to which they are read.

An archive must fill neither the memory nor the disk.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

MEMBER_LIMIT = 512 << 20  # bytes of one member
RATIO, RATIO_FROM = 200, 16 << 20  # a member of more than 16 MiB is compressed to a 200th at most
MEMORY_LIMIT = 256 << 20  # of an xz decoder: its default at the highest level takes 65 MiB
SPOOL_MEMORY, SPOOL_LIMIT = 64 << 20, 8 << 30  # bytes of a nested zip file that is copied, in memory and in all
NAME_LIMIT = 4096  # letters of a member's name, as of a path
SKIPPED_LIMIT = 256 << 20  # bytes that the names of members that are not read take: about a million names
DEPTH = 3  # archives inside the outer one
INNER_FROM = 256 << 20  # bytes that all archives inside a file on disk may unpack to, or RATIO times its size if that is more
ENTRY_COST = 512  # bytes that each of their entries counts as, besides
CHUNK = 128 << 10  # bytes read at once
AHEAD = 2 * CHUNK  # compressed bytes that decoders and buffers may read ahead


class Damaged(Exception):
    """Content is truncated, corrupt or of no known format; the message says how."""


class Locked(Exception):
    """Content is intact but encrypted or of a format that is not supported; the message says why."""


class Unsafe(Exception):
    """Content is not read because it would fill the memory or the disk; the message says why."""


class Seekable(Protocol):
    """A file that can be read anywhere."""

    def seek(self, offset: int, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...


class Place(NamedTuple):
    """A range of bytes of a seekable file. Many places share one file."""

    file: Seekable
    start: int
    size: int


class Budget:
    """What the archives inside one file on disk may unpack to in all: three levels of bombs make billions of members of 4 MB."""

    def __init__(self, packed: Callable[[], int]) -> None:
        self._packed = packed  # asked for where there is an archive inside
        self._spent = self._limit = 0

    def spend(self, size: int) -> None:
        """Count so many bytes. Raises Locked beyond the limit."""
        self._limit = self._limit or max(INNER_FROM, RATIO * self._packed())
        self._spent += size
        if self._spent > self._limit:
            raise Locked(f"and the archives before it unpack to more than {self._limit:,} bytes, as those of a bomb do")


class Stream(NamedTuple):
    """Bytes to read forward; `file` is seekable where it has a `place`."""

    file: io.BufferedReader
    place: Place | None = None
    consumed: Callable[[], int] | None = None  # compressed bytes read so far; None where nothing is compressed
    budget: Budget | None = None  # of an archive inside another, for whatever it unpacks


def buffered(raw: io.RawIOBase) -> io.BufferedReader:
    """A buffered reader of CHUNK bytes, so that many small members take one read."""
    return io.BufferedReader(raw, CHUNK)


def on_disk(place: Place, budget: Budget | None = None) -> Stream:
    """The stream of the bytes of a place."""
    return Stream(buffered(_Part(place)), place, None, budget)


def unpacked(stream: Stream) -> Stream:
    """The decompressed content of a gzip, bzip2 or xz stream, recognised by its first bytes; any other stream unchanged."""
    start = stream.file.peek(6)
    for magic, decoder in _DECODERS.items():
        if start.startswith(magic):
            raw = Unpacked(stream.file.read, decoder, budget=stream.budget)
            return Stream(buffered(raw), consumed=raw.consumed, budget=stream.budget)
    return stream


def chunks(read: Callable[[int], bytes], consumed: Callable[[], int] | None, size: int | None, limit: int) -> Iterator[bytes]:
    """Read the next `size` bytes, or all, in chunks; `consumed` as in Stream.

    Raises Unsafe above `limit` or where they are too densely compressed, Damaged where they end early.
    """
    taken = consumed() if consumed else 0
    done = 0
    while size is None or done < size:
        chunk = read(CHUNK if size is None else min(CHUNK, size - done))
        if not chunk and size is None:
            return
        if not chunk:
            raise Damaged("it ends too early")
        done += len(chunk)
        reason = too_dense(done, consumed() - taken + AHEAD) if consumed else ""
        if done > limit or reason:
            raise Unsafe(reason or f"it unpacks to more than {limit:,} bytes")
        yield chunk


class _Part(io.RawIOBase):
    """A place as a seekable file of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._place.size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._place.size - self._at)
        if wanted <= 0:
            return 0
        self._place.file.seek(self._place.start + self._at)
        data = self._place.file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Window(io.RawIOBase):
    """The next `size` bytes of a reader as a file of its own. Raises Damaged where they end early."""

    def __init__(self, read: Callable[[int], bytes], size: int) -> None:
        self._read = read
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(min(len(buffer), self._left))
        if not data and self._left:
            raise Damaged("it ends too early")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


class Unpacked(io.RawIOBase):
    """The decompressed content of a stream; with `several`, of all streams that follow one another, zeros being padding."""

    def __init__(
        self, read: Callable[[int], bytes], decoder: Callable[[], Any], several: bool = True, budget: Budget | None = None
    ) -> None:
        self._read = read
        self._new = decoder
        self._decoder = decoder()
        self._pending = b""
        self._several, self._budget = several, budget
        self._taken = 0

    def readable(self) -> bool:
        return True

    def consumed(self) -> int:
        """Compressed bytes that are decoded, or that the decoder holds."""
        return self._taken - len(self._pending)

    def readinto(self, buffer: Any) -> int:
        while not self._decoder.eof or self._next():
            ended = False
            if not self._pending and getattr(self._decoder, "needs_input", True):
                ended = not self._take()
            data = self._decoder.decompress(self._pending, len(buffer))
            self._pending = getattr(self._decoder, "unconsumed_tail", b"")  # zlib's; the others keep it themselves
            if data:
                buffer[: len(data)] = data
                if self._budget:
                    self._budget.spend(len(data))
                return len(data)
            if ended and not self._decoder.eof:
                raise Damaged("it ends too early")
        return 0

    def _take(self) -> bool:
        self._pending = self._read(CHUNK)
        self._taken += len(self._pending)
        return bool(self._pending)

    def _next(self) -> bool:
        """Whether another compressed stream follows the one that has ended."""
        if not self._several:
            return False
        self._pending = self._decoder.unused_data.lstrip(b"\0")
        while not self._pending:
            if not self._take():
                return False
            self._pending = self._pending.lstrip(b"\0")
        self._decoder = self._new()
        return True


def too_large(size: int) -> str:
    """Why a member is not read, or ""."""
    return f"it has {size:,} bytes, more than the {MEMBER_LIMIT:,} that are read of a member" if size > MEMBER_LIMIT else ""


def too_dense(size: int, packed: int) -> str:
    """Why a member that `packed` bytes hold is not read, or ""."""
    if size > RATIO_FROM and size > RATIO * packed:
        return f"it is compressed more than {RATIO}-fold, to {packed:,} of {size:,} bytes, as a bomb is"
    return ""


def decoded(name: bytes, otherwise: str = "latin-1") -> str:
    """A name as text: UTF-8, which is what most tools write whatever they declare, else an encoding that takes all bytes."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode(otherwise)


_DECODERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),  # 31: gzip, its checksum compared
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=MEMORY_LIMIT),
}
