"""APPA-REAL, the pictures of ChaLearn LAP 2016: 7,591 with apparent and real age (Agustsson et al., 2017).

`train/000000.jpg` has beside it `000000.jpg_face.jpg`, cropped and turned upright with a margin of 40 % of the face on each
side. `gt_avg_train.csv`, `gt_avg_valid.csv` and `gt_avg_test.csv` hold the mean and the deviation of some 38 guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import Info, ManifestRow, Reject, folder_and_file, label_study, parse_options
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

MARGIN = 0.4  # share of the face, on each side of it

INFO = Info(
    title="APPA-REAL (ChaLearn LAP 2016)",
    pictures=7591,
    label="apparent age, years",
    licence="research only",
    access="direct",
    page="https://chalearnlap.cvc.uab.cat/dataset/26/description/",
    paper="Agustsson et al., 2017",
    kept={"DLDL-v2": 5613 + 1978},
    settings=label_study(
        0,
        100,
        detector="annotation",
        protocol="official",
        test=0.0,
        options={"label": "apparent", "faces": "cropped", "train_on_validation": True},  # as in DLDL-v2
    ),
)

_URL = "http://158.109.8.102/AppaRealAge/"
_FILE = "appa-real-release.zip"
# 118 training pictures without a face, with a wrong one or with several (yu4u, age-estimation-pytorch)
_IGNORED = "https://raw.githubusercontent.com/yu4u/age-estimation-pytorch/b73d91cdfc2ac7124cfd77a6b0e0474777c2ca29/ignore_list.csv"
_FACE = "_face.jpg"
_SIDES = {"train": "train", "valid": "validation", "test": "test"}  # folder -> role
_COLUMNS = ("file_name", "num_ratings", "apparent_age_avg", "apparent_age_std", "real_age")
_LISTED = re.compile(r"(?P<name>[0-9]+)(\.jpg)?")


class Options(Block):
    """What params.yaml may say of APPA-REAL."""

    file: str = _FILE
    label: Literal["apparent", "real"] = "apparent"
    faces: Literal["cropped", "original"] = "cropped"  # original: the whole photograph, for `detector: yunet`
    train_on_validation: bool = False  # ChaLearn LAP 2016 trains on both
    ignore_list: str | None = None  # file of pictures to leave out, a name on each line; ignore_list.csv is the published one


class _RatingRow(NamedTuple):
    """A row of a table."""

    folder: str
    cells: tables.Cells


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive and the ignore list, if one is wanted."""
    chosen = parse_options(Options, options)
    files = [Source(chosen.file, url=_URL + _FILE, instructions=f"get {_FILE} from {INFO.page}", plain=True)]  # its server has no https
    if chosen.ignore_list is not None:
        url = _IGNORED if chosen.ignore_list == PurePosixPath(_IGNORED).name else None
        files.append(Source(chosen.ignore_list, url=url, instructions="`options.ignore_list` is your own file"))
    return files


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture that a table lists, cropped or original, with its apparent or real age.

    Raises ArchiveError where a table is missing, or the ignore list is of another data set.
    """
    chosen = parse_options(Options, options)
    listed: dict[str, _RatingRow] = {}
    for folder, table in zip(_SIDES, tables.find(archive, *(f"gt_avg_{folder}.csv" for folder in _SIDES)), strict=True):
        for number, cells in tables.text_rows(table, _COLUMNS):
            name = f"{folder}/{cells['file_name'].lower()}" + (_FACE if chosen.faces == "cropped" else "")
            if name in listed:
                yield Reject(f"{table.name} line {number}", "duplicate_row", f"{cells['file_name']} stands twice; the first is taken")
            listed.setdefault(name, _RatingRow(folder, cells))
    ignored = _ignored(archive, chosen.ignore_list, listed) if chosen.ignore_list is not None else frozenset()
    for match in tables.join(archive, listed, _key):
        if not isinstance(match, Reject):
            yield _row(match[0].name, match[1], ignored, chosen)
        elif match.reason != "not_listed" or _twin(_key(match.member)) not in listed:
            yield match


def _key(member: str) -> str:
    return folder_and_file(member.lower())


def _twin(name: str) -> str:
    """The original of a crop, the crop of an original."""
    return name.removesuffix(_FACE) if name.endswith(_FACE) else name + _FACE


def _ignored(archive: Archive, file: str, listed: Mapping[str, _RatingRow]) -> frozenset[str]:
    """The file names, without suffix, on the ignore list."""
    (table,) = tables.find(archive, file)
    known = {PurePosixPath(entry.cells["file_name"]).stem for entry in listed.values()}
    ignored = set()
    for number, line in tables.text_lines(table):
        match = _LISTED.fullmatch(line)
        if match is None and number == 1:  # a header
            continue
        if match is None or match["name"] not in known:
            raise ArchiveError(f"{table.name}, line {number}: {line[:60]!r} is no picture of APPA-REAL; correct options.ignore_list")
        ignored.add(match["name"])
    return frozenset(ignored)


def _row(member: str, entry: _RatingRow, ignored: frozenset[str], chosen: Options) -> ManifestRow | Reject:
    stem = PurePosixPath(entry.cells["file_name"]).stem
    if stem in ignored:
        return Reject(member, "ignored", f"{chosen.ignore_list} lists it")
    column = "apparent_age_avg" if chosen.label == "apparent" else "real_age"
    label, deviation = tables.number(entry.cells[column]), tables.number(entry.cells["apparent_age_std"])
    if label is None:
        return Reject(member, "label_missing", f"its {column} {entry.cells[column]!r} is no number")
    if chosen.label == "apparent" and (deviation is None or deviation < 0):
        return Reject(member, "deviation_missing", f"its apparent_age_std {entry.cells['apparent_age_std']!r} is no number from 0")
    role = _SIDES[entry.folder]
    return ManifestRow(
        sample_id=f"{entry.folder}/{stem}",
        member=member,
        label=label,
        label_sigma=deviation if chosen.label == "apparent" else None,
        central_box=1 / (1 + 2 * MARGIN) if chosen.faces == "cropped" else None,
        official="train" if role == "validation" and chosen.train_on_validation else role,
    )
