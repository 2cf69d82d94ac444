"""Manifest and archive -> aligned Parquet parts: one pass over the archive, the pictures' work in parallel, the order the archive's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa
from joblib import Parallel, delayed
from tqdm import tqdm

from agecascade.errors import FaceError, RejectRateError
from agecascade.faces import fingerprints
from agecascade.faces.alignment import Cut, Frame, Image, Points, cut, face_size, place, roll, whole_face
from agecascade.faces.choosing import NoFace, choose, shown
from agecascade.faces.crops import decode_image, encode_image
from agecascade.faces.detectors import Annotation, Face
from agecascade.faces.finding import finder
from agecascade.faces.parts import Crop, Parts
from agecascade.files import write_table, written_beside
from agecascade.params import Align
from agecascade.schema import REJECTS

if TYPE_CHECKING:
    from agecascade.archives import Archive

BATCH_PICTURES = 32
BATCH_BYTES = 16 << 20  # large pictures travel in smaller batches, so that memory stays bounded


@dataclass(frozen=True, eq=False)
class AlignResult:
    """What became of the manifest: rows, aligned, rejected, and the rejected by reason; the rejects one by one (schema.REJECTS)."""

    counts: dict[str, Any]
    rejects: pa.Table


@dataclass(frozen=True, eq=False)
class Picture:
    """One member of the archive and the manifest's rows that want it."""

    data: bytes
    rows: list[int]
    annotations: list[Annotation]


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture's pixels (H, W, 3) and the digest of its bytes."""

    image: Image
    digest: int


@dataclass(frozen=True)
class Refusal:
    """A row of the manifest that gives no crop."""

    row: int
    reason: str  # unreadable, no_face, bad_landmarks, missing
    detail: str


def align(archive: Archive, manifest: pa.Table, settings: Align, detector: str, folder: Path, workers: int) -> AlignResult:
    """Write the upright crops of the manifest's pictures as folder/part-*.parquet (schema.ALIGNED) and folder/rejects.parquet.

    The folder appears whole or not at all; its content and order do not depend on `workers`. Raises FaceError where the
    detector cannot run and RejectRateError above `settings.max_reject_rate`.
    """
    finder(detector, settings.detection)  # before any work: a missing model is one line, not one of each worker
    reader = _Reader(archive, manifest)
    refusals: list[Refusal] = []
    with written_beside(folder) as temporary, Parts(temporary, manifest, settings.part_mib << 20) as parts:
        with tqdm(total=manifest.num_rows, desc=f"align {folder.name}", unit="face") as bar:
            for outcome in _aligned(reader, settings, detector, workers):
                if isinstance(outcome, Crop):
                    parts.add(outcome)
                else:
                    refusals.append(outcome)
                bar.update()
        refusals += [Refusal(row, "missing", "not in the archive") for row in reader.missing()]
        result = _result(manifest, refusals)
        _check_rate(result, settings.max_reject_rate, folder.name)
        write_table(temporary / "rejects.parquet", result.rejects)
    return result


class _Reader:
    """Batches of wanted pictures in the archive's order; keeps what fails for the main thread, as joblib reads from another."""

    def __init__(self, archive: Archive, manifest: pa.Table) -> None:
        self._archive = archive
        self._landmarks = manifest["landmarks"]
        self._boxes = manifest["box"]
        self._wanted: dict[str, list[int]] = {}
        for row, member in enumerate(manifest["member"].to_pylist()):
            self._wanted.setdefault(member, []).append(row)
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[list[Picture]]:
        try:
            yield from self._batches()
        except Exception as error:  # any at all: raised again in the main thread
            self.failure = error

    def missing(self) -> list[int]:
        """The rows whose member never came."""
        return sorted(row for rows in self._wanted.values() for row in rows)

    def _batches(self) -> Iterator[list[Picture]]:
        batch: list[Picture] = []
        size = 0
        for member in self._archive.members() if self._wanted else ():
            rows = self._wanted.pop(member.name, None)
            if rows is None:
                continue
            data = member.read()
            batch.append(Picture(data, rows, [self._annotation(row) for row in rows]))
            size += len(data)
            if len(batch) == BATCH_PICTURES or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
            if not self._wanted:
                break
        if batch:
            yield batch

    def _annotation(self, row: int) -> Annotation:
        landmarks, box = self._landmarks[row].as_py(), self._boxes[row].as_py()
        points = None if not landmarks else np.array(landmarks, dtype=np.float64).reshape(-1, 2)  # (>= 5, 2)
        return Annotation(points, None if not box else np.array(box, dtype=np.float64))


def _aligned(reader: _Reader, settings: Align, detector: str, workers: int) -> Iterator[Crop | Refusal]:
    """What becomes of each wanted picture, in the archive's order.

    Threads, unless `joblib.parallel_config` says otherwise: OpenCV lets go of the interpreter, and processes take seconds to start.
    """
    run = Parallel(n_jobs=workers, prefer="threads", return_as="generator", batch_size=1, pre_dispatch=2 * workers)
    threads = cv2.getNumThreads()
    try:
        for outcomes in run(delayed(_align_batch)(batch, settings, detector) for batch in reader):
            yield from outcomes
    finally:
        cv2.setNumThreads(threads)
    if reader.failure is not None:
        raise reader.failure


def _align_batch(batch: list[Picture], settings: Align, detector: str) -> list[Crop | Refusal]:
    cv2.setNumThreads(1)  # the workers share the cores already
    return [outcome for picture in batch for outcome in align_picture(picture, settings, detector)]


def align_picture(picture: Picture, settings: Align, detector: str) -> list[Crop | Refusal]:
    """The crop, or the reason why there is none, of each row that wants this picture."""
    try:
        decoded = Decoded(decode_image(picture.data), fingerprints.digest(picture.data))
    except FaceError as error:
        return [Refusal(row, "unreadable", str(error)) for row in picture.rows]
    pairs = zip(picture.rows, picture.annotations, strict=True)
    return [_align_row(decoded, row, annotation, settings, detector) for row, annotation in pairs]


def _align_row(decoded: Decoded, row: int, annotation: Annotation, settings: Align, detector: str) -> Crop | Refusal:
    """The chosen face of one picture; the whole picture where there is none and the settings say so."""
    image = decoded.image
    frame = Frame(settings.size, settings.margin, settings.crop)
    (finding,) = finder(detector, settings.detection)([image], [annotation])
    face = choose(finding, image.shape, annotation, detector, settings)
    if not isinstance(face, NoFace):
        found = cut(image, face, annotation, frame)
        if found is not None:
            return _crop(decoded, row, found, face, settings, detector, finding.attempt, len(finding.faces))
        face = NoFace("bad_landmarks", f"{detector}: {shown(face)} make no face in {image.shape[1]}x{image.shape[0]}")
    if settings.if_no_face == "whole":
        whole = cut(image, whole_face(image), annotation, frame)
        if whole is not None:
            return _crop(decoded, row, whole, whole_face(image), settings, "whole", "whole", 0)
    return Refusal(row, face.reason, face.detail)


def _crop(decoded: Decoded, row: int, found: Cut, face: Face, settings: Align, detector: str, attempt: str, faces: int) -> Crop:
    frame = Frame(settings.size, settings.margin, settings.crop)
    data = encode_image(found.image, settings.encoding, settings.quality)
    landmarks = None if face.points is None else _flat(place(face.points, found.matrix))
    return Crop(
        row=row,
        image=data,
        size=settings.size,
        detector=detector,
        score=face.score,
        landmarks=landmarks,
        digest=decoded.digest,
        thumbnail=fingerprints.thumbnail(found.image),
        faces=faces,
        attempt=attempt,
        face_size=face_size(found.matrix, frame),
        roll=None if face.points is None else roll(found.matrix),
    )


def _flat(points: Points) -> list[float]:
    return [float(value) for value in points.ravel()]


def _result(manifest: pa.Table, refusals: list[Refusal]) -> AlignResult:
    members = manifest["member"]
    rows = [{"member": members[refusal.row].as_py(), "reason": refusal.reason, "detail": refusal.detail} for refusal in refusals]
    reasons = dict(sorted(Counter(refusal.reason for refusal in refusals).items()))
    counts = {
        "rows": manifest.num_rows,
        "aligned": manifest.num_rows - len(refusals),
        "rejected": len(refusals),
        "reasons": reasons,
    }
    return AlignResult(counts, pa.Table.from_pylist(rows, schema=REJECTS))


def _check_rate(result: AlignResult, allowed: float, name: str) -> None:
    rows, rejected = result.counts["rows"], result.counts["rejected"]
    if rejected > allowed * rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.counts["reasons"].items())
        first = result.rejects.slice(0, 1).to_pylist()[0]
        raise RejectRateError(
            f"align {name}: {rejected} of {rows} pictures rejected ({reasons}), more than align.max_reject_rate = {allowed:g}; "
            f"the first is {first['member']}: {first['detail']}; mend the cause or raise align.max_reject_rate"
        )
