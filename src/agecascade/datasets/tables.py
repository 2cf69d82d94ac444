"""Publishers' tables: found in the archive, decoded, their columns checked, and joined with the pictures that they list."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

from agecascade.archives import Archive, Member
from agecascade.datasets.base import PICTURE_SUFFIXES, Reject
from agecascade.errors import ArchiveError, unknown_name

Entry = TypeVar("Entry")
Cells = dict[str, Any]  # column -> text, or what a spreadsheet holds


class Table(NamedTuple):
    """A table as its publisher ships it."""

    name: str  # of the member, for messages
    content: bytes


def find(archive: Archive, *names: str) -> list[Table]:
    """The tables whose paths end in `names` (any case), in that order, from one pass that ends as soon as all are known.

    Raises ArchiveError that names what is missing.
    """
    wanted = {name.lower(): name for name in names}
    suffixes = tuple({PurePosixPath(name).suffix for name in wanted})
    found: dict[str, Table] = {}
    for member in archive.members(suffixes):
        path = f"/{member.name.lower()}"
        for name in wanted.keys() - found.keys():
            if path.endswith(f"/{name}"):
                found[name] = Table(member.name, member.read())
        if len(found) == len(wanted):
            return [found[name] for name in wanted]
    missing = sorted(wanted[name] for name in wanted.keys() - found.keys())
    raise ArchiveError(f"{archive.path} lacks {' and '.join(missing)}; fetch it again, or is it of another data set?")


def text_rows(table: Table, columns: Sequence[str], delimiter: str = ",", encoding: str = "utf-8-sig") -> Iterator[tuple[int, Cells]]:
    """(line number, cells without spaces around them) of a text table with a header.

    Raises ArchiveError where it is not in `encoding` or lacks one of `columns`.
    """
    rows = csv.reader(io.StringIO(decoded(table, encoding), newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(rows, ())]
        _check_columns(table, columns, names)
        for cells in rows:
            if len(cells) > len(names):
                raise ArchiveError(f"{table.name}, line {rows.line_num}, has {len(cells)} cells under {len(names)} columns; correct it")
            if cells:
                yield rows.line_num, {name: cell.strip() for name, cell in zip_longest(names, cells, fillvalue="")}
    except csv.Error as error:
        raise ArchiveError(f"{table.name}, line {rows.line_num}, is no row of a table ({error}); fetch it again") from error


def text_lines(table: Table, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
    """(line number, text) of every line that is not empty."""
    for number, line in enumerate(decoded(table, encoding).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def decoded(table: Table, encoding: str = "utf-8-sig") -> str:
    """The table as text; raises ArchiveError that names the place of the fault."""
    try:
        return table.content.decode(encoding)
    except UnicodeDecodeError as error:
        line = table.content[: error.start].count(b"\n") + 1
        raise ArchiveError(f"{table.name}, line {line}, is not {encoding} text; save the table in that encoding") from None


def sheet_rows(table: Table, columns: Sequence[str], sheet: str | None = None, header: int = 1) -> Iterator[tuple[int, Cells]]:
    """(row number, cells) of a spreadsheet (.xlsx) whose column names stand in row `header`; `sheet` defaults to the first.

    Raises ArchiveError where it is no spreadsheet or lacks the sheet or one of `columns`.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(io.BytesIO(table.content), read_only=True, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ArchiveError(f"{table.name} is no spreadsheet or damaged ({' '.join(str(error).split())}); fetch it again") from error
    if sheet is not None and sheet not in book.sheetnames:
        raise ArchiveError(f"{table.name}: {unknown_name('sheet', sheet, book.sheetnames)}")
    rows = book[sheet or book.sheetnames[0]].iter_rows(min_row=header, values_only=True)
    names = [str(name).strip() if name is not None else "" for name in next(rows, ())]
    _check_columns(table, columns, names)
    for number, row in enumerate(rows, start=header + 1):
        if any(cell is not None for cell in row):
            yield number, {name: cell for name, cell in zip(names, row, strict=False) if name}


def _check_columns(table: Table, columns: Sequence[str], found: Sequence[str]) -> None:
    twice = [column for column in columns if list(found).count(column) > 1]
    if twice:
        raise ArchiveError(f"{table.name} has two columns {twice[0]}; leave one")
    for column in columns:
        if column not in found:
            raise ArchiveError(f"{table.name}: {unknown_name('column', column, [name for name in found if name])}")


def number(cell: Any) -> float | None:
    """A cell as a finite number, or None."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def join(archive: Archive, listed: Mapping[str, Entry], key: Callable[[str], str]) -> Iterator[tuple[Member, Entry] | Reject]:
    """Every picture with what the tables list under `key(member name)`, in the archive's order.

    Pictures without an entry, second pictures of one entry, and entries without a picture are rejects.
    """
    seen: set[str] = set()
    for member in archive.members(PICTURE_SUFFIXES):
        name = key(member.name)
        if name not in listed:
            yield Reject(member.name, "not_listed", "the publisher's tables do not list it")
        elif name in seen:
            yield Reject(member.name, "duplicate_picture", f"{name} stands twice in the archive; the first is taken")
        else:
            seen.add(name)
            yield member, listed[name]
    for name in listed:
        if name not in seen:
            yield Reject(name, "file_missing", "the tables list it, the archive lacks it")
