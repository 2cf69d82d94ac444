"""Archives and spreadsheets whose bytes depend on their contents alone: no dates, no users."""

from __future__ import annotations

import gzip
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import cv2
import numpy as np

from agecascade.archives.recordio import FIRST, FRAME, HEADER, LAST, LENGTH_BITS, MAGIC, MIDDLE, WHOLE
from agecascade.io.files import written_beside

_EPOCH = 315532800  # 1980-01-01, the first date that a zip can hold


class Put(Protocol):
    """Adds a member to an archive."""

    def __call__(self, name: str, data: bytes) -> None: ...


@contextmanager
def archive_writer(path: Path) -> Iterator[Put]:
    """A function that adds members to a new .zip, .tar, .tar.gz or .rec at `path`, which appears whole or not at all."""
    if path.suffix == ".rec":
        with _records(path) as put:
            yield put
        return
    with written_beside(path) as temporary:
        if path.suffix == ".zip":
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                yield lambda name, data: _put_zip(archive, name, data)
        elif path.suffix == ".gz":
            with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed, _tar(packed) as tar:
                yield lambda name, data: _put_tar(tar, name, data)
        else:
            with temporary.open("wb") as raw, _tar(raw) as tar:
                yield lambda name, data: _put_tar(tar, name, data)


def _tar(stream: object) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[call-overload]


def _put_zip(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    header = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    header.create_system = 3  # Unix, also where this runs on another system
    header.external_attr = 0o644 << 16
    archive.writestr(header, data)


def _put_tar(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = len(data), _EPOCH, 0o644
    archive.addfile(header, BytesIO(data))


@contextmanager
def _records(path: Path) -> Iterator[Put]:
    """RecordIO as insightface ships it, from members `<label>/<number>.jpg` by label, with its index and `property` beside it."""
    with (
        written_beside(path) as records,
        written_beside(path.with_suffix(".idx")) as index,
        written_beside(path.with_name("property")) as properties,
    ):
        with records.open("wb") as file:
            writer = _Records(file)
            yield writer.put
            writer.finish()
        index.write_text("".join(f"{number}\t{place}\n" for number, place in enumerate(writer.places)))
        width, height = writer.sides
        properties.write_text(f"{len(writer.pictures)},{height},{width}")


class _Records:
    """The records: one that counts the others, the pictures, and one of each identity with the range of its pictures."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.places: list[int] = []  # of the records
        self.pictures: dict[int, list[int]] = {}  # label -> numbers of the first record and of the one after the last
        self.sides = (0, 0)  # width and height of a picture
        self._counts(0, (0, 0))  # filled in at the end

    def put(self, name: str, data: bytes) -> None:
        """Add a picture; raises ValueError where its label's pictures have ended before."""
        label, number = int(name.split("/", 1)[0]), len(self.places)
        own = self.pictures.setdefault(label, [number, number])
        if own[1] != number:
            raise ValueError(f"{name}: the pictures of label {label} do not follow one another")
        own[1] += 1
        if not any(self.sides):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            self.sides = (0, 0) if image is None else (image.shape[1], image.shape[0])
        self._write(HEADER.pack(0, label, number, 0) + data)

    def finish(self) -> None:
        """Write the records of identities and the first record, which count the pictures."""
        first = len(self.places)
        for own in self.pictures.values():
            self._counts(len(self.places), own)
        last = len(self.places)
        self._file.seek(0)
        self._counts(0, (first, last))
        self.places.pop()

    def _counts(self, number: int, labels: tuple[int, int] | list[int]) -> None:
        self._write(HEADER.pack(2, 0, number, 0) + struct.pack("<2f", *labels))

    def _write(self, content: bytes) -> None:
        self.places.append(self._file.tell())
        parts = _parts(content)
        kinds = [WHOLE] if len(parts) == 1 else [FIRST, *[MIDDLE] * (len(parts) - 2), LAST]
        for kind, part in zip(kinds, parts, strict=True):
            self._file.write(FRAME.pack(MAGIC, kind << LENGTH_BITS | len(part)) + part + bytes(-len(part) % 4))


def _parts(content: bytes) -> list[bytes]:
    """The content without the magic numbers that stand at multiples of four, cut where they stood."""
    parts, start = [], 0
    at = content.find(MAGIC)
    while at >= 0:
        if at % 4 == 0:
            parts.append(content[start:at])
            start = at + 4
        at = content.find(MAGIC, at + 4 if at % 4 == 0 else at + 1)
    return [*parts, content[start:]]


_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def spreadsheet(sheets: Mapping[str, Iterable[Sequence[Any]]]) -> bytes:
    """An .xlsx file with these sheets, each the rows of its cells; None leaves a cell empty."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    stream = BytesIO()
    book.save(stream)
    return _undated(stream)


def _undated(book: BytesIO) -> bytes:
    """The same members, dated 1980, with the hours of creation and change inside set likewise."""
    stream = BytesIO()
    with zipfile.ZipFile(book) as before, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as after:
        for name in sorted(before.namelist()):
            data = before.read(name)
            if name == "docProps/core.xml":
                data = _DATE.sub(b"1980-01-01T00:00:00Z", data)
            header = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            header.create_system = 3  # Unix, also where this runs on another system
            after.writestr(header, data)
    return stream.getvalue()
