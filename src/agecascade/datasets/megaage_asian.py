"""MegaAge-Asian: 40,000 training and 3,945 test pictures of Asian faces, aligned, 178 x 218 pixels (Zhang et al., 2017).

`list/train_name.txt` and `list/train_age.txt` belong together line by line, and so do those of the test pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agecascade.archives import Archive
from agecascade.datasets.base import Info, ManifestRow, Reject, folder_and_file, label_study, parse_options
from agecascade.datasets.tables import Table, decoded, enter, find, join_rows, number
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

PAGE = "http://mmlab.ie.cuhk.edu.hk/projects/MegaAge/"
SIDES = ("train", "test")

_INSTRUCTIONS = f"get megaage_asian.zip by hand from {PAGE} or https://github.com/zyx2012/Age_estimation_BMVC2017 (for research only)"

INFO = Info(
    title="MegaAge-Asian",
    pictures=43_945,
    label="age, years",
    licence="non-commercial research only",
    access="by hand",
    page=PAGE,
    paper="Zhang et al., 2017",
    # the detector, for the crops are not square, and show more than the face; the publisher names no validation pictures
    settings=label_study(0, 70, detector="yunet", protocol="official"),
)


class Options(Block):
    """What params.yaml may say of MegaAge-Asian."""

    file: str = "megaage_asian.zip"


class _ListLine(NamedTuple):
    """A line of the two lists of a side."""

    place: str
    age: str


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The one archive."""
    return [Source(parse_options(Options, options).file, instructions=_INSTRUCTIONS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every listed picture with its age and side. Raises ArchiveError where a list is missing or two differ in length."""
    parse_options(Options, options)
    tables = find(archive, *(f"list/{side}_{kind}.txt" for side in SIDES for kind in ("name", "age")))
    listed: dict[str, _ListLine] = {}
    for side, names, ages in zip(SIDES, tables[::2], tables[1::2], strict=True):
        yield from _add(listed, side, names, ages)
    yield from join_rows(archive, listed, folder_and_file, _row)


def _add(listed: dict[str, _ListLine], side: str, names: Table, ages: Table) -> Iterator[Reject]:
    """Add the lines of a side; what names no picture, or one again, is a reject."""
    files, years = _lines(names), _lines(ages)
    if len(files) != len(years):
        raise ArchiveError(f"{names.name} has {len(files)} lines, {ages.name} {len(years)}: they belong together; fetch them again")
    for line, (file, age) in enumerate(zip(files, years, strict=True), start=1):
        key = f"{side}/{PurePosixPath(file).name}" if file else ""
        yield from enter(listed, key, _ListLine(f"line {line}", age), f"{names.name} line {line}", "the line names no picture")


def _lines(table: Table) -> list[str]:
    """All lines, also empty ones, for the place counts; those at the end of the file are none."""
    return [line.strip() for line in decoded(table).rstrip().splitlines()]


def _row(member: str, listed: _ListLine) -> ManifestRow | Reject:
    side, _, file = folder_and_file(member).partition("/")
    age = number(listed.age)
    if age is None:
        return Reject(member, "label_missing", f"{listed.place} of {side}_age.txt is {listed.age!r}, no number")
    return ManifestRow(sample_id=f"{side}/{PurePosixPath(file).stem}", member=member, label=age, official=side)
