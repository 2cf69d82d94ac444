"""MORPH II, album 2: 55,134 pictures of 13,617 people, `Album2/009055_1M54.JPG` (Ricanek and Tesafaye, 2006).

The name tells the person, the number of the picture, gender and age. The album's CSV file, where there is one, adds the race.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options
from agecascade.datasets.tables import Cells, Table, enter, find, number, text_rows
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

PAGE = "https://ebill.uncw.edu/C20231_ustores/web/store_main.jsp?STOREID=4"
# the setting of Chang et al. (2011), drawn five times 80/20, as MWR (Shin et al., 2022) ships it
LISTS = "https://raw.githubusercontent.com/nhshin-mcl/MWR/5b4ea0c54ee0b08626c79442570ceaddfa1bd28f/datalist/morph/RS_partial/"

_NAME = re.compile(r"(?P<subject>[0-9]+)_(?P<number>[0-9]+)(?P<gender>[MF])(?P<age>[0-9]{1,3})")
_PUBLISHED = re.compile(r"Setting_1_fold[0-4]_(train|test)\.txt")
_COLUMNS = ("race", "gender", "age", "photo")
_GENDERS = {"F": "female", "M": "male"}
_RACES = {"A": "Asian", "B": "Black", "H": "Hispanic", "I": "Indian", "O": "Other", "W": "White"}
_INSTRUCTIONS = f"ask for MORPH Album 2 at {PAGE} (academic licence), and pack it under this name, or set options.file"

INFO = Info(
    title="MORPH II (Album 2)",
    pictures=55_134,
    subjects=13_617,
    label="age, years",
    licence="academic or commercial, signed",
    access="on request",
    page=PAGE,
    paper="Ricanek and Tesafaye, 2006",
    settings=label_study(0, 100, detector="yunet"),  # the protocol random is RS of the field; SE is subject_exclusive
    sigma=2.0,
)


class Lists(Block):
    """Files with a column `filename`, one for each side of the partial setting."""

    train: str = "Setting_1_fold0_train.txt"
    test: str = "Setting_1_fold0_test.txt"


class Options(Block):
    """What params.yaml may say of MORPH II.

    partial: the 5,492 pictures of people of European descent that `lists` names, with its two sides as the official split;
    the others are rejects, and so clean.max_reject_rate is to be 0.95.
    """

    file: str = "MORPH_Album2.zip"
    table: str | None = None  # the album's CSV file in the archive, say morph_2008_nonCommercial.csv or MORPH_Album2_comp.csv
    setting: Literal["all", "partial"] = "all"
    lists: Lists = Lists()


class _AlbumRow(NamedTuple):
    """A row of the album's CSV file."""

    place: str
    cells: Cells


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive, which is handed out on request, and the lists of the partial setting."""
    chosen = parse_options(Options, options)
    files = [Source(chosen.file, instructions=_INSTRUCTIONS)]
    for file in chosen.lists.model_dump().values() if chosen.setting == "partial" else ():
        url = LISTS + file if _PUBLISHED.fullmatch(file) else None
        files.append(Source(file, url=url, instructions="the list `options.lists` is your own file"))
    return files


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture with what its name tells; a CSV row that says otherwise is a reject, and so is a picture without a row.

    Raises ArchiveError where a file that the options name is missing or lacks a column.
    """
    chosen = parse_options(Options, options)
    roles = _roles(archive, chosen.lists) if chosen.setting == "partial" else None
    listed: dict[str, _AlbumRow] | None = None
    if chosen.table is not None:
        (table,) = find(archive, chosen.table)
        listed = {}
        yield from _add(listed, table)
    seen: set[str] = set()
    for member in archive.members(PICTURE_SUFFIXES):
        key = _key(member.name)
        yield _row(member.name, key, listed, roles)
        seen.add(key)
    for key in sorted({*(roles or ()), *(listed if listed is not None and roles is None else ())} - seen):
        yield Reject(key, "file_missing", "a table lists it, the archive lacks it")


def _row(member: str, key: str, listed: dict[str, _AlbumRow] | None, roles: dict[str, str] | None) -> ManifestRow | Reject:
    match = _NAME.fullmatch(key)
    if match is None:
        return Reject(member, "name_does_not_parse", f"{key} is not <subject>_<number><M|F><age>, such as 009055_1M54")
    if roles is not None and key not in roles:
        return Reject(member, "not_in_setting", "the lists of the partial setting do not name it")
    race = None
    if listed is not None:
        if key not in listed:
            return Reject(member, "not_listed", "the album's CSV file does not list it")
        place, cells = listed[key]
        age, gender = number(cells["age"]), cells["gender"].upper()
        if age is None:
            return Reject(member, "label_missing", f"{place}: the age is {cells['age']!r}, no number")
        if (age, gender) != (float(match["age"]), match["gender"]):
            both = f"{match['gender']}{match['age']}, {place} {gender}{cells['age']}"
            return Reject(member, "labels_disagree", f"its name says {both}")
        race = _RACES.get(cells["race"].upper(), cells["race"].upper() or None)
    return ManifestRow(
        sample_id=key,
        member=member,
        subject=match["subject"],
        label=float(match["age"]),
        gender=_GENDERS[match["gender"]],
        ethnicity=race,
        official=roles[key] if roles is not None else None,
    )


def _key(path: str) -> str:
    return PurePosixPath(path).stem.strip().upper()


def _add(listed: dict[str, _AlbumRow], table: Table) -> Iterator[Reject]:
    """Add the rows of the album's CSV file; what names no picture, or one again, is a reject."""
    for line, cells in text_rows(table, _COLUMNS):
        key, where = _key(cells["photo"]), f"{table.name} line {line}"
        yield from enter(listed, key, _AlbumRow(f"line {line}", cells), where, "the row names no photo")


def _roles(archive: Archive, lists: Lists) -> dict[str, str]:
    """Name -> train or test."""
    roles: dict[str, str] = {}
    names = lists.model_dump()
    for role, table in zip(names, find(archive, *names.values()), strict=True):
        for _, cells in text_rows(table, ["filename"], delimiter=_delimiter(table)):
            key = _key(cells["filename"])
            if roles.setdefault(key, role) != role:
                raise ArchiveError(f"{table.name}: {key} stands on both sides of the partial setting; correct the file")
    return roles


def _delimiter(table: Table) -> str:
    """The five lists are not written alike."""
    header = table.content.split(b"\n", 1)[0].decode("ascii", "replace")
    return next((mark for mark in "\t," if mark in header), " ")
