"""What the aligned faces of a data set are like, from the columns that the align stage leaves. No picture is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agecascade.dataset_report.landmark_error import LandmarkError, landmark_errors, summarise_errors
from agecascade.errors import FaceError
from agecascade.faces.face import Points

FIRST, WHOLE = "first", "whole"  # attempts, as schema.ALIGNED tells them
QUANTILES = (5, 25, 50, 75, 95)  # %
MANY = 3  # faces in a picture: what is counted together with all above
COUNTED = ("none", "one", "two", "more")  # faces in a picture
POINT_COLUMNS = ["landmarks", "annotated"]
COLUMNS = ["width", "detector", "face_score", "faces", "attempt", "face_size", "roll", *POINT_COLUMNS]
BATCH_ROWS = 65_536
ROUNDING = 1e-5  # float32 keeps seven digits: a crop of the picture's own scale is not upsampled
DIGITS = 4


@dataclass(frozen=True)
class Quality:
    """The aligned faces of a data set in figures. Quantiles are by name, p5 to p95; None where nothing is known to take them of."""

    pictures: int  # in the manifest
    aligned: int
    found: int  # of the aligned: with a face; the others were taken whole
    rejected: dict[str, int]  # by reason
    attempts: dict[str, int]  # by the attempt that found the face: first, each retry, whole
    detectors: dict[str, int]
    faces: dict[str, int]  # pictures by how many faces were found in them: COUNTED
    face_size: dict[str, float] | None  # quantiles of the face square's side, pixels of the picture
    upsampled: float | None  # share of the faces that the picture shows smaller than the crop does
    roll: dict[str, float] | None  # quantiles of |roll|, degrees
    face_score: dict[str, float] | None  # quantiles of the detector's score
    error: LandmarkError | None  # the detector's, where a data set has landmarks

    @property
    def retried(self) -> int:
        """Faces that were found at a retry."""
        return sum(count for attempt, count in self.attempts.items() if attempt not in (FIRST, WHOLE))


def measure(parts: Sequence[Path], rejects: Path, pictures: int, margin: float) -> Quality:
    """The figures of Parquet parts (schema.ALIGNED) and of the rejects beside them (schema.REJECTS), the same at every run.

    pictures: rows of the manifest; margin: the crop's, as a share of the face square. One float of each row and figure is held, and
    little more: 5 million faces with all figures take some 600 MiB.
    Raises FaceError where a part lacks columns.
    """
    counts: dict[str, Counter[str]] = {column: Counter() for column in ("detector", "attempt", "faces")}
    values: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for batch in _batches(parts, COLUMNS):
        for column in ("detector", "attempt"):
            counts[column] += _occurrences(batch[column])
        faces = np.minimum(_known(batch["faces"]), MANY).astype(np.int64)
        counts["faces"].update(dict(zip(COUNTED, np.bincount(faces, minlength=MANY + 1).tolist(), strict=True)))
        for column, array in _values(batch, margin).items():
            values[column].append(array)
    aligned = sum(pq.read_metadata(part).num_rows for part in parts)
    return Quality(
        pictures=pictures,
        aligned=aligned,
        found=aligned - counts["detector"][WHOLE],
        rejected=_ordered(_reasons(rejects)),
        attempts=_ordered(counts["attempt"]),
        detectors=_ordered(counts["detector"]),
        faces={name: counts["faces"][name] for name in COUNTED},
        face_size=_quantiles(values["face_size"]),
        upsampled=_share(values["upsampled"]),
        roll=_quantiles(values["roll"]),
        face_score=_quantiles(values["face_score"]),
        error=summarise_errors(np.concatenate([np.empty((0, 6), np.float32), *values.pop("error", [])])),
    )


def worst(parts: Sequence[Path], count: int) -> tuple[NDArray[np.int64], Points]:
    """The rows whose eyes were found furthest from the published ones, the worst first, at most `count`, and their errors.

    Returns (M,) row numbers through the parts in their order, (M,) errors of the eye centres.
    """
    batches = [np.empty(0, np.float32), *(_errors(batch)[:, 0] for batch in _batches(parts, POINT_COLUMNS))]
    errors = np.concatenate(batches)  # (N,), NaN where there is nothing to compare
    rows = np.argsort(-errors, kind="stable")[:count]  # NaN comes last
    rows = rows[np.isfinite(errors[rows])]
    return rows, errors[rows].astype(np.float64)


def _batches(parts: Sequence[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        with pq.ParquetFile(part) as file:
            lacking = ", ".join(column for column in columns if column not in file.schema_arrow.names)
            if lacking:
                stage = f"align@{part.parent.name}"
                raise FaceError(f"{part} lacks the columns {lacking}: an older version wrote it; run `dvc repro --force {stage}`")
            yield from file.iter_batches(BATCH_ROWS, columns=columns)


def _values(batch: pa.RecordBatch, margin: float) -> dict[str, NDArray[np.float32]]:
    """What is known of each figure that quantiles or shares are taken of."""
    size, width = (_floats(batch[column]) for column in ("face_size", "width"))
    known = np.isfinite(size)
    errors = _errors(batch)
    return {
        "face_size": size[known],
        "upsampled": (size * (1 + 2 * margin) < width * (1 - ROUNDING))[known],
        "roll": np.abs(_known(batch["roll"])),
        "face_score": _known(batch["face_score"]),
        "error": errors[np.isfinite(errors[:, 0])],
    }


def _errors(batch: pa.RecordBatch) -> NDArray[np.float32]:
    """(n, 6) as `landmark_errors` returns them."""
    found, published = (_points(batch[column]) for column in POINT_COLUMNS)
    return landmark_errors(found, published).astype(np.float32)


def _points(column: pa.Array) -> Points:
    """(n, 5, 2) of a column of flattened lists; NaN where a row has none, or not five."""
    five = pc.equal(pc.fill_null(pc.list_value_length(column), 0), 10)
    points = np.full((len(column), 10), np.nan)
    points[five.to_numpy(zero_copy_only=False)] = _floats(column.filter(five).flatten()).reshape(-1, 10)
    return points.reshape(-1, 5, 2)


def _floats(column: pa.Array) -> NDArray[np.float32]:
    """A numeric column; nulls are NaN."""
    return np.asarray(column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float32)


def _known(column: pa.Array) -> NDArray[np.float32]:
    values = _floats(column)
    return values[np.isfinite(values)]


def _occurrences(column: pa.Array) -> Counter[str]:
    """How often each value occurs; nulls are left out."""
    counted = pc.value_counts(column.drop_null())
    return Counter(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))


def _reasons(rejects: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    with pq.ParquetFile(rejects) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=["reason"]):
            counted += _occurrences(batch["reason"])
    return counted


def _ordered(counted: Counter[str]) -> dict[str, int]:
    """The most frequent first, then by name."""
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _quantiles(chunks: list[NDArray[np.float32]]) -> dict[str, float] | None:
    values = np.concatenate([np.empty(0, np.float32), *chunks]).astype(np.float64)
    if not len(values):
        return None
    found = np.quantile(values, np.array(QUANTILES) / 100)
    return {f"p{share}": round(float(value), DIGITS) for share, value in zip(QUANTILES, found, strict=True)}


def _share(chunks: list[NDArray[np.float32]]) -> float | None:
    count = sum(len(chunk) for chunk in chunks)
    return round(sum(int(chunk.sum()) for chunk in chunks) / count, DIGITS) if count else None
