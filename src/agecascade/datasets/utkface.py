"""UTKFace, aligned and cropped: 23,708 pictures named `<age>_<gender>_<race>_<date and time>.jpg.chip.jpg` (Zhang et al., 2017)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options, stem
from agecascade.errors import ArchiveError, missing_column
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="UTKFace, aligned and cropped",
    pictures=23_708,
    label="age, years",
    licence="non-commercial research only",
    access="by hand",
    page="https://susanqq.github.io/UTKFace/",
    paper="Zhang et al., 2017",
    kept={"DLDL-v2, 0 to 116 years": 24_108, "CORAL, 21 to 60 years": 16_433},  # the former counts the whole photographs
    # for 21 to 60 years options.official is {train: UTK_train_coral.csv, test: UTK_test_coral.csv}: see studies/utkface.yaml
    settings=label_study(0, 116, detector="whole", validation=0.05, max_reject_rate=0.01),
)

# 24_0_1_20170116220224657 .jpg and 55_0_0_20170116232725357jpg.chip.jpg are published so: their labels are whole.
# In 39_1_20170116174525125.jpg a label is missing, and nothing tells which one.
_NAME = re.compile(r"(?P<id>(?P<age>[0-9]{1,3})_(?P<gender>[01])_(?P<race>[0-4])_[0-9]+)(jpg)?")
_GENDERS = {"0": "male", "1": "female"}
_RACES = {"0": "White", "1": "Black", "2": "Asian", "3": "Indian", "4": "Others"}
_INSTRUCTIONS = f"get `Aligned&Cropped Faces` (UTKFace.tar.gz) by hand from {INFO.page} (for research only)"
# the split of CORAL (Cao et al., 2020), ages 21 to 60, as MWR (Shin et al., 2022) ships it
_SPLITS = "https://raw.githubusercontent.com/nhshin-mcl/MWR/5b4ea0c54ee0b08626c79442570ceaddfa1bd28f/datalist/utk/"
_PUBLISHED = ("UTK_train_coral.csv", "UTK_test_coral.csv")


class Official(Block):
    """CSV files with a column `filename` (or `file`), one for each side of a published split."""

    train: str
    test: str


class Options(Block):
    """What params.yaml may say of UTKFace; without `official` every picture is taken."""

    file: str = "UTKFace.tar.gz"
    official: Official | None = None


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive, which is to be fetched by hand, and the files of the official split."""
    chosen = parse_options(Options, options)
    files = [Source(chosen.file, instructions=_INSTRUCTIONS)]
    for file in chosen.official.model_dump().values() if chosen.official else ():
        url = _SPLITS + file if file in _PUBLISHED else None
        files.append(Source(file, url=url, instructions="the split `options.official` is your own file"))
    return files


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture with the age, gender and race that its name tells.

    With an official split, pictures outside it and listed pictures that the archive lacks are rejects; files are
    matched by what stands before the suffix, for copies differ in it.
    """
    chosen = parse_options(Options, options)
    roles = _roles(archive, chosen.official) if chosen.official else {}
    seen: set[str] = set()
    for member in archive.members(PICTURE_SUFFIXES):
        match = _NAME.fullmatch(stem(member.name))
        if match is None:
            yield Reject(member.name, "name_does_not_parse", f"{_file(member.name)} is not <age>_<gender>_<race>_<date and time>")
            continue
        seen.add(match["id"])
        if chosen.official and match["id"] not in roles:
            yield Reject(member.name, "not_in_official_split", f"{_file(member.name)} is on neither side")
            continue
        yield ManifestRow(
            sample_id=match["id"],
            member=member.name,
            label=float(match["age"]),
            gender=_GENDERS[match["gender"]],
            ethnicity=_RACES[match["race"]],
            official=roles.get(match["id"]),
        )
    for missing in sorted(roles.keys() - seen):
        yield Reject(missing, "picture_missing", f"the official split lists it for {roles[missing]}, the archive lacks it")


def _roles(archive: Archive, official: Official) -> dict[str, str]:
    """Stem of a listed file -> train or test."""
    sides = {file: role for role, file in official.model_dump().items()}
    roles: dict[str, str] = {}
    for member in archive.members((".csv",)):
        role = sides.pop(_file(member.name), None)
        if role is None:
            continue
        for name in _listed(member.name, member.read()):
            if roles.setdefault(name, role) != role:
                raise ArchiveError(f"{member.name}: {name} stands on both sides of the official split; correct the file")
        if not sides:
            return roles
    raise ArchiveError(f"{archive.path} lacks {' and '.join(sorted(sides))} of options.official; fetch the data set again")


def _listed(file: str, content: bytes) -> Iterator[str]:
    table = csv.DictReader(io.StringIO(tables.decoded(tables.Table(file, content))), restval="")
    column = next((name for name in ("filename", "file") if name in (table.fieldnames or ())), None)
    if column is None:
        fault = missing_column(file, "filename", table.fieldnames or ())
        raise ArchiveError(f"{fault}; give options.official a CSV file that lists file names")
    try:
        names = [name for row in table if (name := stem(row[column]))]
    except csv.Error as error:
        raise ArchiveError(f"{file}, line {table.line_num}, is no row of a table ({error}); correct it") from None
    for name in names:
        match = _NAME.fullmatch(name)
        yield match["id"] if match else name


def _file(member: str) -> str:
    return PurePosixPath(member).name
