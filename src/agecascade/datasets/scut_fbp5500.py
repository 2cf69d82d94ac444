"""SCUT-FBP5500: 5,500 frontal faces, whose attractiveness 60 people rated from 1 to 5 (Liang et al., 2018).

`Images/AF1.jpg` (Asian or Caucasian, female or male); `train_test_files/All_labels.txt` holds the means, `All_Ratings.xlsx`
every rating, of which the sample deviation is taken, as SCUT-FBP's authors did; the official splits are five folds, and 60 % to 40 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import Info, ManifestRow, Reject, label_study, parse_options, stem
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="SCUT-FBP5500",
    pictures=5500,
    label="attractiveness, 1 to 5",
    licence="non-commercial research only",
    access="by hand",
    page="https://github.com/HCIILAB/SCUT-FBP5500-Database-Release",
    paper="Liang et al., 2018",
    settings=label_study(
        1,
        5,
        step=0.1,
        detector="whole",
        protocol="official",
        folds=5,
        test=0.0,
        options={"split": "folds", "sigma": "ratings"},
    ),
    sigma=0.5,
)

_LABELS, _RATINGS = "All_labels.txt", "All_Ratings.xlsx"
_FOLDS = "5_folders_cross_validations_files/cross_validation_{k}/test_{k}.txt"
_60_40 = "split_of_60%training and 40%testing/{side}.txt"
_SPLITS = {  # split -> file -> role of the pictures that it lists
    "folds": {_FOLDS.format(k=k): f"fold{k}" for k in range(1, 6)},
    "60_40": {_60_40.format(side=side): side for side in ("train", "test")},
}
_NAME = re.compile(r"(?P<ethnicity>[AC])(?P<gender>[FM])[0-9]+")
_ETHNICITIES = {"A": "Asian", "C": "Caucasian"}
_GENDERS = {"F": "female", "M": "male"}
_INSTRUCTIONS = f"get SCUT-FBP5500_v2.zip by hand by the links at {INFO.page} (for non-commercial research only)"


class Options(Block):
    """What params.yaml may say of SCUT-FBP5500."""

    file: str = "SCUT-FBP5500_v2.zip"
    split: Literal["folds", "60_40"] = "folds"
    sigma: Literal["ratings", "none"] = "ratings"  # none: All_Ratings.xlsx is not read, and the study's sigma holds


@dataclass
class _Ratings:
    """Of one picture."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    faulty_row: int | None = None  # the last one whose rating is no number

    @property
    def deviation(self) -> float | None:
        """The sample deviation (n - 1 in the denominator); None for a single rating, which has none."""
        if self.count < 2:
            return None
        return math.sqrt(max(0.0, (self.squares - self.total**2 / self.count) / (self.count - 1)))


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive, which is to be fetched by hand."""
    return [Source(parse_options(Options, options).file, instructions=_INSTRUCTIONS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture with the mean of its ratings, their deviation and its official role.

    Raises ArchiveError where a table is missing or of another data set, or a picture stands on two sides of the split.
    """
    chosen = parse_options(Options, options)
    split = _SPLITS[chosen.split]
    labels, *rest = tables.find(archive, _LABELS, *split, *((_RATINGS,) if chosen.sigma == "ratings" else ()))
    roles = _roles(dict(zip(split.values(), rest, strict=False)))
    ratings = _read_ratings(rest[-1]) if chosen.sigma == "ratings" else None
    listed: dict[str, str] = {}
    for number, name, label in _lines(labels):
        if name in listed:
            yield Reject(f"{labels.name} line {number}", "duplicate_row", f"{name} stands twice; the first is taken")
        listed.setdefault(name, label)
    yield from tables.join_rows(archive, listed, lambda member: stem(member).upper(), partial(_row, roles=roles, ratings=ratings))
    for name in sorted(roles.keys() - listed.keys()):
        yield Reject(name, "label_missing", f"the split lists it as {roles[name]}, {_LABELS} does not")


def _lines(table: tables.Table) -> Iterator[tuple[int, str, str]]:
    """(line number, picture without suffix, mean) of a list of pictures; raises ArchiveError where a line is another."""
    for number, line in tables.text_lines(table):
        name, _, label = line.partition(" ")
        if not _NAME.fullmatch(stem(name).upper()):
            raise ArchiveError(f"{table.name}, line {number}: {line[:60]!r} names no picture of SCUT-FBP5500, version 2; fetch it again")
        yield number, stem(name).upper(), label.strip()


def _roles(split: Mapping[str, tables.Table]) -> dict[str, str]:
    """Picture -> role."""
    roles: dict[str, str] = {}
    for role, table in split.items():
        for number, name, _ in _lines(table):
            if roles.setdefault(name, role) != role:
                raise ArchiveError(f"{table.name}, line {number}: {name} also stands in {roles[name]}; fetch the data set again")
    return roles


def _read_ratings(table: tables.Table) -> dict[str, _Ratings]:
    """Picture -> its ratings: the sheet ALL or, where there is none, all sheets."""
    ratings_of: dict[str, _Ratings] = {}
    sheets = tables.sheet_names(table)
    for sheet in [name for name in sheets if name.upper() == "ALL"] or sheets:
        for number, cells in tables.sheet_rows(table, ("Filename", "Rating"), sheet):
            name, rating = cells.get("Filename"), tables.number(cells.get("Rating"))
            ratings = ratings_of.setdefault(stem(str(name)).upper(), _Ratings())
            if rating is None:
                ratings.faulty_row = number
                continue
            ratings.count += 1
            ratings.total += rating
            ratings.squares += rating * rating
    return ratings_of


def _row(member: str, label: str, roles: Mapping[str, str], ratings: Mapping[str, _Ratings] | None) -> ManifestRow | Reject:
    name = stem(member).upper()
    mean = tables.number(label)
    if mean is None:
        return Reject(member, "label_missing", f"its mean {label!r} is no number")
    if name not in roles:
        return Reject(member, "not_in_official_split", "no file of the official split lists it")
    deviation = None
    if ratings is not None:
        own = ratings.get(name, _Ratings())
        if own.faulty_row is not None or not own.count:
            place = f"that of row {own.faulty_row} is no number" if own.faulty_row is not None else "there is none"
            return Reject(member, "deviation_missing", f"{_RATINGS} lacks ratings of it: {place}")
        deviation = own.deviation
    return ManifestRow(
        sample_id=name,
        member=member,
        label=mean,
        label_sigma=deviation,
        gender=_GENDERS[name[1]],
        ethnicity=_ETHNICITIES[name[0]],
        official=roles[name],
    )
