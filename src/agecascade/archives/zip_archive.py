"""Zip files (stored, deflated or bzip2, of any size), read with one entry of their directory in memory.

The standard library's reader holds the whole directory, some 340 MiB for half a million members.
"""

from __future__ import annotations

import bz2
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from stat import S_IFMT, S_ISREG
from typing import Any, NamedTuple

from agecascade.archives.streams import (
    CHUNK,
    Damaged,
    Locked,
    Place,
    Stream,
    Unpacked,
    Unsafe,
    buffered,
    decoded,
    on_disk,
    too_dense,
    too_large,
)

_END, _END_MAGIC = struct.Struct("<4s2H4x2L2x"), b"PK\5\6"  # number of this part and of the directory's, size and position of the directory
_LOCATOR_SIZE, _LOCATOR_MAGIC = 20, b"PK\6\7"  # the locator of a zip64 end; if present, that end stands before it
_WIDE_END, _WIDE_END_MAGIC = struct.Struct("<4s36x2Q"), b"PK\6\6"  # size and place of the directory
# flags, method, checksum, packed size, size, lengths of name, extra fields and comment, mode in the upper half, place of the local header
_ENTRY, _ENTRY_MAGIC = struct.Struct("<4s4xHH4xLLLHHH4xLL"), b"PK\1\2"
_LOCAL, _LOCAL_MAGIC = struct.Struct("<4s22xHH"), b"PK\3\4"  # lengths of name and extra fields
_COMMENT_LIMIT = 1 << 16
_IN_EXTRA = 0xFFFFFFFF  # the placeholder of a number of more than 32 bits
_WIDE, _UNICODE_NAME = 0x0001, 0x7075  # extra fields

_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_DECODERS: dict[int, Callable[[], Any]] = {_DEFLATED: lambda: zlib.decompressobj(wbits=-15), _BZIP2: bz2.BZ2Decompressor}
_ENCRYPTED = 0x1
_UNLIKE = "its checksum or size differs from the directory's"


class _DirectoryRecord(NamedTuple):
    """The numbers that the directory holds of one entry."""

    flags: int
    method: int
    checksum: int
    packed: int  # bytes
    size: int  # bytes
    header: int  # position in the zip file


class ZipEntry:
    """A file in a zip file."""

    __slots__ = ("_record", "_zip", "fault", "name")

    def __init__(self, name: str, fault: str, zipped: Stream, record: _DirectoryRecord) -> None:
        self.name, self.fault = name, fault
        self._zip, self._record = zipped, record

    def refusal(self) -> str:
        """Why the content is never read, or "". Raises Locked where it cannot be decoded here."""
        self._check()
        return too_large(self._record.size) or too_dense(self._record.size, self._record.packed)

    def read(self) -> bytes:
        """The content."""
        record = self._record
        if record.method != _STORED and record.packed > CHUNK:
            return self.open().file.read(record.size)
        self._zip.file.seek(self._start())
        content = self._zip.file.read(min(record.packed, record.size) if record.method == _STORED else record.packed)
        if record.method != _STORED:
            content = _DECODERS[record.method]().decompress(content, record.size + 1)
            if self._zip.budget:
                self._zip.budget.spend(len(content))
        if len(content) != record.size or zlib.crc32(content) != record.checksum:
            raise Damaged(_UNLIKE)
        return content

    def open(self) -> Stream:
        """The content as a stream, of any size. Raises Unsafe where it is a bomb."""
        self._check()
        record, place = self._record, self._zip.place
        assert place is not None  # zip files are always seekable, see nested.entries
        part = on_disk(Place(place.file, place.start + self._start(), record.packed), self._zip.budget)
        if record.method == _STORED:
            if record.packed != record.size:
                raise Damaged(_UNLIKE)
            return part
        if reason := too_dense(record.size, record.packed):
            raise Unsafe(reason)
        raw = Unpacked(part.file.read, _DECODERS[record.method], several=False, budget=part.budget)
        return Stream(buffered(_Checked(raw, record.size, record.checksum)), None, raw.consumed, part.budget)

    def _check(self) -> None:
        if self._record.flags & _ENCRYPTED:
            raise Locked("is encrypted")
        if self._record.method != _STORED and self._record.method not in _DECODERS:
            raise Locked(f"is compressed by method {self._record.method}, which is not read here")

    def _start(self) -> int:
        """Where the content begins: after the local header, whose extra fields are its own."""
        self._zip.file.seek(self._record.header)
        magic, name, extra = _unpacked(_LOCAL, self._zip.file.read(_LOCAL.size))
        if magic != _LOCAL_MAGIC:
            raise Damaged("no member where the directory lists one")
        return self._record.header + _LOCAL.size + name + extra


class _Checked(io.RawIOBase):
    """The first `size` bytes of a stream, whose checksum is compared at their end."""

    def __init__(self, raw: io.RawIOBase, size: int, checksum: int) -> None:
        self._raw, self._left, self._checksum = raw, size, checksum
        self._sum = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            return 0
        part = memoryview(buffer)[: self._left]
        count = self._raw.readinto(part) or 0
        self._left -= count
        self._sum = zlib.crc32(part[:count], self._sum)
        if not count or (not self._left and self._sum != self._checksum):
            raise Damaged(_UNLIKE)
        return count


def entries(zipped: Stream) -> Iterator[ZipEntry]:
    """The files and links in the directory's order. `zipped` must be seekable. Raises Locked where they are longer than the zip file."""
    place = zipped.place
    assert place is not None
    start, size, shift = _directory(zipped.file, place.size)
    directory = on_disk(Place(place.file, place.start + start, size)).file
    held = 0  # bytes of all members so far, if each has its own
    while head := directory.read(_ENTRY.size):
        magic, flags, method, checksum, packed, full, name_size, extra_size, comment_size, mode, header = _unpacked(_ENTRY, head)
        rest = directory.read(name_size + extra_size + comment_size)
        if magic != _ENTRY_MAGIC or len(rest) < name_size + extra_size + comment_size:
            raise Damaged("bad directory entry")
        name, extra = rest[:name_size], rest[name_size : name_size + extra_size]
        if _IN_EXTRA in (packed, full, header):
            full, packed, header = _wide(_extras(extra).get(_WIDE, b""), full, packed, header)
        held += _LOCAL.size + name_size + packed
        if held > place.size:
            raise Locked("has members that share their bytes, as those of a bomb do")
        text = _name(name, extra)
        if not text.endswith(("/", "\\")):
            kind = S_IFMT(mode >> 16)
            fault = "it is a link or a device, no file" if kind and not S_ISREG(kind) else ""
            yield ZipEntry(text, fault, zipped, _DirectoryRecord(flags, method, checksum, packed, full, header + shift))


def _directory(file: io.BufferedReader, total: int) -> tuple[int, int, int]:
    """(position, size) of the directory, and the bytes before the zip file proper, such as a self-extracting program."""
    before = max(0, total - _END.size - _COMMENT_LIMIT)
    file.seek(before)
    tail = file.read()
    at = tail.rfind(_END_MAGIC)
    if at < 0:
        raise Damaged("it has no directory at its end")
    _, part, first_part, size, start = _unpacked(_END, tail[at : at + _END.size])
    end = before + at
    file.seek(max(0, end - _LOCATOR_SIZE))
    if file.read(4) == _LOCATOR_MAGIC:
        end -= _LOCATOR_SIZE + _WIDE_END.size
        file.seek(max(0, end))
        magic, size, start = _unpacked(_WIDE_END, file.read(_WIDE_END.size))
        if magic != _WIDE_END_MAGIC:
            raise Damaged("bad directory")
    elif part or first_part:
        raise Locked("is one of several parts of a zip file")
    shift = end - size - start  # never beyond the file's end
    if shift < 0:
        raise Damaged("bad directory")
    return start + shift, size, shift


def _name(name: bytes, extra: bytes) -> str:
    if name.isascii():
        return name.decode("ascii")
    unicode = _extras(extra).get(_UNICODE_NAME, b"")
    if len(unicode) > 5 and int.from_bytes(unicode[1:5], "little") == zlib.crc32(name):
        return decoded(unicode[5:], "cp437")
    return decoded(name, "cp437")


def _wide(field: bytes, *numbers: int) -> Iterator[int]:
    """The numbers; those of more than 32 bits come from the zip64 extra field, which holds them in this order."""
    for number in numbers:
        if number == _IN_EXTRA:
            number, field = int.from_bytes(field[:8], "little") if len(field) >= 8 else -1, field[8:]
            if number < 0 or number >> 62:
                raise Damaged("bad directory entry")
        yield number


def _extras(extra: bytes) -> dict[int, bytes]:
    """Extra fields by their numbers."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        number, size = struct.unpack_from("<HH", extra, at)
        fields.setdefault(number, extra[at + 4 : at + 4 + size])
        at += 4 + size
    return fields


def _unpacked(form: struct.Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) < form.size:
        raise Damaged("it ends too early")
    return form.unpack(data)
