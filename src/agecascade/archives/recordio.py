"""RecordIO files of pictures, in which MXNet and insightface publish theirs: `train.rec`, with `train.idx` beside it.

A record is a magic number, a word of 3 bits (whether it is a part of one) and 29 bits (its length), and its content, filled up to
four bytes. Where the magic number stands in the content at a multiple of four, the writer drops it there and begins another part.
The content is a header `flag, label, number, number`, then `flag` labels that stand for the one in the header, then the picture.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from math import isfinite

from agecascade.archives import streams
from agecascade.archives.streams import Damaged, Stream
from agecascade.io import storage

MAGIC = struct.pack("<I", 0xCED7230A)
FRAME = struct.Struct("<4sI")
HEADER = struct.Struct("<IfQQ")
LENGTH_BITS = 29
WHOLE, FIRST, MIDDLE, LAST = range(4)

_LENGTH = (1 << LENGTH_BITS) - 1


class RecordEntry:
    """A picture of a RecordIO file, called `<label>/<number of the record>.jpg`."""

    __slots__ = ("_content", "fault", "name")

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.fault, self._content = name, "", content

    def refusal(self) -> str:
        """Nothing: the content is read already, and its length bounded by the format."""
        return ""

    def read(self) -> bytes:
        """The content."""
        return self._content

    def open(self) -> Stream:
        """The content as a stream."""
        return Stream(io.BufferedReader(io.BytesIO(self._content)))


def entries(stream: Stream) -> Iterator[RecordEntry]:
    """The pictures in order. insightface's records that count pictures and identities have none and are left out."""
    for number, record in enumerate(_records(stream)):
        if len(record) < HEADER.size:
            raise Damaged(f"record {number} is too short for a label")
        flag, label, _, _ = HEADER.unpack_from(record)
        start = HEADER.size + 4 * flag
        if len(record) < start:
            raise Damaged(f"record {number} is too short for its {flag} labels")
        if flag:
            (label,) = struct.unpack_from("<f", record, HEADER.size)
        if not flag or len(record) > start:
            text = f"{label:.0f}" if isfinite(label) and label == int(label) else repr(label)
            yield RecordEntry(f"{text}/{number}.jpg", record[start:])


def _records(stream: Stream) -> Iterator[bytes]:
    read = stream.file.read
    joined: bytearray | None = None  # the parts of a record so far
    while frame := read(FRAME.size):
        if len(frame) < FRAME.size:
            raise Damaged("it ends too early")
        magic, word = FRAME.unpack(frame)
        part, length = word >> LENGTH_BITS, word & _LENGTH
        if magic != MAGIC or part > LAST or (part in (MIDDLE, LAST)) != (joined is not None):
            raise Damaged("no record where one should begin")
        content = read(length + -length % 4)
        if len(content) < length + -length % 4:
            raise Damaged("it ends too early")
        if length % 4:
            content = content[:length]
        if part == WHOLE:
            yield content
            continue
        if joined is None:
            joined = bytearray()
        else:
            joined += MAGIC
        joined += content
        if len(joined) > streams.MEMBER_LIMIT:
            raise Damaged("a record is too long")
        if part == LAST:
            yield bytes(joined)
            joined = None
    if joined is not None:
        raise Damaged("it ends too early")


def check_index(path: str, size: int) -> None:
    """Compare a file of `size` bytes with its index, where there is one: a file that is cut between two records looks whole.

    Raises Damaged. The index has lines `<number>\\t<place>`, in order.
    """
    if not storage.located(path).exists():
        return
    with storage.opened(path) as file:
        file.seek(max(0, storage.size(path) - 64))
        last = file.read().split()[-1:]
    name = path.rpartition("/")[2]
    if not last or not last[0].isdigit():
        raise Damaged(f"its index {name} does not end in a number")
    if int(last[0]) >= size:
        raise Damaged(f"it ends before the last record of {name}")
