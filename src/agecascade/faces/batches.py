"""What a worker does: a batch of pictures becomes crops, or reasons why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2

from agecascade.errors import FaceError
from agecascade.faces import fingerprints
from agecascade.faces.alignment import Frame, cut, face_size, place, roll, whole_face
from agecascade.faces.choosing import NoFace, choose, shown
from agecascade.faces.crops import decode_image, encode_image
from agecascade.faces.detectors import BLIND
from agecascade.faces.face import Annotation, Face, Image, Points
from agecascade.faces.finding import Finding, finder
from agecascade.faces.parts import Crop
from agecascade.params import Align

PIXELS = 32 << 20  # decoded at once, however many pictures a detector likes to have


@dataclass(frozen=True, eq=False)
class Picture:
    """One member of the archive and the manifest's rows that want it."""

    data: bytes
    rows: list[int]
    annotations: list[Annotation]


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures of one part, in the archive's order."""

    part: int
    pictures: list[Picture]


@dataclass(frozen=True)
class Refusal:
    """A row of the manifest that gives no crop."""

    row: int
    reason: str  # unreadable, no_face, bad_landmarks, many_faces, no_annotated_face, detector_failed, missing
    detail: str


@dataclass(frozen=True, eq=False)
class _Wanted:
    """A row with its picture's pixels (H, W, 3) and the digest of its bytes."""

    row: int
    image: Image
    annotation: Annotation
    digest: int


Outcome = Crop | Refusal


def align_batch(batch: Batch, settings: Align, detector: str) -> tuple[int, list[Outcome]]:
    """(the batch's part, what becomes of each row, in order)."""
    cv2.setNumThreads(1)  # the workers share the cores already
    outcomes: list[Outcome] = []
    group: list[_Wanted] = []
    pixels = 0
    most = finder(detector, settings.detection).batch
    for found in _decoded(batch.pictures):
        if isinstance(found, Refusal):
            outcomes += [*_align_group(group, settings, detector), found]
            group, pixels = [], 0
            continue
        group.append(found)
        pixels += found.image.shape[0] * found.image.shape[1]
        if len(group) >= most or pixels >= PIXELS:
            outcomes += _align_group(group, settings, detector)
            group, pixels = [], 0
    return batch.part, [*outcomes, *_align_group(group, settings, detector)]


def _decoded(pictures: list[Picture]) -> Iterator[_Wanted | Refusal]:
    for picture in pictures:
        try:
            image = decode_image(picture.data)
        except FaceError as error:
            yield from (Refusal(row, "unreadable", str(error)) for row in picture.rows)
            continue
        digest = fingerprints.digest(picture.data)
        for row, annotation in zip(picture.rows, picture.annotations, strict=True):
            yield _Wanted(row, image, annotation, digest)


def _align_group(group: list[_Wanted], settings: Align, detector: str) -> list[Outcome]:
    if not group:
        return []
    findings = finder(detector, settings.detection)([row.image for row in group], [row.annotation for row in group])
    return [_align_row(row, finding, settings, detector) for row, finding in zip(group, findings, strict=True)]


def _align_row(wanted: _Wanted, finding: Finding, settings: Align, detector: str) -> Outcome:
    """The chosen face of one picture; the whole picture where there is none and the settings say so."""
    chosen = choose(finding, wanted.image.shape, wanted.annotation, detector, settings)
    if isinstance(chosen, Face):
        crop = _crop(wanted, chosen, settings, detector, len(finding.faces), finding.attempt)
        if crop is not None:
            return crop
        shape = f"{wanted.image.shape[1]}x{wanted.image.shape[0]}"
        chosen = NoFace("bad_landmarks", f"{detector}: {shown(chosen)} make no face in {shape}")
    if settings.if_no_face == "whole" and chosen.reason != "many_faces":
        crop = _crop(wanted, whole_face(wanted.image), settings, "whole", 0, "whole")
        if crop is not None:
            return crop
    return Refusal(wanted.row, chosen.reason, chosen.detail)


def _crop(wanted: _Wanted, face: Face, settings: Align, detector: str, faces: int, attempt: str) -> Crop | None:
    frame = Frame(settings.size, settings.margin, settings.crop)
    made = cut(wanted.image, face, wanted.annotation, frame)
    if made is None:
        return None
    known = None if detector in BLIND else wanted.annotation.landmarks
    return Crop(
        row=wanted.row,
        image=encode_image(made.image, settings.encoding, settings.quality),
        size=settings.size,
        detector=detector,
        score=face.score,
        landmarks=_placed(face.points, made.matrix),
        annotated=None if known is None or len(known) < 5 else _placed(known[:5], made.matrix),
        faces=faces,
        attempt=attempt,
        face_size=face_size(made.matrix, frame),
        roll=None if face.points is None else roll(made.matrix),
        digest=wanted.digest,
        thumbnail=fingerprints.thumbnail(made.image),
    )


def _placed(points: Points | None, matrix: Points) -> list[float] | None:
    """Points (5, 2) of the picture in the crop, flattened."""
    return None if points is None else [float(value) for value in place(points, matrix).ravel()]
