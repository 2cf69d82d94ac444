"""MS-Celeb-1M as insightface ships it: 5,822,653 aligned faces of 85,742 people in RecordIO (Guo et al., 2016; Deng et al., 2019).

`faces_emore/train.rec` holds the pictures, `train.idx` their places, `property` the text `<identities>,<height>,<width>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from agecascade.archives import Archive, Member
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, identity_row, identity_study, parse_options
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

_PAGE = "https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_"
_NAME = re.compile(r"[0-9]+/[0-9]+")
_PROPERTY = re.compile(rb"\s*(\d+),\d+,\d+\s*")
_INSTRUCTIONS = f"its publisher has withdrawn it: take MS1M-ArcFace (faces_emore) from {_PAGE}, if you may use it; its files loose also do"

INFO = Info(
    title="MS-Celeb-1M (MS1M-ArcFace)",
    pictures=5_822_653,
    subjects=85_742,
    label="identity",
    licence="non-commercial research only",
    access="withdrawn",
    page=_PAGE,
    paper="Guo et al., 2016",
    kept={"DLDL-v2, about, of 54,073 people": 5_000_000},
    settings=identity_study(20, detector="whole"),  # DLDL-v2 has a smallest number too, which it does not give
)


class Options(Block):
    """What params.yaml may say of MS-Celeb-1M: the archive, or [train.rec, train.idx, property]."""

    files: list[str] = Field(default_factory=lambda: ["faces_emore.zip"], min_length=1)


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The files, to be had by hand."""
    return [Source(file, instructions=_INSTRUCTIONS) for file in parse_options(Options, options).files]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with its label as the subject.

    Raises ArchiveError where `property`, if there is one, tells of fewer identities than the labels.
    """
    parse_options(Options, options)
    identities, highest = None, -1
    for member in archive.members((*PICTURE_SUFFIXES, "property")):
        if PurePosixPath(member.name).name == "property":
            identities = _identities(member)
            continue
        row = identity_row(member.name, _NAME, "its label is no identity's number")
        if isinstance(row, ManifestRow):
            highest = max(highest, int(row.subject or -1))
        yield row
    if identities is not None and highest >= identities:
        raise ArchiveError(f"{archive.path}: property tells of {identities} identities, a label is {highest}; are they of one data set?")


def _identities(member: Member) -> int:
    match = _PROPERTY.fullmatch(member.read())
    if match is None:
        raise ArchiveError(f"{member.name} is not <identities>,<height>,<width>; fetch it again")
    return int(match[1])
