"""The user's own table of pictures, over an archive or a folder: path, label, and what else it tells of each picture.

    path,label,sigma,subject,gender,ethnicity,left,top,right,bottom,landmarks,official
    faces/001.jpg,34,2.5,ann,female,,12,20,96,104,,train

A path fits a picture where one ends in the other, so that the table may count from any folder. Landmarks are x and y in
pixels of the right and left eye (the subject's own), the nose tip, the right and left mouth corner, and then any others.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, PathSuffixes, Reject, label_study, normal_path, parse_options
from agecascade.datasets.tables import Table, decoded, find, number, without_empty_end
from agecascade.errors import ArchiveError, missing_column
from agecascade.io.places import Source
from agecascade.params import Block

LARGEST_SIGMA = 1e9  # as that of params
LONGEST_FOLD = 9  # digits of fold<k>
_EDGES = ("left", "top", "right", "bottom")
_POINTS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")  # x1, y1, ..., x5, y5
GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}
_ROLES = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}

INFO = Info(
    title="A table of your own",
    label="what the table holds",
    licence="your own",
    access="your own",
    page="docs/how_to/own_data.md",
    paper="yours",
    settings=label_study(0, 100, detector="yunet"),
)


class Columns(Block):
    """What the table calls our columns; null: by our own name, if it is there at all. Without labels say `label: null`."""

    path: str = "path"
    label: str | None = "label"
    sigma: str | None = None
    subject: str | None = None
    gender: str | None = None
    ethnicity: str | None = None
    left: str | None = None
    top: str | None = None
    right: str | None = None
    bottom: str | None = None
    landmarks: str | list[str] | None = None  # a column of ten or more numbers, or the columns x1, y1, ... of one number each
    official: str | None = None  # or `split`: train, validation, test, fold<k>


class Options(Block):
    """What params.yaml may say of the user's own table."""

    file: str = Field(
        "pictures.zip", min_length=1
    )  # a zip or tar file, or a folder, in archives/; with a slash in it, a path that counts from the repository
    table: str = Field("labels.csv", min_length=1)  # likewise
    table_inside: bool = False  # the table lies in `file`, not beside it
    columns: Columns = Columns()
    delimiter: str = Field(",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8-sig"  # UTF-8 with or without a byte order mark
    genders: dict[str, Literal["female", "male"]] = Field(default_factory=dict)  # how the table writes them, besides f, m, female, male

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            "1".encode(name)  # some codecs make no text, which only their use tells
            return codecs.lookup(name).name
        except (LookupError, UnicodeError):
            raise ValueError("no such encoding; common ones are utf-8-sig, utf-16, latin-1, cp1252") from None

    @field_validator("delimiter")
    @classmethod
    def _separates(cls, mark: str) -> str:
        if mark in '\r\n"':
            raise ValueError("line ends and quotes separate no cells; common ones are , ; | and a tab")
        return mark


class _TableRow(NamedTuple):
    """A row of the table, whose picture is not known yet, or why it is a reject."""

    line: int
    row: ManifestRow | Reject


class _Fault(Exception):
    """Why a row is a reject: (reason, detail)."""


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The pictures, and the table unless it lies among them."""
    chosen = parse_options(Options, options)
    files = [Source(chosen.file, instructions="these are your own pictures")]
    if not chosen.table_inside:
        files.append(Source(chosen.table, instructions="this is your own table; say options.table_inside: true if it lies in the archive"))
    return files


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every row of the table whose picture is there, in the table's order.

    Raises ArchiveError where the table is missing, in another encoding, no table, or lacks a column.
    """
    chosen = parse_options(Options, options)
    (table,) = find(archive, chosen.table if chosen.table_inside else PurePosixPath(chosen.table).name)
    yield from matched(archive, table, chosen)


def matched(archive: Archive, table: Table, chosen: Options) -> Iterator[ManifestRow | Reject]:
    """`rows`, over a table that was read already."""
    listed: dict[str, _TableRow] = {}
    for line, path, row in _entries(table, chosen):
        if not path:
            yield Reject(f"{table.name} line {line}", "path_missing", f"line {line} names no picture")
        elif path in listed:
            yield Reject(path, "duplicate_row", f"line {line}: it stands in line {listed[path].line} too, which is taken")
        else:
            listed[path] = _TableRow(line, row)
    yield from _matched(archive, listed)


def _entries(table: Table, chosen: Options) -> Iterator[tuple[int, str, ManifestRow | Reject]]:
    """(line, path, what the row says) of every row that is not empty."""
    lines = _lines(table, chosen)
    _, header = next(lines, (1, []))
    header = [name.strip().removeprefix("\ufeff") for name in header]
    columns = _columns(table, header, chosen.columns)
    for line, cells in lines:
        if not any(cells):
            continue
        cells = without_empty_end(cells, len(header))
        named = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        path = normal_path(named.get(columns["path"][0], ""))
        try:
            if len(cells) != len(header):
                hint = f"is there a {chosen.delimiter!r} in a text without quotes?"
                raise _Fault("row_malformed", f"{len(cells)} cells under {len(header)} columns; {hint}")
            yield line, path, _row(path, {ours: [named[name] for name in theirs] for ours, theirs in columns.items()}, chosen)
        except _Fault as fault:
            yield line, path, Reject(path, fault.args[0], f"line {line}: {fault.args[1]}")


def _lines(table: Table, chosen: Options) -> Iterator[tuple[int, list[str]]]:
    """(number of the line where the row begins, cells)."""
    # strict: a quote that is never closed would swallow the rest of the table
    reader = csv.reader(io.StringIO(decoded(table, chosen.encoding), newline=""), delimiter=chosen.delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ArchiveError(f"{table.name}, line {line}, is no row of a table ({error}); correct it") from error


def _columns(table: Table, header: Sequence[str], columns: Columns) -> dict[str, list[str]]:
    """Our names -> theirs, of what the table holds; raises ArchiveError that names what it lacks."""
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise ArchiveError(f"{table.name}: the column {twice!r} stands twice; rename one")
    known = {ours: [theirs] if isinstance(theirs, str) else theirs for ours, theirs in columns if theirs is not None}
    for ours in (*_EDGES, "sigma", "subject", "gender", "ethnicity", "landmarks", "official"):
        if ours not in known and ours in header:
            known[ours] = [ours]
    if "official" not in known and "split" in header:
        known["official"] = ["split"]
    if "landmarks" not in known and set(_POINTS) <= set(header):
        known["landmarks"] = list(_POINTS)
    for ours, theirs in known.items():
        for name in theirs:
            if name not in header:
                hint = f"options.columns.{ours} and options.delimiter say how to read it"
                raise ArchiveError(f"{missing_column(table.name, name, header)}; {hint}")
    missing = [edge for edge in _EDGES if edge not in known]
    if 0 < len(missing) < len(_EDGES):
        raise ArchiveError(
            f"{table.name}: a box has left, top, right and bottom, but {' and '.join(missing)} is missing in options.columns"
        )
    return known


def _row(path: str, cells: Mapping[str, list[str]], chosen: Options) -> ManifestRow:
    """cells: by our names. Raises _Fault."""

    def text(ours: str) -> str | None:
        return cells[ours][0] or None if ours in cells else None

    def value(ours: str) -> float | None:
        return _number(text(ours), chosen)

    if "label" in cells and value("label") is None:
        raise _Fault("label_missing", f"the label is {text('label') or ''!r}, no number")
    sigma = value("sigma")
    if text("sigma") and (sigma is None or not 0 <= sigma <= LARGEST_SIGMA):
        raise _Fault("sigma_unreadable", f"the deviation is {text('sigma')!r}, no number from 0 to {LARGEST_SIGMA:g}")
    return ManifestRow(
        sample_id=path,
        member="",
        subject=text("subject"),
        label=value("label"),
        label_sigma=sigma,
        gender=_gender(text("gender"), chosen),
        ethnicity=text("ethnicity"),
        box=_box([cell for edge in _EDGES for cell in cells.get(edge, [])], chosen),
        landmarks=_landmarks(cells.get("landmarks", []), chosen),
        official=_role(text("official")),
    )


def _number(text: str | None, chosen: Options) -> float | None:
    if text is None or chosen.decimal == ".":
        return number(text)
    return number(text.replace(",", ".")) if "." not in text else None  # 1.234 is a thousand and more, or a mistake


def _gender(text: str | None, chosen: Options) -> str | None:
    if text is None:
        return None
    gender = chosen.genders.get(text) or GENDERS.get(text.lower())
    if gender is None:
        raise _Fault("gender_unknown", f"{text!r} is neither f, m, female nor male; options.genders may say what it means")
    return gender


def _role(text: str | None) -> str | None:
    if text is None:
        return None
    role = _ROLES.get(text.lower(), text.lower())
    if role not in _ROLES and not (
        role.startswith("fold") and role[4:].isascii() and role[4:].isdecimal() and len(role) <= 4 + LONGEST_FOLD
    ):
        raise _Fault("role_unknown", f"{text!r:.60} is neither train, validation, test nor fold<k>")
    return role


def _box(cells: Sequence[str], chosen: Options) -> tuple[float, ...] | None:
    if not any(cells):
        return None
    left, top, right, bottom = (_nan(_number(cell, chosen)) for cell in cells)
    if not (left < right and top < bottom):  # so that NaN is none
        raise _Fault("box_unreadable", f"{' '.join(cells)} is no box: left, top, right, bottom")
    return left, top, right, bottom


def _landmarks(cells: Sequence[str], chosen: Options) -> tuple[float, ...] | None:
    """From ten columns, or from one with the numbers between spaces, commas, semicolons or brackets."""
    if not any(cells):
        return None
    if len(cells) == 1:
        marks = r"[\s;()\[\]]+" if chosen.decimal == "," else r"[\s,;()\[\]]+"
        cells = [cell for cell in re.split(marks, cells[0]) if cell]
    values = [_nan(_number(cell, chosen)) for cell in cells]
    if len(values) < 10 or len(values) % 2 or not all(map(math.isfinite, values)):
        raise _Fault("landmarks_unreadable", f"{len(values)} values, where x and y of five points or more are ten numbers or more")
    return tuple(values)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _matched(archive: Archive, listed: Mapping[str, _TableRow]) -> Iterator[ManifestRow | Reject]:
    """The rows with their pictures; what fits twice is a reject, for nothing tells which picture is meant."""
    suffixes = PathSuffixes(list(listed))
    members: dict[str, list[str]] = {}
    for member in archive.members(PICTURE_SUFFIXES):
        path = suffixes.path_of(member.name)
        if path is None:
            yield Reject(member.name, "not_listed", "no path of the table ends in it, nor it in one")
        else:
            members.setdefault(path, []).append(member.name)
    for path, (line, row) in listed.items():
        names = members.get(path, [])
        if len(names) == 1:
            yield replace(row, member=names[0])  # of both kinds
        elif not names:
            yield Reject(path, "file_missing", f"line {line} lists it, the archive lacks it ({' '.join(PICTURE_SUFFIXES)} are pictures)")
        for name in names if len(names) > 1 else ():
            yield Reject(name, "ambiguous_path", f"line {line}: {path} fits {len(names)} pictures; give more of their folders")
