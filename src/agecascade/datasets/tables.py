"""Publishers' tables (CSV, XLSX, MAT): located in the archive, decoded, their columns checked, and joined with the pictures they list."""

from __future__ import annotations

import csv
import io
import math
import posixpath
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from agecascade.archives import Archive, Member
from agecascade.datasets.base import PICTURE_SUFFIXES, ManifestRow, Reject
from agecascade.errors import ArchiveError, unknown_name

if TYPE_CHECKING:
    import numpy as np

Entry = TypeVar("Entry")
Cells = dict[str, Any]  # column -> text, or what a spreadsheet holds


class Placed(Protocol):
    """An entry that knows where it stands."""

    @property
    def place(self) -> str:
        """Such as `line 5`, for messages."""


PlacedEntry = TypeVar("PlacedEntry", bound=Placed)


class Table(NamedTuple):
    """A table file as its publisher ships it."""

    name: str  # of the member, for messages
    content: bytes


def find(archive: Archive, *names: str) -> list[Table]:
    """The tables whose paths end in `names` (any case), in that order, from one pass that ends as soon as all are known.

    Raises ArchiveError that names what is missing.
    """
    wanted = {name.lower(): name for name in names}
    suffixes = tuple({PurePosixPath(name).suffix for name in wanted})
    tables: dict[str, Table] = {}
    for member in archive.members(suffixes):
        path = f"/{member.name.lower()}"
        for name in wanted.keys() - tables.keys():
            if path.endswith(f"/{name}"):
                tables[name] = Table(member.name, member.read())
        if len(tables) == len(wanted):
            return [tables[name] for name in wanted]
    missing = sorted(wanted[name] for name in wanted.keys() - tables.keys())
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


def _check_columns(table: Table, columns: Sequence[str], header: Sequence[str]) -> None:
    twice = [column for column in columns if list(header).count(column) > 1]
    if twice:
        raise ArchiveError(f"{table.name} has two columns {twice[0]}; leave one")
    for column in columns:
        if column not in header:
            raise ArchiveError(f"{table.name}: {unknown_name('column', column, [name for name in header if name])}")


def mat_fields(
    table: Table, struct: str, text: Sequence[str], numbers: Sequence[str], *, title: str, optional: str = "", newer: str = ""
) -> dict[str, np.ndarray]:
    """Fields of a struct in a MATLAB file of the data set `title`, each (N,): of objects (`text`) or float64 (`numbers`).

    optional: a field of numbers that the struct may lack; newer: what to do with a file of MATLAB 7.3, which SciPy does not read.
    Raises ArchiveError where the file is damaged or another, or the fields differ in length.
    """
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(io.BytesIO(table.content), squeeze_me=True, variable_names=[struct])[struct]
        names = [*numbers, optional] if optional in (content.dtype.names or ()) else numbers
        fields = {name: np.atleast_1d(content[name].item()) for name in (*text, *names)}
        fields |= {name: fields[name].astype(np.float64) for name in names}
    except (MatReadError, zlib.error, KeyError, ValueError, TypeError, AttributeError, NotImplementedError, EOFError, OSError) as error:
        if newer and isinstance(error, NotImplementedError):
            raise ArchiveError(f"{table.name} is of MATLAB 7.3; {newer}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(f"{table.name} is no table of {title} or is damaged ({reason}); fetch it again") from error
    if len({len(field) for field in fields.values()}) != 1:
        raise ArchiveError(f"{table.name}: its fields differ in length; fetch it again")
    return fields


def number(cell: Any) -> float | None:
    """A cell as a finite number, or None."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def enter(listed: dict[str, PlacedEntry], key: str, entry: PlacedEntry, where: str, nameless: str) -> Iterator[Reject]:
    """List `entry` under `key`; or a reject, where the row at `where` names no picture (`nameless` says so) or one that is listed."""
    if not key:
        yield Reject(where, "file_missing", nameless)
    elif key in listed:
        yield Reject(where, "duplicate_row", f"{key} stands in {listed[key].place} too, which is taken")
    else:
        listed[key] = entry


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


def join_rows(
    archive: Archive, listed: Mapping[str, Entry], key: Callable[[str], str], row: Callable[[str, Entry], ManifestRow | Reject]
) -> Iterator[ManifestRow | Reject]:
    """`row(member name, entry)` of every listed picture, and the rejects of `join`."""
    for match in join(archive, listed, key):
        yield match if isinstance(match, Reject) else row(match[0].name, match[1])


def normal_path(path: str) -> str:
    """A path as archives write it: slashes, no drive, root or dots, accents as part of their letter; "" for none."""
    path = unicodedata.normalize("NFC", path).replace("\\", "/")
    if path[1:2] == ":":
        path = path[2:]
    return "/".join(part for part in posixpath.normpath(path).split("/") if part not in ("", ".", ".."))


class PathSuffixes:
    """Distinct normal paths, indexed by as many last parts as distinguish them, so that a list may count from any folder."""

    def __init__(self, paths: Sequence[str]) -> None:
        split = [tuple(path.split("/")) for path in paths]
        self._depth = 1
        while len({parts[-self._depth :] for parts in split}) < len(split):
            self._depth += 1
        self._paths = {parts[-self._depth :]: path for parts, path in zip(split, paths, strict=True)}

    def path_of(self, member: str) -> str | None:
        """The listed path that the member fits, the longest if there are several; None where it fits several equally well."""
        name = normal_path(member)
        parts = tuple(name.split("/"))
        for depth in range(min(self._depth, len(parts)), 0, -1):
            path = self._paths.get(parts[-depth:])
            if path is not None and (f"/{name}".endswith(f"/{path}") or f"/{path}".endswith(f"/{name}")):
                return path
        return self._shorter.get(parts) if len(parts) < self._depth else None

    @cached_property
    def _shorter(self) -> dict[tuple[str, ...], str | None]:
        """By fewer last parts than distinguish all; None where several paths end so."""
        shorter: dict[tuple[str, ...], str | None] = {}
        for path in self._paths.values():
            parts = tuple(path.split("/"))
            for depth in range(1, min(self._depth, len(parts))):
                shorter[parts[-depth:]] = None if parts[-depth:] in shorter else path
        return shorter
