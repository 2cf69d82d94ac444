"""From a picture to its faces as rows: each face is found and cropped, and what cannot be is a row that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from agecascade.age_thresholds import AgeCheck
from agecascade.faces.crops import SMALLEST_SIDE, Frame, cut
from agecascade.faces.detection import DetectionResult, Finder
from agecascade.faces.face import Annotation, Face, Image, Points

BOX = ["left", "top", "right", "bottom"]
COLUMNS = ["path", "face", "value", "low", "high", *BOX, "score", "note", "error"]
OF_THRESHOLD = ["probability", "decision"]  # behind them, where an age is asked for
NO_FACE = ("no face found", "the points found make no face")  # such a picture has not failed


@dataclass(eq=False)
class Shown:
    """A picture as it is kept for drawing: RGB (H, W, 3) uint8, reduced by `scale`, its pixels per pixel of the picture."""

    image: Image
    scale: float


@dataclass(eq=False)
class FaceRow:
    """One face, or a picture without one, before its value is known."""

    path: str
    face: int | None = None
    box: list[int] | None = None  # left, top, right, bottom in the picture's pixels
    score: float = np.nan
    error: str | None = None
    crop: Image | None = None  # (S, S, 3)
    points: Points | None = None  # (5, 2): the subject's right eye, left eye, nose, right and left mouth corner; pixels
    frame: int | None = None  # of a video
    shown: Shown | None = None  # shared by the rows of a picture, and kept only on request

    @property
    def failed(self) -> bool:
        """Whether the picture could not be read, or the detector failed at it."""
        return self.face is None and self.error is not None and self.error not in NO_FACE


class Columns(NamedTuple):
    """Which columns there are beside the usual ones."""

    check: AgeCheck | None = None  # probability and decision
    frame: bool = False  # of a video, behind the path
    distribution: bool = False  # the probabilities of the grid's values, a list
    landmarks: bool = False  # ten numbers: x and y of each of FaceRow.points


def picture_rows(name: str, picture: Image, finding: DetectionResult, frame: Frame) -> list[FaceRow]:
    """The cropped faces of a picture in which a detector has looked, or one row that says why there are none."""
    if finding.fault:
        return [FaceRow(name, error=f"the detector failed: {finding.fault}")]
    if not finding.faces:
        return [FaceRow(name, error=NO_FACE[finding.unsound is not None])]
    return [_row(name, i, picture, face, frame) for i, face in enumerate(finding.faces)]


def rows_of(pictures: Sequence[tuple[str, Image | str]], find: Finder, frame: Frame) -> list[list[FaceRow]]:
    """The rows of each picture, or the row of each error that stands in a picture's place."""
    read = [picture for _, picture in pictures if not isinstance(picture, str)]
    findings = iter(find(read, [Annotation()] * len(read)))
    return [
        [FaceRow(name, error=picture)] if isinstance(picture, str) else picture_rows(name, picture, next(findings), frame)
        for name, picture in pictures
    ]


def reduced(picture: Image, longest: int) -> Shown:
    """A picture of which the longer side is at most `longest` pixels."""
    scale = min(1.0, longest / max(picture.shape[:2]))
    if scale == 1:
        return Shown(picture, 1.0)
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return Shown(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), scale)


def table(
    rows: Sequence[FaceRow],
    values: np.ndarray,
    columns: Columns = Columns(),  # noqa: B008  # immutable
    distributions: Sequence[list[float] | None] | None = None,
    note: str | None = None,
) -> pd.DataFrame:
    """The public columns of rows: value, low and high (3, N); with a check also the probability (4, N); distributions of each row."""
    boxes = np.array([[pd.NA] * 4 if row.box is None else row.box for row in rows], dtype=object).reshape(len(rows), 4)
    content = {
        "path": pd.Series([row.path for row in rows], dtype="str"),
        "frame": pd.Series([row.frame for row in rows], dtype="Int64"),
        "face": pd.Series([row.face for row in rows], dtype="Int64"),
        "value": values[0],
        "low": values[1],
        "high": values[2],
        **{name: pd.Series(boxes[:, i], dtype="Int64") for i, name in enumerate(BOX)},
        "score": pd.Series([row.score for row in rows], dtype="float64"),
        "note": pd.Series([note] * len(rows), dtype="str"),
        "error": pd.Series([row.error for row in rows], dtype="str"),
        "distribution": pd.Series(distributions or [None] * len(rows), dtype="object"),
        "landmarks": pd.Series([None if row.points is None else _rounded(row.points) for row in rows], dtype="object"),
    }
    names = [*COLUMNS[:1], *["frame"] * columns.frame, *COLUMNS[1:]]
    if columns.check is not None:
        content |= {"probability": values[3], "decision": pd.Series(columns.check.decisions(values[0], values[1]), dtype="str")}
        names += OF_THRESHOLD
    names += ["distribution"] * columns.distribution + ["landmarks"] * columns.landmarks
    return pd.DataFrame(content, columns=names)


def _rounded(points: Points) -> list[float]:
    """Points (5, 2) as ten numbers, to a hundredth of a pixel."""
    return [round(float(value), 2) for value in points.ravel()]


def _row(name: str, number: int, picture: Image, face: Face, frame: Frame) -> FaceRow:
    score = np.nan if face.score is None else face.score
    row = FaceRow(name, number, [round(float(edge)) for edge in face.box], score, points=face.points)
    try:
        crop = cut(picture, face, Annotation(), frame)
    except cv2.error as error:
        row.error = f"OpenCV cannot crop it: {' '.join(str(error).split())[:200]}"
        return row
    if crop is None:
        row.error = _no_crop(face)
    else:
        row.crop = crop.image
    return row


def _no_crop(face: Face) -> str:
    """Why a face cannot be cropped."""
    width, height = face.box[2:] - face.box[:2]
    if max(width, height) < SMALLEST_SIDE:
        return f"{width:.3g} x {height:.3g} pixels are too few for a face"
    return "the points found make no face"
