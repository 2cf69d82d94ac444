"""Bytes that run forward: of a file, of a member inside it, of what a compressed member holds."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from agecascade.archives import limits
from agecascade.archives.limits import MEMORY_LIMIT, PIECE, Damaged, Unsafe, too_dense


class Seekable(Protocol):
    """A file that can be read anywhere."""

    def seek(self, offset: int, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...


class Place(NamedTuple):
    """Where bytes lie as they are: a part of a file that can seek. Many places share one file."""

    file: Seekable
    start: int
    size: int


class Stream(NamedTuple):
    """Bytes to read forward; with a `place`, `file` can seek as well."""

    file: io.BufferedReader
    place: Place | None = None
    consumed: Callable[[], int] | None = None  # bytes taken so far by the decoder that these bytes come from; None without one


def buffered(raw: io.RawIOBase) -> io.BufferedReader:
    """A stream that is read in pieces; many small members come with one."""
    return io.BufferedReader(raw, PIECE)


def on_disk(place: Place) -> Stream:
    """The bytes of a place."""
    return Stream(buffered(_Part(place)), place)


def unpacked(stream: Stream) -> Stream:
    """What a gzip, bzip2 or xz stream holds, told by its first bytes; any other stream as it is."""
    start = stream.file.peek(6)
    for magic, decoder in _DECODERS.items():
        if start.startswith(magic):
            raw = Unpacked(stream.file.read, decoder)
            return Stream(buffered(raw), consumed=raw.consumed)
    return stream


def pieces(read: Callable[[int], bytes], consumed: Callable[[], int] | None, size: int | None, limit: int) -> Iterator[bytes]:
    """The next `size` bytes that `read` gives, or all; `consumed` as in Stream.

    Raises Unsafe above `limit` or where they are too densely compressed, Damaged where they end early.
    """
    taken = consumed() if consumed else 0
    done = 0
    while size is None or done < size:
        piece = read(PIECE if size is None else min(PIECE, size - done))
        if not piece and size is None:
            return
        if not piece:
            raise Damaged("it ends too early")
        done += len(piece)
        reason = too_dense(done, consumed() - taken + limits.AHEAD) if consumed else ""
        if done > limit or reason:
            raise Unsafe(reason or f"it unpacks to more than {limit:,} bytes")
        yield piece


class _Part(io.RawIOBase):
    """A place as a file of its own."""

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
    """The next `size` bytes of what `read` gives. Raises Damaged where they end early."""

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
    """What a compressed stream holds; `several` may follow one another, with zeros as padding at the end."""

    def __init__(self, read: Callable[[int], bytes], decoder: Callable[[], Any], several: bool = True) -> None:
        self._read = read
        self._new = decoder
        self._decoder = decoder()
        self._pending = b""
        self._several = several
        self._taken = 0

    def readable(self) -> bool:
        return True

    def consumed(self) -> int:
        """Compressed bytes that were decoded, or are about to be."""
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
                return len(data)
            if ended and not self._decoder.eof:
                raise Damaged("it ends too early")
        return 0

    def _take(self) -> bool:
        self._pending = self._read(PIECE)
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


_DECODERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),  # 31: gzip, its checksum compared
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=MEMORY_LIMIT),
}
