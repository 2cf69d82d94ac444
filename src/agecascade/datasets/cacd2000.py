"""CACD2000: 163,446 pictures of 2,000 celebrities, named `<age>_<Name>_<number>.jpg` (Chen et al., 2014).

The age is the year of the photo less the year of birth. `celebrity2000_meta.mat` tells who is pictured and the celebrity's
rank in IMDB among the fifty of one birth year. The publisher cleaned ranks 1 to 5 by hand and tests on 3 to 5; the field
trains on the 1,800 others and takes ranks 1 and 2 (80 celebrities) for validation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import field_validator

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options
from agecascade.datasets.tables import Table, find, join_rows, mat_fields
from agecascade.io.places import Source
from agecascade.params import Block

if TYPE_CHECKING:
    pass

PAGE = "https://bcsiriuschen.github.io/CARC/"

_NAME = re.compile(r"(?P<age>[0-9]{1,3})_(?P<name>.+)_(?P<number>[0-9]+)")
_FEATURES = "celebrity2000.mat"  # 4.4 GB of features in MATLAB 7.3's format, and nothing more than the other file

INFO = Info(
    title="CACD2000, Cross-Age Celebrity Dataset",
    pictures=163_446,
    subjects=2_000,
    label="age, years",
    licence="academic research only",
    access="by hand",
    page=PAGE,
    paper="Chen, Chen and Hsu, 2014",
    # the official split is by rank, and so by celebrity
    settings=label_study(0, 100, detector="yunet", protocol="official", options={"metadata": "celebrity2000_meta.mat"}),
)


class Options(Block):
    """What params.yaml may say of CACD2000; without `metadata` the name is the subject, and there is no official split."""

    file: str = "CACD2000.tar.gz"
    metadata: str | None = None  # celebrity2000_meta.mat

    @field_validator("metadata")
    @classmethod
    def _small_one(cls, name: str | None) -> str | None:
        if name == _FEATURES:
            raise ValueError("it holds features and nothing else of use; take celebrity2000_meta.mat of the same page")
        return name


class _MatRow(NamedTuple):
    """What the .mat file says of a picture."""

    age: float
    identity: float
    rank: float


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The pictures and, where the options name it, the list of celebrities."""
    chosen = parse_options(Options, options)
    files = [Source(chosen.file, instructions=f"get the original face images (3.5 GB) by hand from {PAGE} (for research only)")]
    if chosen.metadata is not None:
        files.append(Source(chosen.metadata, instructions=f"get the dataset metadata (celebrity2000_meta.mat) by hand from {PAGE}"))
    return files


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with the age and name that its file name tells, and the official role where the .mat file is given.

    Raises ArchiveError where that file is missing, damaged or lacks a field.
    """
    chosen = parse_options(Options, options)
    if chosen.metadata is None:
        for member in archive.members(PICTURE_SUFFIXES):
            yield _row(member.name)
        return
    (table,) = find(archive, chosen.metadata)
    listed, repeated = _entries(table)
    yield from repeated
    yield from join_rows(archive, listed, _file, _row)


def _row(member: str, listed: _MatRow | None = None) -> ManifestRow | Reject:
    name = PurePosixPath(_file(member)).stem  # names hold dots: 35_J.J._Abrams_0003.jpg
    match = _NAME.fullmatch(name)
    if match is None:
        return Reject(member, "name_does_not_parse", f"{name} is not <age>_<Name>_<number>")
    age = float(match["age"])
    if listed is None:
        return ManifestRow(sample_id=name, member=member, subject=match["name"], label=age)
    if listed.age != age:
        return Reject(member, "labels_disagree", f"its name says {age:g} years, the .mat file {listed.age:g}")
    if not (listed.identity >= 1 and listed.identity.is_integer()):  # so that NaN and infinity are rejected
        return Reject(member, "subject_missing", f"the .mat file gives the identity {listed.identity:g}")
    return ManifestRow(sample_id=name, member=member, subject=f"{listed.identity:.0f}", label=age, official=_role(listed.rank))


def _role(rank: float) -> str | None:
    if not (rank >= 1 and rank.is_integer()):
        return None
    if rank > 5:
        return "train"
    return "validation" if rank <= 2 else "test"


def _file(member: str) -> str:
    """The file's name; packed on a Mac, an accent is a letter of its own."""
    return unicodedata.normalize("NFC", PurePosixPath(member).name)


def _entries(table: Table) -> tuple[dict[str, _MatRow], list[Reject]]:
    """File name -> what is said of it, and the rows that name none or one that stands there already."""
    hint = f"take celebrity2000_meta.mat of {PAGE}"
    fields = mat_fields(table, "celebrityImageData", ["name"], ["age", "identity", "rank"], title="CACD2000", newer=hint)
    listed: dict[str, _MatRow] = {}
    repeated = []
    numbers = zip(fields["age"].tolist(), fields["identity"].tolist(), fields["rank"].tolist(), strict=True)
    for row, (name, entry) in enumerate(zip(fields["name"], numbers, strict=True), start=1):
        if not isinstance(name, str) or not name:
            repeated.append(Reject(f"{table.name} row {row}", "file_missing", "the row names no file"))
        elif _file(name) in listed:
            repeated.append(Reject(f"{table.name} row {row}", "duplicate_row", f"{name} stands twice; the first is taken"))
        else:
            listed[_file(name)] = _MatRow(*entry)
    return listed, repeated
