"""Faces in one folder per identity, as VGGFace2 (`train/n000002/0001_01.jpg`) and CASIA-WebFace ship them; no labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Reject, Row, Source, parse_options
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Block

_INSTRUCTIONS = "VGGFace2 and CASIA-WebFace are withdrawn by their publishers: take the archive from a copy that you may use"


class Options(Block):
    """What params.yaml may say of identity folders: the archives, which may be several."""

    files: list[str] = Field(default_factory=list)


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archives named in the options, to be had by hand."""
    files = parse_options(Options, options).files
    if not files:
        raise ParamsError("options.files: name the archives of the data set, such as [vggface2_train.tar.gz]")
    return [Source(file, instructions=_INSTRUCTIONS) for file in files]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[Row | Reject]:
    """Every picture, with its last folder as the subject. Raises ArchiveError where there is but one folder."""
    parse_options(Options, options)
    subjects: set[str] = set()
    for member in archive.members(PICTURE_SUFFIXES):
        path = PurePosixPath(member.name)
        subject = path.parent.name
        if not subject:
            yield Reject(member.name, "name_does_not_parse", "it lies in no identity's folder")
            continue
        subjects.add(subject)
        yield Row(sample_id=f"{subject}/{path.stem}", member=member.name, subject=subject)
    if len(subjects) == 1:
        raise ArchiveError(
            f"{archive.path} holds one folder of pictures ({min(subjects)}), not one for each identity; is it another data set?"
        )
