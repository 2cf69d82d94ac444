"""The columns of an own table: how its text is separated, which column is what, and whether a column can be what it is called."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping, Sequence

from agecascade.datasets import csv_table
from agecascade.datasets.tables import Table, decoded, number
from agecascade.errors import ArchiveError, ParamsError, missing_column

# what tables call our columns, the likeliest first
_GUESSES = {
    "path": ("path", "file", "filename", "file_name", "image", "image_path", "img", "picture", "photo"),
    "label": ("label", "age", "age_years", "years", "score", "rating"),
    "gender": ("gender", "sex"),
    "subject": ("subject", "subject_id", "person", "person_id"),
    "sigma": ("sigma",),
    "official": ("official", "split"),
}
_OPTIONAL = ("gender", "subject", "sigma", "official")
OPTION = {"official": "split"}  # our column -> the command line's option, where they differ


def encoding_of(table: Table) -> str:
    """The encoding that the table can be read in; raises ArchiveError where it is a spreadsheet."""
    if table.content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ArchiveError(f"{table.name} is a spreadsheet; save it as CSV")
    if table.content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        table.content.decode("utf-8-sig")
        return "utf-8-sig"
    except UnicodeDecodeError:
        return "cp1252"


def split_lines(table: Table, encoding: str, path: str | None) -> tuple[str, list[str], list[list[str]]]:
    """(delimiter, header, rows that are not empty, as wide as the header).

    The delimiter is what separates the first line into the most columns, the one that the user has named among them if it can.
    """
    text = decoded(table, encoding)
    first = next(iter(text.splitlines()), "")
    headers = {mark: [name.strip(' "') for name in first.split(mark)] for mark in ",;\t|"}
    mark = max(headers, key=lambda mark: (path in headers[mark], len(headers[mark])))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        lines = [(row + [""] * len(header))[: len(header)] for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ArchiveError(f"{table.name}, line {rows.line_num}, is no row of a table ({error}); correct it") from None
    if not lines:
        raise ArchiveError(f"{table.name} holds no rows below its header")
    return mark, header, lines


def name_columns(name: str, header: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our columns -> theirs: as the user says, else by the names that they usually bear."""
    lower = {title.lower(): title for title in reversed(header)}
    columns = {}
    for ours, usual in _GUESSES.items():
        theirs = given.get(ours) or next((lower[guess] for guess in usual if guess in lower), None)
        if theirs is None and ours in _OPTIONAL:
            continue
        if theirs is None or theirs not in header:
            raise ParamsError(f"{missing_column(name, theirs or ours, header)}; --{OPTION.get(ours, ours)} says which it is")
        columns[ours] = theirs
    return columns


def serves(name: str, ours: str, theirs: str, cells: Sequence[str], given: Mapping[str, str], genders: Mapping[str, str]) -> bool:
    """Whether a column can be what it is called; raises ParamsError where it cannot, but the user says so or the reader would."""
    known = set(genders) | set(csv_table.GENDERS)
    strange = sorted({cell for cell in cells if cell and cell not in known and cell.lower() not in known}) if ours == "gender" else []
    if not strange:
        return True
    if ours not in given and theirs != ours:
        return False
    some = ", ".join(strange[:5]) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
    example = ",".join(f"{value}=female|male" for value in strange[:5])
    raise ParamsError(f"{name}: the column {theirs!r} holds {some}; say what each of them means: --genders '{example}'")


def has_decimal_commas(cells: Sequence[str]) -> bool:
    """Whether more of the cells are numbers with a decimal comma than with a point."""
    with_points = sum(number(cell) is not None for cell in cells)
    return sum("." not in cell and number(cell.replace(",", ".")) is not None for cell in cells) > with_points
