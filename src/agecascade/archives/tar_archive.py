"""Tar files read forward, one header in memory: POSIX (ustar and pax) and GNU, plain or compressed.

The standard library's reader takes ten times as long for a header and keeps them all; it takes a cut file for a short one, and
reads an extended header of any length into memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from agecascade.archives import streams
from agecascade.archives.streams import (
    CHUNK,
    Damaged,
    Place,
    Stream,
    Unsafe,
    Window,
    buffered,
    chunks,
    decoded,
    on_disk,
    too_large,
    unpacked,
)

_BLOCK = 512
_END = bytes(_BLOCK)
_HEADER = struct.Struct("100s24x12s12x8s1s100x6s82x155s12x")  # name, size, checksum, kind, format, first part of a long name
_EXTENSION_LIMIT = 1 << 20  # bytes of an extended header, which holds a name and little else
_PADDING_LIMIT = 64 << 20  # bytes after the end; a tape's block is far smaller

_FILES, _FOLDER, _SPARSE = (b"0", b"\0", b"7"), b"5", b"S"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"L", b"K", (b"x", b"X"), b"g"
_EXTENSIONS = (_LONG_NAME, _LONG_LINK, *_PAX, _PAX_FOR_ALL)
_SPARSE_KEY = b"GNU.sparse"  # of pax: the file is stored in pieces
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes, whatever size their header gives


class TarEntry:
    """A file in a tar file. Unless the tar lies uncompressed on disk, its content must be read before the next member."""

    __slots__ = ("_content", "_size", "_start", "_tape", "fault", "name")

    def __init__(self, name: str, fault: str, tape: _Tape, start: int, size: int) -> None:
        self.name, self.fault = name, fault
        self._tape, self._start, self._size = tape, start, size
        self._content: bytes | None = None

    def refusal(self) -> str:
        """Why the content is never read, or ""; reads it, chunk by chunk, where the declared size is not enough to judge."""
        if reason := too_large(self._size):
            return reason
        if self._size <= streams.RATIO_FROM or self._tape.stream.consumed is None:
            return ""
        self._tape.go(self._start)
        try:
            self._content = b"".join(chunks(self._tape.read, self._tape.stream.consumed, self._size, streams.MEMBER_LIMIT))
        except Unsafe as error:
            return str(error)
        return ""

    def read(self) -> bytes:
        """The content."""
        if self._content is not None:
            return self._content
        self._tape.go(self._start)
        return self._tape.read(self._size)

    def open(self) -> Stream:
        """The content as a stream, of any size."""
        place = self._tape.stream.place
        if place is not None:
            return on_disk(
                Place(place.file, place.start + self._start, min(self._size, place.size - self._start)), self._tape.stream.budget
            )
        self._tape.go(self._start)
        return Stream(buffered(Window(self._tape.read, self._size)), None, self._tape.stream.consumed, self._tape.stream.budget)


def entries(packed: Stream) -> Iterator[TarEntry]:
    """The files, links and devices in order. Raises Damaged unless a block of zeros ends them."""
    tape = _Tape(unpacked(packed))
    extension: dict[bytes, bytes] = {}
    while (block := tape.read(_BLOCK)) != _END:
        name, size, kind = _header(block)
        if kind in _EXTENSIONS:
            extension |= _extension(tape, kind, size)
            continue
        if kind == _SPARSE:
            _skip_map(tape, block)
        if extension:
            name, size = extension.get(b"path", name), _decimal(extension.get(b"size"), size)
        start, held = tape.at, 0 if kind in _WITHOUT_CONTENT else size
        if kind != _FOLDER and not name.endswith(b"/"):
            yield TarEntry(decoded(name), _fault(kind, extension), tape, start, held)
        extension = {}
        tape.go(start + _padded(held))
    tape.finish()


class _Tape:
    """The unpacked bytes of a tar file, and the position up to which they are read."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.at = 0

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes. Raises Damaged where fewer are left."""
        data = self.stream.file.read(size)
        if len(data) < size:
            raise Damaged("it ends too early")
        self.at += size
        return data

    def go(self, place: int) -> None:
        """Move on to position `place`; back only where the stream can seek."""
        if place == self.at:
            return
        if self.stream.place is not None:
            self.stream.file.seek(place)
            self.at = place
        elif place < self.at:
            raise ValueError("a member of a compressed tar is read once, before the next one is asked for")
        while self.at < place:
            self.read(min(CHUNK, place - self.at))

    def finish(self) -> None:
        """Read the padding of a compressed tar, since the checksum is compared only at its end."""
        if self.stream.consumed is None:
            return
        end = self.at + _PADDING_LIMIT
        while data := self.stream.file.read(CHUNK):
            self.at += len(data)
            if self.at > end:
                raise Damaged("content follows its end")


def _header(block: bytes) -> tuple[bytes, int, bytes]:
    """Name, size and kind."""
    name, size, checksum, kind, form, prefix = _HEADER.unpack(block)
    # the lower half of Adler-32 is a sum of bytes, modulo 65521, that C adds up; the checksum counts as spaces
    total = (zlib.adler32(block[:148] + b"        " + block[156:]) & 0xFFFF) - 1
    if (_octal(checksum) - total) % 65521:
        raise Damaged("bad member header")
    name = _text(name)
    if form == b"ustar\0" and prefix[0]:  # GNU keeps dates there
        name = _text(prefix) + b"/" + name
    return name, _octal(size), kind


def _extension(tape: _Tape, kind: bytes, size: int) -> dict[bytes, bytes]:
    """The fields of an extended header, which stands before the member's own, by pax's names."""
    if size > _EXTENSION_LIMIT:
        raise Damaged(f"an extended header has {size:,} bytes")
    start = tape.at
    body = tape.read(size)
    tape.go(start + _padded(size))
    if kind == _LONG_NAME:
        return {b"path": _text(body)}
    return _pax(body) if kind in _PAX else {}


def _pax(body: bytes) -> dict[bytes, bytes]:
    """Records of the form `<length of the whole> <key>=<value>\\n`: those of path and size, and whether there is one of GNU.sparse."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(body) and body[at]:
        digits, _, _ = body[at : at + 12].partition(b" ")
        end = at + _decimal(digits, 0)
        key, equals, value = body[at + len(digits) + 1 : end - 1].partition(b"=")
        if not equals or body[end - 1 : end] != b"\n":
            raise Damaged("bad extended header")
        if key.startswith(b"GNU.sparse"):
            records[_SPARSE_KEY] = b""
        elif key in (b"path", b"size"):  # others are dropped, for any number of headers may stand before one member
            records[key] = value
        at = end
    return records


def _skip_map(tape: _Tape, block: bytes) -> None:
    """Read past the blocks that map a sparse file's content."""
    more = block[482]
    while more:
        more = tape.read(_BLOCK)[504]


def _fault(kind: bytes, extension: dict[bytes, bytes]) -> str:
    if kind == _SPARSE or _SPARSE_KEY in extension:
        return "it is a sparse file, stored in pieces"
    return "" if kind in _FILES else "it is a link or a device, no file"


def _octal(field: bytes) -> int:
    """A number of a header: octal digits, or big-endian after a byte of 0x80."""
    if field[0] == 0x80:
        number = int.from_bytes(field[1:], "big")
        if number >> 62:
            raise Damaged("bad member header")
        return number
    digits = _text(field).strip()
    if not digits.isdigit():
        if digits:
            raise Damaged("bad member header")
        return 0
    try:
        return int(digits, 8)
    except ValueError:
        raise Damaged("bad member header") from None


def _decimal(digits: bytes | None, otherwise: int) -> int:
    if digits is None:
        return otherwise
    if not digits.isdigit() or len(digits) > 18:
        raise Damaged("bad extended header")
    return int(digits)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
