"""From what a reader tells of an archive to the manifest: filters with reasons, and every picture decoded once."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import joblib
import numpy as np
import pyarrow as pa
from tqdm import tqdm

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Reader, Reject, Row
from agecascade.errors import ArchiveError, RejectRateError
from agecascade.params import Clean
from agecascade.schema import MANIFEST, REJECTS

# pictures held in memory at once
BATCH_PICTURES = 512
BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class CleanResult:
    """The manifest by sample_id, the rejects by member, and what metrics/clean/<name>.json says."""

    manifest: pa.Table
    rejects: pa.Table
    counts: dict[str, Any]


def clean(archive: Archive, reader: Reader, settings: Clean, options: Mapping[str, Any], *, name: str, workers: int = 1) -> CleanResult:
    """Read, filter and check the data set `name`.

    Rows are judged by their labels first, so that only pictures that may stay are decoded; each is read once. Raises
    ArchiveError where the archive is damaged or of another data set, RejectRateError above `max_reject_rate`.
    """
    rejects: list[Reject] = []
    found = tqdm(reader.rows(archive, options), desc=f"read {name}", unit=" rows")
    listed = [_sorted_out(row, settings, rejects) for row in _unique(found, rejects)]
    if not listed:
        found = Counter(reject.reason for reject in rejects)
        raise ArchiveError(
            f"{archive.path}: no picture of {name} in it ({_told(found) or 'no pictures'}); it seems to be of another data set"
        )
    kept = list(_checked(archive, {row.member: row for row in listed if row is not None}, rejects, name, workers))
    rejects += [Reject(member, "unsafe_member", reason) for member, reason in archive.skipped.items()]
    kept = _large_identities(kept, settings.min_images_per_identity, rejects)
    counts = _counts(kept, rejects)
    _check_rate(name, counts, settings.max_reject_rate)
    return CleanResult(_table(kept), _reject_table(rejects), counts)


def _unique(found: Iterable[Row | Reject], rejects: list[Reject]) -> Iterator[Row]:
    """The rows, each sample_id once; what the reader rejects goes to `rejects`."""
    seen: set[str] = set()
    for row in found:
        if isinstance(row, Reject):
            rejects.append(row)
        elif row.sample_id in seen:
            rejects.append(Reject(row.member, "duplicate_id", f"{row.sample_id} stands twice; the first is taken"))
        else:
            seen.add(row.sample_id)
            yield row


def _sorted_out(row: Row, settings: Clean, rejects: list[Reject]) -> Row | None:
    """The row, or None with a reject where a filter on what the publisher says of it applies."""
    fault = _fault(row, settings)
    if fault is None:
        return row
    rejects.append(Reject(row.member, *fault))
    return None


def _fault(row: Row, settings: Clean) -> tuple[str, str] | None:
    """(reason, detail) of the first filter that rejects the row."""
    low, high = settings.low, settings.high
    if row.label is None and (low is not None or high is not None):
        return "label_missing", "the publisher gives no label"
    if row.label is not None and ((low is not None and row.label < low) or (high is not None and row.label > high)):
        return "label_out_of_range", f"label {row.label:g} is outside {low} to {high}"
    if settings.min_face_score is not None and row.face_score is not None:
        if row.face_score == -np.inf:
            return "no_face", "the publisher's detector found no face"
        if not row.face_score >= settings.min_face_score:  # so that NaN is rejected
            return "face_score_below_threshold", f"face score {row.face_score:.3f} is below {settings.min_face_score:g}"
    second, highest = row.second_face_score, settings.max_second_face_score
    if highest is not None and second is not None and second > highest:
        return "second_face", f"second face score {second:.3f} is above {highest:g}"
    if settings.require_gender and row.gender is None:
        return "gender_missing", "the publisher gives no gender"
    return None


def _checked(archive: Archive, wanted: dict[str, Row], rejects: list[Reject], name: str, workers: int) -> Iterator[Row]:
    """The rows whose pictures can be decoded, with their boxes; takes them out of `wanted`."""
    total = len(wanted)
    with joblib.Parallel(n_jobs=workers, prefer="threads") as parallel, tqdm(total=total, desc=f"clean {name}", unit=" pictures") as bar:
        for batch in _batches(archive, wanted):
            shares = [batch[i::workers] for i in range(workers)]
            for row in (row for share in parallel(joblib.delayed(_decoded)(share) for share in shares) for row in share):
                if isinstance(row, Row):
                    yield row
                else:
                    rejects.append(row)
            bar.update(len(batch))
    rejects += [Reject(member, "file_missing", "the archive lacks the file") for member in wanted]


def _batches(archive: Archive, wanted: dict[str, Row]) -> Iterator[list[tuple[Row, bytes]]]:
    """(row, picture) of the wanted members, in batches of bounded memory."""
    batch: list[tuple[Row, bytes]] = []
    size = 0
    for member in archive.members(PICTURE_SUFFIXES):
        row = wanted.pop(member.name, None)
        if row is None:
            continue
        batch.append((row, member.read()))
        size += len(batch[-1][1])
        if len(batch) == BATCH_PICTURES or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _decoded(batch: list[tuple[Row, bytes]]) -> list[Row | Reject]:
    """Each row with its box in pixels, or a reject where the picture cannot be decoded."""
    return [_decoded_row(row, content) for row, content in batch]


def _decoded_row(row: Row, content: bytes) -> Row | Reject:
    fault = picture_fault(content)
    if fault is not None:
        return Reject(row.member, "unreadable", fault)
    if row.central_box is None:
        return row
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:  # reads the header only
        sides = picture.size
    low, high = (1 - row.central_box) / 2, (1 + row.central_box) / 2
    return replace(row, box=tuple(share * side for share in (low, high) for side in sides), central_box=None)


def picture_fault(content: bytes) -> str | None:
    """Why a picture cannot be decoded, or None; an eighth of a JPEG's resolution shows it."""
    if not content:
        return "the file is empty"
    # some versions of the decoder take a cut JPEG for a whole one, grey below the cut
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        return "the JPEG is truncated"
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error as error:
        return f"the decoder fails: {' '.join(str(error).split())}"
    return "the decoder fails" if picture is None else None


def _large_identities(rows: list[Row], smallest: int, rejects: list[Reject]) -> list[Row]:
    """The rows of subjects with at least `smallest` pictures left."""
    if smallest <= 1:
        return rows
    sizes = Counter(row.subject for row in rows)
    small = [row for row in rows if sizes[row.subject] < smallest]
    rejects += [
        Reject(row.member, "identity_too_small", f"{row.subject} has {sizes[row.subject]} pictures, not {smallest}") for row in small
    ]
    return [row for row in rows if sizes[row.subject] >= smallest]


def _counts(rows: list[Row], rejects: list[Reject]) -> dict[str, Any]:
    labels = np.array([row.label for row in rows if row.label is not None], dtype=np.float64)
    label = {"min": float(labels.min()), "max": float(labels.max()), "mean": round(float(labels.mean()), 6)} if len(labels) else None
    return {
        "kept": len(rows),
        "rejected": dict(sorted(Counter(reject.reason for reject in rejects).items())),
        "subjects": len({row.subject for row in rows if row.subject is not None}),
        "label": label,
    }


def _check_rate(name: str, counts: Mapping[str, Any], highest: float) -> None:
    """Raise RejectRateError where too much, or all, was rejected."""
    rejected = sum(counts["rejected"].values())
    total = counts["kept"] + rejected
    told = f"{name}: {rejected} of {total} rows rejected ({_told(counts['rejected'])})"
    if not counts["kept"]:
        raise RejectRateError(f"{told}, none is left; check datasets.{name}.clean and the archive")
    if rejected > highest * total:
        key = f"datasets.{name}.clean.max_reject_rate = {highest:g}"
        raise RejectRateError(f"{told}, more than {key} allows; check the archive and the filters, or raise it")


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))


def _table(rows: list[Row]) -> pa.Table:
    """The manifest, by sample_id: no archive's order and no number of workers shows in it."""
    ordered = sorted(rows, key=lambda row: row.sample_id)
    return pa.table({field.name: pa.array([getattr(row, field.name) for row in ordered], field.type) for field in MANIFEST}, MANIFEST)


def _reject_table(rejects: list[Reject]) -> pa.Table:
    ordered = sorted(rejects, key=lambda reject: (reject.member, reject.reason, reject.detail))
    return pa.table({field.name: pa.array([getattr(reject, field.name) for reject in ordered], field.type) for field in REJECTS}, REJECTS)
