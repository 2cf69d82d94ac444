"""Spreadsheets whose bytes depend on their cells alone: no dates, no compression."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

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
