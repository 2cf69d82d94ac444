"""Adience: 26,580 faces from Flickr albums in eight age groups, published with five folds (Eidinger et al., 2014).

`fold_0_data.txt` .. `fold_4_data.txt` list 19,487 faces, 17,424 of them with exactly one of the eight groups. 117 of the rows
repeat another; the papers count them, so each is a row here, and `duplicates: exact` leaves one of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import Info, ManifestRow, Reject, folder_and_file, label_study, parse_options
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="Adience",
    pictures=26580,
    subjects=168,  # albums, which the folds keep together; its authors count 2,284 people
    label="age group, years",
    licence="research only",
    access="on request",
    page="https://talhassner.github.io/home/projects/Adience/Adience-data.html",
    paper="Eidinger et al., 2014",
    kept={"Cascaded fine-tuning": 17417},
    settings={
        # the archive shows 7,000 faces that no fold lists, and 2,063 listed ones have other labels
        **label_study(0, 100, detector="whole", protocol="official", folds=5, test=0.0, max_reject_rate=0.4),
        "grid": {"groups": True},
        "options": {"pictures": "aligned", "labels": "exact", "groups": 8},
    },
)

_FOLDS = [f"fold_{k}_data.txt" for k in range(5)]
_COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
_PREFIXES = {"aligned": "landmark_aligned_face", "faces": "coarse_tilt_aligned_face"}
_GENDERS = {"f": "female", "m": "male"}  # others: u, for babies, and nothing
_INSTRUCTIONS = f"register at {INFO.page} (for research only) and get it from there"

Group = tuple[int, int]  # first and last year
_GROUPS: dict[str, Group] = {
    f"({low}, {high})": (low, high)
    for low, high in [(0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100)]
}  # fmt: skip
_BROAD: list[Group] = [(0, 12), (15, 20), (25, 100)]
# The group nearest to the number, or to the middle of the range. So do the tables that are passed around, except that these
# differ among themselves on 42, 55, (8, 23) and (38, 48); 3 and 35, as far from one group as from another, stand as there.
_MAPPED: dict[str, Group] = {
    age: _GROUPS[group]
    for group, ages in {
        "(0, 2)": ["2", "3"],
        "(8, 12)": ["13"],
        "(15, 20)": ["22", "(8, 23)"],
        "(25, 32)": ["23", "29", "32", "34", "(27, 32)", "(25, 23)"],
        "(38, 43)": ["35", "36", "42", "45", "(38, 42)", "(38, 48)"],
        "(48, 53)": ["46", "55", "56"],
        "(60, 100)": ["57", "58"],
    }.items()
    for age in ages
}


class Options(Block):
    """What params.yaml may say of Adience."""

    pictures: Literal["aligned", "faces"] = "aligned"  # faces: turned upright coarsely
    labels: Literal["exact", "mapped"] = "exact"  # mapped: other ages and ranges count for the nearest group
    groups: Literal[8, 3] = 8  # 3: 0-12, 15-20, 25-100


class _FoldRow(NamedTuple):
    """A row of a fold's table."""

    fold: int
    cells: tables.Cells


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive of the chosen pictures and the five tables, which are handed out on request."""
    chosen = parse_options(Options, options)
    return [Source(file, instructions=_INSTRUCTIONS) for file in (f"{chosen.pictures}.tar.gz", *_FOLDS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every row of the tables, in the pictures' order, and a reject for every picture that no table lists.

    The label is the middle of the age group, the subject the Flickr album.
    """
    chosen = parse_options(Options, options)
    listed = _listed(archive, _PREFIXES[chosen.pictures])
    for match in tables.join(archive, listed, folder_and_file):
        if isinstance(match, Reject):
            yield from [match] * len(listed.get(match.member, [match]))  # as many as rows
            continue
        member, entries = match
        for repeat, entry in enumerate(entries, start=1):
            yield _row(member.name, entry, repeat, chosen)


def _listed(archive: Archive, prefix: str) -> dict[str, list[_FoldRow]]:
    """`<user_id>/<prefix>.<face_id>.<original_image>` -> its rows."""
    listed: dict[str, list[_FoldRow]] = {}
    for fold, table in enumerate(tables.find(archive, *_FOLDS)):
        for _, cells in tables.text_rows(table, _COLUMNS, delimiter="\t"):
            name = f"{cells['user_id']}/{prefix}.{cells['face_id']}.{cells['original_image']}"
            listed.setdefault(name, []).append(_FoldRow(fold, cells))
    return listed


def _row(member: str, entry: _FoldRow, repeat: int, chosen: Options) -> ManifestRow | Reject:
    age = entry.cells["age"]
    if age in ("None", ""):
        return Reject(member, "label_missing", "the publisher gives no age")
    group = _GROUPS.get(age) or (_MAPPED.get(age) if chosen.labels == "mapped" else None)
    if group is None:
        return Reject(member, "label_not_a_group", f"its age {age} is none of the eight groups")
    if chosen.groups == 3:
        group = next(broad for broad in _BROAD if broad[0] <= group[0] and group[1] <= broad[1])
    low, high = group
    stem = PurePosixPath(entry.cells["original_image"]).stem
    return ManifestRow(
        sample_id=f"{entry.cells['user_id']}/{entry.cells['face_id']}.{stem}" + (f"#{repeat}" if repeat > 1 else ""),
        member=member,
        subject=entry.cells["user_id"],
        label=(low + high) / 2,
        label_low=float(low),
        label_high=float(high),
        group=f"({low}, {high})",
        gender=_GENDERS.get(entry.cells["gender"]),
        official=f"fold{entry.fold}",
    )
