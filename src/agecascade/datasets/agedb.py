"""AgeDB: 16,488 pictures of 568 subjects, named `<n>_<Name>_<age>_<f|m>.jpg` (Moschoglou et al., 2017)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options, stem
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="AgeDB",
    pictures=16_488,
    subjects=568,  # as its authors count; the names of the files tell 567
    label="age, years",
    licence="non-commercial research only",
    access="on request",
    page="https://ibug.doc.ic.ac.uk/resources/agedb/",
    paper="Moschoglou et al., 2017",
    kept={"Cascaded fine-tuning": 16_488},
    # the detector, for these are photographs, cut more or less closely around the head;
    # the protocol is the paper's 80/20, and subject_exclusive keeps every person on one side
    settings=label_study(0, 101, detector="yunet"),
)

_NAME = re.compile(r"(?P<number>[0-9]+)_(?P<subject>.+)_(?P<age>[0-9]{1,3})_(?P<gender>[fm])")
_GENDERS = {"f": "female", "m": "male"}
_INSTRUCTIONS = f"ask its authors for AgeDB.zip at {INFO.page} (for research only)"


class Options(Block):
    """What params.yaml may say of AgeDB."""

    file: str = "AgeDB.zip"


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The one archive, which is handed out on request."""
    return [Source(parse_options(Options, options).file, instructions=_INSTRUCTIONS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with the age, gender and subject that its name tells."""
    parse_options(Options, options)
    for member in archive.members(PICTURE_SUFFIXES):
        name = stem(member.name)
        match = _NAME.fullmatch(name)
        if match is None:
            yield Reject(member.name, "name_does_not_parse", f"{PurePosixPath(member.name).name} is not <n>_<Name>_<age>_<f|m>")
            continue
        yield ManifestRow(
            sample_id=name,
            member=member.name,
            subject=match["subject"],
            label=float(match["age"]),
            gender=_GENDERS[match["gender"]],
        )
