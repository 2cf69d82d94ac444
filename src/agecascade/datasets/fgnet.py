"""FG-NET: 1,002 pictures of 82 subjects at ages 0 to 69, `images/001A02.JPG` with 68 landmarks in `points/001a02.pts`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options
from agecascade.datasets.tables import number
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="FG-NET Aging Database",
    pictures=1_002,
    label="age, years",
    subjects=82,
    licence="research only",
    access="direct",
    page="https://yanweifu.github.io/FG_NET_data/",
    paper="Lanitis et al., 2002",
    kept={"Cascaded fine-tuning": 1_002, "DAA": 1_002},
    # 82 folds; subject_kfold with folds: 5 takes a sixteenth of the time
    settings=label_study(0, 69, detector="annotation", protocol="leave_one_subject_out", test=0.0),
)

URL = "https://yanweifu.github.io/FG_NET_data/FGNET.zip"
POINTS = 68
# right and left eye (the subject's own), nose tip, right and left mouth corner in the publisher's markup
FIVE = (31, 36, 67, 48, 54)

_NAME = re.compile(r"(?P<subject>[0-9]{3})A(?P<age>[0-9]{2})[A-Z]?", re.IGNORECASE)
_PTS = re.compile(r"\s*version:\s*1\s+n_points:\s*68\s*\{(?P<points>[^{}]*)\}\s*")


class Options(Block):
    """FG-NET has no options."""


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The one archive."""
    parse_options(Options, options)
    return [Source("FGNET.zip", url=URL)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture with the subject and age that its name tells, and its landmarks: the five points, then all 68.

    The names of pictures and landmark files differ in case. A picture without readable landmarks is a reject.
    """
    parse_options(Options, options)
    pictures: list[str] = []
    points: dict[str, bytes] = {}
    for member in archive.members((*PICTURE_SUFFIXES, ".pts")):
        if member.name.lower().endswith(".pts"):
            points[_key(member.name)] = member.read()
        else:
            pictures.append(member.name)
    for picture in pictures:
        yield _row(picture, points.get(_key(picture)))


def parse_points(content: bytes) -> list[tuple[float, float]]:
    """The 68 points (x, y) in pixels of a `.pts` file; raises ValueError where it holds anything else."""
    match = _PTS.fullmatch(content.decode("ascii"))
    if match is None:
        raise ValueError("it is no file of version 1 with 68 points")
    words = match["points"].split()
    values = [value for word in words if (value := number(word)) is not None]
    if not len(words) == len(values) == 2 * POINTS:
        raise ValueError(f"it holds {len(words)} values, {len(values)} of them finite numbers, not 136")
    return list(zip(values[::2], values[1::2], strict=True))


def _key(member: str) -> str:
    return PurePosixPath(member).stem.lower()


def _row(picture: str, content: bytes | None) -> ManifestRow | Reject:
    name = PurePosixPath(picture).stem
    match = _NAME.fullmatch(name)
    if match is None:
        return Reject(picture, "name_does_not_parse", f"{name} is not <subject>A<age>, such as 001A02 or 009A16a")
    if content is None:
        return Reject(picture, "landmarks_unreadable", f"there is no {name.lower()}.pts")
    try:
        points = parse_points(content)
    except ValueError as error:  # UnicodeDecodeError is one
        return Reject(picture, "landmarks_unreadable", f"{name.lower()}.pts: {error}")
    ordered = [points[i] for i in FIVE] + points
    return ManifestRow(
        sample_id=name,
        member=picture,
        subject=match["subject"],
        label=float(match["age"]),
        landmarks=tuple(value for point in ordered for value in point),
    )
