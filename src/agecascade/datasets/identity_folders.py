"""Faces in one folder per identity, the user's own: `<identity>/<picture>.jpg`; no labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, identity_row, identity_study, parse_options
from agecascade.errors import ArchiveError, ParamsError
from agecascade.io.places import Source
from agecascade.params import Block

_ANYONE = re.compile(r"[^/]+/[^/]+")
_INSTRUCTIONS = "pack your pictures, one folder for each person, as a zip or tar file of this name, or put the folder there"

INFO = Info(
    title="Identity folders",
    label="identity",
    licence="your own",
    access="your own",
    settings=identity_study(5, detector="yunet", options={"files": ["faces.zip"]}),
)


class Options(Block):
    """What params.yaml may say of identity folders: the archives, which may be several."""

    files: list[str] = Field(default_factory=list)


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archives named in the options, to be had by hand."""
    files = parse_options(Options, options).files
    if not files:
        raise ParamsError("options.files: name the archives of the data set, such as [faces.zip]")
    return [Source(file, instructions=_INSTRUCTIONS) for file in files]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with its last folder as the subject. Raises ArchiveError where there is but one folder."""
    parse_options(Options, options)
    # one name is enough to know two from it: there may be 100,000
    first: str | None = None
    several = False
    for member in archive.members(PICTURE_SUFFIXES):
        row = identity_row(member.name, _ANYONE, "it lies in no identity's folder")
        if isinstance(row, ManifestRow):
            first = first or row.subject
            several = several or row.subject != first
        yield row
    if first is not None and not several:
        raise ArchiveError(f"{archive.path} holds one folder of pictures ({first}), not one for each identity; is it another data set?")
