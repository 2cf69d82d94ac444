"""CASIA-WebFace: 494,414 pictures of 10,575 people, `CASIA-WebFace/0000045/001.jpg`, no labels (Yi et al., 2014).

insightface ships them as aligned faces of 112 pixels in RecordIO, `faces_webface_112x112/train.rec`; it is read as well, and then
the detector is to be `whole`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, identity_row, identity_study, parse_options
from agecascade.io.places import Source
from agecascade.params import Block

_NAME = re.compile(r"[0-9]{1,7}/[0-9]+")
_INSTRUCTIONS = (
    "its publisher hands it out no more: take CASIA-WebFace, or insightface's faces_webface_112x112, from a copy that you may use"
)

INFO = Info(
    title="CASIA-WebFace",
    pictures=494_414,
    subjects=10_575,
    label="identity",
    licence="research only",
    access="withdrawn",
    page="https://arxiv.org/abs/1411.7923",
    paper="Yi et al., 2014",
    settings=identity_study(10, detector="yunet"),  # the pictures show much besides the face
)


class Options(Block):
    """What params.yaml may say of CASIA-WebFace."""

    file: str = "CASIA-WebFace.zip"


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The one archive, to be had by hand."""
    return [Source(parse_options(Options, options).file, instructions=_INSTRUCTIONS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with its folder, or its label in RecordIO, as the subject."""
    parse_options(Options, options)
    for member in archive.members(PICTURE_SUFFIXES):
        yield identity_row(member.name, _NAME, "it is not <identity of 7 digits>/<number>")
