"""The align stage: manifest and archive -> aligned Parquet parts, in one pass over the archive; workers detect, crop and encode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
from tqdm import tqdm

from agecascade.archives import Archive
from agecascade.errors import FaceError, RejectRateError
from agecascade.faces import fingerprints
from agecascade.faces.crops import Frame, cut, face_size, roll, transform_points, whole_face
from agecascade.faces.detection import DetectionResult, NoFace, choose_face, create_finder, describe_face
from agecascade.faces.detectors import BLIND
from agecascade.faces.face import Annotation, Face, Image, Points
from agecascade.faces.manifest_index import ManifestIndex
from agecascade.faces.part_writer import PartWriter
from agecascade.faces.parts import AlignedCrop, Outcome, Rejection, rows_in_part
from agecascade.imaging import decode_image, encode_image
from agecascade.io import storage
from agecascade.io.code import code_digest
from agecascade.io.compute import ordered
from agecascade.io.files import write_json
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.io.storage import Location
from agecascade.params import Align, Compute

BATCH_PICTURES = 32
BATCH_BYTES = 16 << 20  # large pictures travel in smaller batches, so that memory stays bounded


@dataclass(frozen=True, eq=False)
class AlignResult:
    """Counts of the manifest: rows, aligned, rejected, and the rejected by reason."""

    counts: dict[str, Any]


def align(
    archive: Archive, manifest: Location, settings: Align, detector: str, folder: Location, compute: Compute, work: Path
) -> AlignResult:
    """Write the upright crops of the manifest's pictures as folder/part-*.parquet (schema.ALIGNED) and folder/rejects.parquet.

    manifest: a Parquet file of schema.MANIFEST. The folder appears whole or not at all; its content and order depend on neither
    workers, backend nor interruptions. Finished parts are stored below `work`: after an interruption, a run of the same code, settings
    and input continues with the next one, and after the end another allowed share of rejects is only
    compared. Raises FaceError where the detector cannot run, ArchiveError where the archive is damaged, ComputeError where the workers are
    lost, and RejectRateError as soon as `settings.max_reject_rate` is exceeded.
    """
    create_finder(detector, settings.detection)  # before any work: a missing model raises one error, not one from each worker
    name = str(folder).rstrip("/").rpartition("/")[2]
    cache, stamp = ResumeCache(work), _fingerprint(archive, manifest, settings, detector)
    entry = f"aligned-{name}-{stamp}"
    finished = cache.finished(entry)
    if finished is None:
        # a killed pipeline can leave this stage running: then this one waits
        with cache.unfinished(f"align-{name}-{stamp}") as state, PartWriter(state, ManifestIndex(manifest, state)) as parts:
            _fill(parts, archive, settings, detector, compute, name)
            finished = cache.entry(entry, partial(_finish, parts))
    outcome = json.loads((finished / "outcome.json").read_text(encoding="utf-8"))
    _check_rate(outcome["counts"], outcome["first"], settings.max_reject_rate, name)
    linked = storage.deliver(finished / "aligned", folder)
    cache.forget(f"align-{name}")  # states of earlier runs of this data set, and the lock of this one
    cache.forget(f"aligned-{name}")  # earlier results; this one is in use
    cache.clear(keep=lambda _: linked)  # a second copy would take as much space again
    return AlignResult(outcome["counts"])


def _finish(parts: PartWriter, folder: Path) -> None:
    """Move the finished parts below `folder`, beside what became of the rows."""
    write_json(folder / "outcome.json", {"counts": _counts(parts), "first": parts.first_reject()})
    parts.complete().rename(folder / "aligned")


def _fingerprint(archive: Archive, manifest: Location, settings: Align, detector: str) -> str:
    """Changes with whatever changes the parts; the allowed share of rejects does not."""
    code = code_digest("agecascade.faces.align")
    return fingerprint(
        code=code,
        versions=[cv2.__version__, pa.__version__],
        settings=settings.model_dump(exclude={"max_reject_rate"}),
        detector=detector,
        manifest=[str(manifest), storage.state(manifest)],
        archive=archive.state(),
    )


def _fill(parts: PartWriter, archive: Archive, settings: Align, detector: str, compute: Compute, name: str) -> None:
    """Write the parts that are not finished."""
    index, threads = parts.index, cv2.getNumThreads()
    batches = _batches(archive, index, rows_in_part(settings), frozenset(parts.finished))
    work = partial(align_batch, settings=settings, detector=detector)
    try:
        with tqdm(total=len(index), initial=parts.rows, desc=f"align {name}", unit="face") as bar:
            for number, outcomes in ordered(work, batches, compute):
                parts.add(number, outcomes)
                _check_rate_so_far(parts, settings.max_reject_rate, name)
                bar.update(len(outcomes))
    finally:
        cv2.setNumThreads(threads)
    parts.close()
    parts.reject_missing()
    _check_rate_so_far(parts, settings.max_reject_rate, name)


def _batches(archive: Archive, index: ManifestIndex, part_rows: int, finished: frozenset[int]) -> Iterator[PictureBatch]:
    """Batches of the manifest's pictures in the archive's order, each within one part; finished parts are skipped unread."""
    pictures: list[ArchivePicture] = []
    part = rows = size = 0
    for member in archive.members():
        member_rows = index.rows(member.name)
        if not member_rows:
            continue
        next_part, rows = rows // part_rows, rows + len(member_rows)
        if pictures and (next_part != part or len(pictures) == BATCH_PICTURES or size >= BATCH_BYTES):
            yield PictureBatch(part, pictures)
            pictures, size = [], 0
        part = next_part
        if part not in finished:
            data = member.read()
            pictures.append(ArchivePicture(data, member_rows, [index.annotation(row) for row in member_rows]))
            size += len(data)
        if rows == len(index):
            break
    if pictures:
        yield PictureBatch(part, pictures)


def _counts(parts: PartWriter) -> dict[str, Any]:
    return {"rows": parts.rows, "aligned": parts.rows - parts.rejected, "rejected": parts.rejected, "reasons": parts.reasons()}


def _check_rate_so_far(parts: PartWriter, allowed: float, name: str) -> None:
    """Raise RejectRateError where more than the allowed share of all rows is rejected so far."""
    if parts.rejected > allowed * len(parts.index):
        _check_rate({**_counts(parts), "rows": len(parts.index)}, parts.first_reject(), allowed, name)


def _check_rate(counts: Mapping[str, Any], first: Mapping[str, str] | None, allowed: float, name: str) -> None:
    """Raise RejectRateError where more than the allowed share of the rows is rejected; first: the first reject."""
    if first is None or counts["rejected"] <= allowed * counts["rows"]:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts["reasons"].items())
    rejected = f"{counts['rejected']} of {counts['rows']} pictures rejected ({reasons})"
    raise RejectRateError(
        f"align {name}: {rejected}, more than align.max_reject_rate = {allowed:g}; "
        f"the first is {first['member']}: {first['detail']}; mend the cause or raise align.max_reject_rate"
    )


DECODED_PIXELS = 32 << 20  # held at once, however many pictures the detector takes


@dataclass(frozen=True, eq=False)
class ArchivePicture:
    """One member of the archive, its rows in the manifest, and the annotation of each row."""

    data: bytes
    rows: list[int]
    annotations: list[Annotation]


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Pictures of one part, in the archive's order: the work of one call of a worker."""

    part: int
    pictures: list[ArchivePicture]


@dataclass(frozen=True, eq=False)
class _DecodedRow:
    """A row of the manifest with its picture's pixels (H, W, 3) and the digest of its bytes."""

    row: int
    image: Image
    annotation: Annotation
    digest: int


def align_batch(batch: PictureBatch, settings: Align, detector: str) -> tuple[int, list[Outcome]]:
    """(the batch's part, the crop or rejection of each row, in order)."""
    cv2.setNumThreads(1)  # the workers share the cores already
    outcomes: list[Outcome] = []
    group: list[_DecodedRow] = []
    pixels = 0
    group_size = create_finder(detector, settings.detection).batch
    for row in _decode(batch.pictures):
        if isinstance(row, Rejection):
            outcomes += [*_align_group(group, settings, detector), row]
            group, pixels = [], 0
            continue
        group.append(row)
        pixels += row.image.shape[0] * row.image.shape[1]
        if len(group) >= group_size or pixels >= DECODED_PIXELS:
            outcomes += _align_group(group, settings, detector)
            group, pixels = [], 0
    return batch.part, [*outcomes, *_align_group(group, settings, detector)]


def _decode(pictures: list[ArchivePicture]) -> Iterator[_DecodedRow | Rejection]:
    for picture in pictures:
        try:
            image = decode_image(picture.data)
        except FaceError as error:
            yield from (Rejection(row, "unreadable", str(error)) for row in picture.rows)
            continue
        digest = fingerprints.file_digest(picture.data)
        for row, annotation in zip(picture.rows, picture.annotations, strict=True):
            yield _DecodedRow(row, image, annotation, digest)


def _align_group(group: list[_DecodedRow], settings: Align, detector: str) -> list[Outcome]:
    if not group:
        return []
    results = create_finder(detector, settings.detection)([row.image for row in group], [row.annotation for row in group])
    return [_align_row(row, result, settings, detector) for row, result in zip(group, results, strict=True)]


def _align_row(row: _DecodedRow, result: DetectionResult, settings: Align, detector: str) -> Outcome:
    """The chosen face of one picture; the whole picture where there is none and the settings say so."""
    chosen = choose_face(result, row.image.shape, row.annotation, detector, settings)
    if isinstance(chosen, Face):
        crop = _crop(row, chosen, settings, detector, len(result.faces), result.attempt)
        if crop is not None:
            return crop
        shape = f"{row.image.shape[1]}x{row.image.shape[0]}"
        chosen = NoFace("bad_landmarks", f"{detector}: {describe_face(chosen)} make no face in {shape}")
    if settings.if_no_face == "whole" and chosen.reason != "many_faces":
        crop = _crop(row, whole_face(row.image), settings, "whole", 0, "whole")
        if crop is not None:
            return crop
    return Rejection(row.row, chosen.reason, chosen.detail)


def _crop(row: _DecodedRow, face: Face, settings: Align, detector: str, faces: int, attempt: str) -> AlignedCrop | None:
    frame = Frame(settings.size, settings.margin, settings.crop)
    crop = cut(row.image, face, row.annotation, frame)
    if crop is None:
        return None
    published = None if detector in BLIND else row.annotation.landmarks
    return AlignedCrop(
        row=row.row,
        image=encode_image(crop.image, settings.encoding, settings.quality),
        size=settings.size,
        detector=detector,
        score=face.score,
        landmarks=_in_crop(face.points, crop.matrix),
        annotated=None if published is None or len(published) < 5 else _in_crop(published[:5], crop.matrix),
        faces=faces,
        attempt=attempt,
        face_size=face_size(crop.matrix, frame),
        roll=None if face.points is None else roll(crop.matrix),
        digest=row.digest,
        thumbnail=fingerprints.hash_thumbnail(crop.image),
    )


def _in_crop(points: Points | None, matrix: Points) -> list[float] | None:
    """Points (5, 2) of the picture in the crop, flattened."""
    return None if points is None else [float(value) for value in transform_points(points, matrix).ravel()]
