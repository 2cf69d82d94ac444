"""IMDB-Clean: IMDB-WIKI's pictures of IMDB with cleaned labels, of which face is meant, and a split by person (Lin et al., 2021).

`imdb_train_new.csv`, `imdb_valid_new.csv` and `imdb_test_new.csv` list files of IMDB, `<two digits>/nm<person>_rm....jpg`,
with age, gender and the box of the face. The boxes count in the full pictures (267 GB); IMDB's crops, a fortieth of that,
were cut around the face that its own detector preferred, which in pictures of several people may be another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from agecascade.archives import Archive
from agecascade.datasets import imdb_wiki
from agecascade.datasets.base import Info, ManifestRow, Reject, folder_and_file, label_study, parse_options
from agecascade.datasets.tables import enter, find, join_rows, number, text_rows
from agecascade.io.places import Source
from agecascade.params import Block

PAGE = "https://github.com/yiminglin-ai/imdb-clean"
TABLES = "https://raw.githubusercontent.com/yiminglin-ai/imdb-clean/08b455ad7d24ed2906d4c94aad6018c5e0b37ce9/csvs/"

_ROLES = {"train": "train", "valid": "validation", "test": "test"}
_EDGES = ("x_min", "y_min", "x_max", "y_max")
_COLUMNS = ("filename", "age", "gender", *_EDGES)
_GENDERS = {"F": "female", "M": "male"}
_PERSON = re.compile(r"(nm[0-9]+)_")
_PACKED = f"run run_all.sh of {PAGE} and pack the folder imdb-clean-1024 that it writes, CSV files included"

INFO = Info(
    title="IMDB-Clean",
    pictures=285_943,  # 183,886 + 45,971 + 56,086
    label="age, years",
    licence="tables MIT; pictures academic research only",
    access="direct",
    page=PAGE,
    paper="Lin et al., 2021",
    # IMDB has 460,723 pictures; those without a row are rejects
    settings=label_study(0, 100, detector="annotation", protocol="official", max_reject_rate=0.5),
)


class Options(Block):
    """What params.yaml may say of IMDB-Clean: which pictures.

    full: IMDB's own; crop: its crops; clean_1024: those that the publisher's script cuts out, at most 1024 pixels wide,
    in the archive `file` together with the tables that it writes.
    """

    pictures: Literal["full", "crop", "clean_1024"] = "full"
    file: str = "imdb-clean-1024.tar"


class _TableRow(NamedTuple):
    """A row of a table."""

    place: str  # table and line
    role: str
    age: str
    gender: str
    box: tuple[float | None, ...]


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The pictures and the three tables."""
    chosen = parse_options(Options, options)
    if chosen.pictures == "clean_1024":
        return [Source(chosen.file, instructions=_PACKED)]
    files = ["imdb_crop.tar"] if chosen.pictures == "crop" else [f"imdb_{i}.tar" for i in range(10)]
    return [Source(file, url=imdb_wiki.URL + file) for file in files] + [Source(name, url=TABLES + name) for name in _names(chosen)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every listed picture. Raises ArchiveError where a table is missing or lacks a column."""
    chosen = parse_options(Options, options)
    listed: dict[str, _TableRow] = {}
    for role, table in zip(_ROLES.values(), find(archive, *_names(chosen)), strict=True):
        for line, cells in text_rows(table, _COLUMNS):
            key, where = folder_and_file(cells["filename"]), f"{PurePosixPath(table.name).name} line {line}"
            box = tuple(number(cells[edge]) for edge in _EDGES)
            yield from enter(listed, key, _TableRow(where, role, cells["age"], cells["gender"], box), where, "the row names no file")
    yield from join_rows(archive, listed, folder_and_file, partial(_row, is_crop=chosen.pictures == "crop"))


def _names(chosen: Options) -> list[str]:
    suffix = "_1024" if chosen.pictures == "clean_1024" else ""
    return [f"imdb_{part}_new{suffix}.csv" for part in _ROLES]


def _row(member: str, listed: _TableRow, is_crop: bool) -> ManifestRow | Reject:
    age = number(listed.age)
    if age is None:
        return Reject(member, "label_missing", f"{listed.place}: the age is {listed.age!r}, no number")
    box = tuple(edge for edge in listed.box if edge is not None)
    if not is_crop and (len(box) < 4 or box[0] >= box[2] or box[1] >= box[3]):
        return Reject(member, "box_unreadable", f"{listed.place}: {' '.join(map(str, listed.box))} is no box")
    person = _PERSON.match(PurePosixPath(member).name)
    return ManifestRow(
        sample_id=str(PurePosixPath(folder_and_file(member)).with_suffix("")),
        member=member,
        subject=person[1] if person else None,
        label=age,
        gender=_GENDERS.get(listed.gender),
        box=None if is_crop else box,
        central_box=1 / (1 + 2 * imdb_wiki.MARGIN) if is_crop else None,
        official=listed.role,
    )
