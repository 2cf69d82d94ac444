"""AFAD, Asian Face Age Dataset: 164,432 face crops from a social network, `<age>/<111|112>/<number>-<n>.jpg` (Niu et al., 2016).

111 are men and 112 women. The number seems to be that of an account: it recurs over pictures of one age, now and then of
both genders. It is given as the subject, so that subject_exclusive keeps all pictures of an account on one side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options
from agecascade.io.places import Source
from agecascade.params import Block

PAGE = "https://afad-dataset.github.io/"

_PATH = re.compile(r"(?:.*/)?(?P<id>(?P<age>[0-9]{1,3})/(?P<gender>111|112)/[^/]+)")
_FILE = re.compile(r"(?P<number>[0-9]+)-[0-9]+")
_GENDERS = {"111": "male", "112": "female"}
_INSTRUCTIONS = (
    "clone https://github.com/afad-dataset/tarball (AFAD-Full) or https://github.com/afad-dataset/tarball-lite (AFAD-Lite; "
    "set options.file) and join the pieces: cat AFAD-Full.tar.xz?? > AFAD-Full.tar.xz (for research only)"
)

INFO = Info(
    title="AFAD, Asian Face Age Dataset",
    pictures=164_432,  # AFAD-Full; AFAD-Lite has 59,344
    label="age, years",
    licence="academic research only",
    access="by hand",
    page=PAGE,
    paper="Niu et al., 2016",
    settings=label_study(0, 100, detector="whole"),  # the protocol subject_exclusive separates accounts
)


class Options(Block):
    """What params.yaml may say of AFAD: the archive, AFAD-Full or AFAD-Lite."""

    file: str = "AFAD-Full.tar.xz"


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The one archive, published in pieces that are to be joined."""
    return [Source(parse_options(Options, options).file, instructions=_INSTRUCTIONS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with the age and gender that its folders tell."""
    parse_options(Options, options)
    for member in archive.members(PICTURE_SUFFIXES):
        match = _PATH.fullmatch(member.name)
        if match is None:
            yield Reject(member.name, "name_does_not_parse", "its folders are not <age>/111 (men) or <age>/112 (women)")
            continue
        path = PurePosixPath(match["id"]).with_suffix("")
        file = _FILE.fullmatch(path.name)
        yield ManifestRow(
            sample_id=str(path),
            member=member.name,
            subject=file["number"] if file else None,
            label=float(match["age"]),
            gender=_GENDERS[match["gender"]],
        )
