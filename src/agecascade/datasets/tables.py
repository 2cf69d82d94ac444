"""Publishers' tables (CSV, XLSX, MAT): located in the archive, decoded, their columns checked, and joined with the pictures they list."""

from __future__ import annotations

import csv
import faulthandler
import io
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import psutil

from agecascade.archives import Archive, Member
from agecascade.datasets.base import PICTURE_SUFFIXES, ManifestRow, Reject
from agecascade.errors import AgecascadeError, ArchiveError, missing_column, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from openpyxl import Workbook

LAST_ROW = 2**20  # of a spreadsheet: no program writes more
LARGEST_BOOK = 2**30  # bytes of a spreadsheet once unpacked
IDLE, LONGEST = 10, 900  # seconds that the process that reads MATLAB files waits for one, and may take for one
SPARE = 2**31  # bytes that it may take, besides FOLD times the file's length: one changed byte asks for any size
FOLD = 40
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

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
            cells = without_empty_end(cells, len(names))
            if len(cells) > len(names):
                raise ArchiveError(f"{table.name}, line {rows.line_num}, has {len(cells)} cells under {len(names)} columns; correct it")
            if cells:
                yield rows.line_num, {name: cell.strip() for name, cell in zip_longest(names, cells, fillvalue="")}
    except csv.Error as error:
        raise ArchiveError(f"{table.name}, line {rows.line_num}, is no row of a table ({error}); fetch it again") from error


def without_empty_end(cells: Sequence[str], columns: int) -> list[str]:
    """The cells without the empty ones that a separator at the end of the row makes beyond the last of so many columns."""
    end = len(cells)
    while end > columns and not cells[end - 1].strip():
        end -= 1
    return list(cells[:end])


def text_lines(table: Table, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
    """(line number, text) of every line that is not empty."""
    for number, line in enumerate(decoded(table, encoding).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def decoded(table: Table, encoding: str = "utf-8-sig") -> str:
    """The table as text; raises ArchiveError that names the place of the fault."""
    try:
        text = table.content.decode(encoding)
        text.encode()  # utf-7 and others give halves of characters, which no manifest can store
        return text
    except UnicodeError as error:  # a few encodings name no place
        line = table.content[: getattr(error, "start", 0)].count(b"\n") + 1
        raise ArchiveError(f"{table.name}, line {line}, is not {encoding} text; save the table in that encoding") from None


def sheet_rows(table: Table, columns: Sequence[str], sheet: str | None = None, header: int = 1) -> Iterator[tuple[int, Cells]]:
    """(row number, cells) of a spreadsheet (.xlsx) whose column names stand in row `header`; `sheet` defaults to the first.

    Raises ArchiveError where it is no spreadsheet or lacks the sheet or one of `columns`.
    """
    lines = sheet_lines(table, sheet, header)
    _, titles = next(lines, (header, ()))
    names = [str(name).strip() if name is not None else "" for name in titles]
    _check_columns(table, columns, names)
    for number, row in lines:
        yield number, {name: cell for name, cell in zip(names, row, strict=False) if name}


def sheet_lines(table: Table, sheet: str | None = None, header: int = 1) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """(row number, cells) of the row `header` and of every row below it that is not empty, as wide as the header's.

    Raises ArchiveError where the table is no spreadsheet or lacks the sheet.
    """
    with _damage_told(table, "is no spreadsheet or damaged"):
        sheets = {page.title: page for page in _workbook(table).worksheets}
        if sheet is not None and sheet not in sheets:
            raise ArchiveError(f"{table.name}: {unknown_name('sheet', sheet, sheets)}")
        page = sheets[sheet if sheet is not None else next(iter(sheets))]
        page.reset_dimensions()  # the size that a sheet states may be that of an earlier version, and would cut it
        titles = next(page.iter_rows(min_row=header, max_row=header, values_only=True), ())
        yield header, titles
        rows = page.iter_rows(min_row=header + 1, max_row=LAST_ROW + 1, max_col=max(1, len(titles)), values_only=True)
        for number, row in enumerate(rows, start=header + 1):
            if number > LAST_ROW:
                raise ArchiveError(f"{table.name} has a row beyond {LAST_ROW:,}, where spreadsheets end; save it again")
            if any(cell is not None for cell in row):
                yield number, row


def sheet_names(table: Table) -> list[str]:
    """The sheets of a spreadsheet, in their order; raises ArchiveError where it is none."""
    with _damage_told(table, "is no spreadsheet or damaged"):
        return [page.title for page in _workbook(table).worksheets]


def _workbook(table: Table) -> Workbook:
    from openpyxl import load_workbook

    with zipfile.ZipFile(io.BytesIO(table.content)) as packed:
        size = sum(member.file_size for member in packed.infolist())
    if size > LARGEST_BOOK:
        raise ArchiveError(f"{table.name} unpacks to {size:,} bytes, more than {LARGEST_BOOK:,}; is it a spreadsheet of ratings?")
    return load_workbook(io.BytesIO(table.content), read_only=True, data_only=True)


@contextmanager
def _damage_told(table: Table, fault: str) -> Iterator[None]:
    """Raise whatever a library's parser raises over a damaged file as an ArchiveError of one line."""
    try:
        yield
    except AgecascadeError:
        raise
    except Exception as error:  # openpyxl lets through what the readers of XML and zip, and Python's numbers raise
        raise ArchiveError(f"{table.name} {fault} ({_reason(error)}); fetch it again") from error


def _check_columns(table: Table, columns: Sequence[str], header: Sequence[str]) -> None:
    twice = [column for column in columns if list(header).count(column) > 1]
    if twice:
        raise ArchiveError(f"{table.name} has two columns {twice[0]}; leave one")
    for column in columns:
        if column not in header:
            raise ArchiveError(missing_column(table.name, column, header))


def mat_fields(
    table: Table, struct: str, text: Sequence[str], numbers: Sequence[str], *, title: str, optional: str = "", newer: str = ""
) -> dict[str, np.ndarray]:
    """Fields of a struct in a MATLAB file of the data set `title`, each (N,): of objects (`text`) or float64 (`numbers`).

    optional: a field of numbers that the struct may lack; newer: what to do with a file of MATLAB 7.3, which SciPy does not read.
    Raises ArchiveError where the file is damaged or another, or the fields differ in length.
    """
    try:
        fields = _read_apart(table.content, struct, tuple(text), tuple(numbers), optional)
    except TimeoutError:
        _mat_worker().shutdown(kill_workers=True)
        _mat_worker.cache_clear()
        raise ArchiveError(f"{table.name} is damaged: SciPy has not read it within {LONGEST} s; fetch it again") from None
    except (NotImplementedError, ValueError, BrokenExecutor) as error:
        if newer and isinstance(error, NotImplementedError):
            raise ArchiveError(f"{table.name} is of MATLAB 7.3; {newer}") from None
        fault = "SciPy's process ended over it" if isinstance(error, BrokenExecutor) else error
        raise ArchiveError(f"{table.name} is no table of {title} or is damaged ({fault}); fetch it again") from None
    if len({len(field) for field in fields.values()}) != 1:
        raise ArchiveError(f"{table.name}: its fields differ in length; fetch it again")
    return fields


def _read_apart(*arguments: Any) -> dict[str, np.ndarray]:
    """`_read_struct` in a process of its own, which a damaged file can end; once more, where the process had ended before."""
    try:
        return _mat_worker().submit(_read_struct, *arguments).result(LONGEST)
    except BrokenExecutor:
        _mat_worker.cache_clear()
        return _mat_worker().submit(_read_struct, *arguments).result(LONGEST)


@cache
def _mat_worker() -> Any:
    from joblib.externals.loky import ProcessPoolExecutor  # which, unlike Python's, does not run the caller's script once more

    return ProcessPoolExecutor(1, timeout=IDLE)


def _read_struct(content: bytes, struct: str, text: Sequence[str], numbers: Sequence[str], optional: str) -> dict[str, np.ndarray]:
    """The fields of a struct as columns (N,). Raises NotImplementedError for MATLAB 7.3 and ValueError for all other faults."""
    import numpy as np
    from scipy.io import loadmat

    faulthandler.disable()  # loky switches it on: the end of this process is told in one line
    try:
        _limit_memory(SPARE + FOLD * len(content))
        record = loadmat(io.BytesIO(content), squeeze_me=True, variable_names=[struct])[struct]
        names = [*numbers, optional] if optional in (record.dtype.names or ()) else numbers
        fields = {name: np.atleast_1d(record[name].item()) for name in (*text, *names)}
        odd = [name for name in fields if fields[name].ndim != 1 or (name in names and fields[name].dtype.kind not in "biufO")]
        if odd:
            raise ValueError(f"{odd[0]} is no column of {'numbers' if odd[0] in names else 'texts'}")
        return fields | {name: fields[name].astype(np.float64) for name in names}
    except NotImplementedError:
        raise
    except Exception as error:  # SciPy lets through what zlib, struct and NumPy raise
        raise ValueError(_reason(error)) from None


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes more, where the system can hold it to that."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        taken = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (taken + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def number(cell: Any) -> float | None:
    """A cell as a finite number, or None.

    Text is a number in the digits 0 to 9: Python's own conversion also takes `1_0`, `nan`, `inf` and digits of other scripts, and
    truth values for 0 and 1. There is one zero.
    """
    if isinstance(cell, bool) or (isinstance(cell, str) and not _NUMBER.fullmatch(cell.strip())):
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value + 0.0 if math.isfinite(value) else None  # -0.0 + 0.0 is 0.0


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
