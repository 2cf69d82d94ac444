"""CACD2000: 163,446 pictures of 2,000 celebrities, named `<age>_<Name>_<number>.jpg` (Chen et al., 2014).

The age is the year of the photo less the year of birth. `celebrity2000_meta.mat` tells who is pictured and the celebrity's
rank in IMDB among the fifty of one birth year. The publisher cleaned ranks 1 to 5 by hand and tests on 3 to 5; the field
trains on the 1,800 others and takes ranks 1 and 2 (80 celebrities) for validation.
"""

from __future__ import annotations

import io
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import field_validator

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, Reject, Row, parse_options
from agecascade.datasets.tables import Table, find, join
from agecascade.errors import ArchiveError
from agecascade.io.source import Source
from agecascade.params import Block

if TYPE_CHECKING:
    import numpy as np

PAGE = "https://bcsiriuschen.github.io/CARC/"

_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<name>.+)_(?P<number>\d+)")
_STRUCT, _FIELDS = "celebrityImageData", ("name", "age", "identity", "rank")
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
    settings={
        "grid": {"low": 0, "high": 100, "step": 1},
        "clean": {"low": 0, "high": 100},
        "detector": "yunet",
        "protocol": "official",  # by rank, and so by celebrity
        "folds": 1,
        "test": 0.2,
        "validation": 0.1,
        "options": {"metadata": "celebrity2000_meta.mat"},
    },
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


class _Listed(NamedTuple):
    """What the .mat file says of a picture."""

    age: float
    identity: float
    rank: float


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The pictures and, where asked for, the list of celebrities."""
    chosen = parse_options(Options, options)
    found = [Source(chosen.file, instructions=f"get the original face images (3.5 GB) by hand from {PAGE} (for research only)")]
    if chosen.metadata is not None:
        found.append(Source(chosen.metadata, instructions=f"get the dataset metadata (celebrity2000_meta.mat) by hand from {PAGE}"))
    return found


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[Row | Reject]:
    """Every picture, with the age and name that its file name tells, and the official role where the .mat file is given.

    Raises ArchiveError where that file is missing, damaged or lacks a field.
    """
    chosen = parse_options(Options, options)
    if chosen.metadata is None:
        for member in archive.members(PICTURE_SUFFIXES):
            yield _row(member.name)
        return
    (table,) = find(archive, chosen.metadata)
    listed, repeated = _listed(table)
    yield from repeated
    for found in join(archive, listed, _file):
        if isinstance(found, Reject):
            yield found
        else:
            member, entry = found
            yield _row(member.name, entry)


def _row(member: str, listed: _Listed | None = None) -> Row | Reject:
    name = PurePosixPath(_file(member)).stem  # names hold dots: 35_J.J._Abrams_0003.jpg
    match = _NAME.fullmatch(name)
    if match is None:
        return Reject(member, "name_does_not_parse", f"{name} is not <age>_<Name>_<number>")
    age = float(match["age"])
    if listed is None:
        return Row(sample_id=name, member=member, subject=match["name"], label=age)
    if listed.age != age:
        return Reject(member, "labels_disagree", f"its name says {age:g} years, the .mat file {listed.age:g}")
    if not listed.identity >= 1:  # so that NaN is rejected
        return Reject(member, "subject_missing", f"the .mat file gives the identity {listed.identity:g}")
    return Row(sample_id=name, member=member, subject=f"{listed.identity:.0f}", label=age, official=_role(listed.rank))


def _role(rank: float) -> str | None:
    if not rank >= 1:
        return None
    if rank > 5:
        return "train"
    return "validation" if rank <= 2 else "test"


def _file(member: str) -> str:
    """The file's name; packed on a Mac, an accent is a letter of its own."""
    return unicodedata.normalize("NFC", PurePosixPath(member).name)


def _listed(table: Table) -> tuple[dict[str, _Listed], list[Reject]]:
    """File name -> what is said of it, and the rows that name none or one that stands there already."""
    fields = _load(table)
    listed: dict[str, _Listed] = {}
    repeated = []
    numbers = zip(fields["age"].tolist(), fields["identity"].tolist(), fields["rank"].tolist(), strict=True)
    for row, (name, entry) in enumerate(zip(fields["name"], numbers, strict=True), start=1):
        if not isinstance(name, str) or not name:
            repeated.append(Reject(f"{table.name} row {row}", "file_missing", "the row names no file"))
        elif _file(name) in listed:
            repeated.append(Reject(f"{table.name} row {row}", "duplicate_row", f"{name} stands twice; the first is taken"))
        else:
            listed[_file(name)] = _Listed(*entry)
    return listed, repeated


def _load(table: Table) -> dict[str, np.ndarray]:
    """The fields that we need, each (N,); raises ArchiveError."""
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        struct = loadmat(io.BytesIO(table.content), squeeze_me=True, variable_names=[_STRUCT])[_STRUCT]
        fields = {name: np.atleast_1d(struct[name].item()) for name in _FIELDS}
        for name in _FIELDS[1:]:
            fields[name] = fields[name].astype(np.float64)
    except NotImplementedError:
        raise ArchiveError(f"{table.name} is of MATLAB 7.3; take celebrity2000_meta.mat of {PAGE}") from None
    except (MatReadError, zlib.error, KeyError, ValueError, TypeError, AttributeError, EOFError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(f"{table.name} is no table of CACD2000 or is damaged ({reason}); fetch it again") from error
    if len({len(field) for field in fields.values()}) != 1:
        raise ArchiveError(f"{table.name}: its fields differ in length; fetch it again")
    return fields
