"""Quality of the aligned faces of a data set: detection figures and landmark errors, from columns of the align stage.

No picture is decoded.
"""

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

from agecascade.errors import FaceError
from agecascade.faces.face import Points

FIRST, WHOLE = "first", "whole"  # values of the column `attempt` of schema.ALIGNED; "whole" is a detector as well
QUANTILES = (5, 25, 50, 75, 95)  # %
MANY = 3  # faces in a picture: this many and all above are counted together
COUNTED = ("none", "one", "two", "more")  # faces in a picture
POINT_COLUMNS = ["landmarks", "annotated"]
COLUMNS = ["width", "detector", "face_score", "faces", "attempt", "face_size", "roll", *POINT_COLUMNS]
BATCH_ROWS = 65_536
ROUNDING = 1e-5  # float32 has seven digits: a crop at the picture's own scale is not upsampled
DIGITS = 4
EYES = "eyes"
POINTS = ("right_eye", "left_eye", "nose", "right_mouth_corner", "left_mouth_corner")  # the template's, sides as the subject has them
ERROR_LEVELS = (0.1, 0.25)  # 0.25 is half an eye's width: what the field calls a failure


def landmark_errors(detected: Points, published: Points) -> Points:
    """Distances between detected and published points over the published distance of the eyes (Jesorsky et al. 2001, but the mean
    of both eyes, not the worse one).

    detected, published: (N, 5, 2) in one unit, points in the template's order. Returns (N, 6): the eye centres, which is the mean over
    both eyes, then each point. NaN in a row of which a point is not finite or whose published eyes coincide.
    """
    with np.errstate(all="ignore"):
        eyes = np.linalg.norm(published[:, 0] - published[:, 1], axis=1)  # (N,)
        each = np.linalg.norm(detected - published, axis=2) / eyes[:, None]  # (N, 5)
    errors = np.column_stack([each[:, :2].mean(axis=1), each])  # (N, 6)
    errors[~np.isfinite(errors).all(axis=1)] = np.nan
    return errors


@dataclass(frozen=True)
class LandmarkError:
    """The errors of a data set in figures, by EYES and POINTS: mean, median, p95, above_0.1 and above_0.25 (shares)."""

    pictures: int  # with an error
    points: dict[str, dict[str, float]]

    @property
    def eyes(self) -> dict[str, float]:
        """The figures of the eye centres."""
        return self.points[EYES]


def summarise_errors(errors: NDArray[np.floating]) -> LandmarkError | None:
    """The figures of errors (N, 6), as `landmark_errors` returns them; None where no picture has an error."""
    finite = np.isfinite(errors[:, 0])
    known = errors if finite.all() else errors[finite]  # of millions, a copy counts
    if not len(known):
        return None
    return LandmarkError(len(known), {name: _error_figures(column) for name, column in zip((EYES, *POINTS), known.T, strict=True)})


def _error_figures(errors: NDArray[np.floating]) -> dict[str, float]:
    values = errors.astype(np.float64)
    figures = {"mean": values.mean(), "median": np.median(values), "p95": np.quantile(values, 0.95)}
    figures |= {f"above_{level:g}": (values > level).mean() for level in ERROR_LEVELS}
    return {name: round(float(value), DIGITS) for name, value in figures.items()}


@dataclass(frozen=True)
class FaceQuality:
    """Figures of the aligned faces of a data set. Quantiles by name, p5 to p95; None where no face has the value."""

    pictures: int  # in the manifest
    aligned: int
    found: int  # aligned faces that were detected; the others were taken whole
    rejected: dict[str, int]  # by reason
    attempts: dict[str, int]  # by the attempt that detected the face: first, each retry, whole
    detectors: dict[str, int]
    faces: dict[str, int]  # pictures by number of detected faces: COUNTED
    face_size: dict[str, float] | None  # quantiles of the face square's side, pixels of the picture
    upsampled: float | None  # share of the faces that the picture shows smaller than the crop does
    roll: dict[str, float] | None  # quantiles of |roll|, degrees
    face_score: dict[str, float] | None  # quantiles of the detector's score
    error: LandmarkError | None  # the detector's, where a data set has landmarks

    @property
    def retried(self) -> int:
        """Faces detected at a retry."""
        return sum(count for attempt, count in self.attempts.items() if attempt not in (FIRST, WHOLE))


def measure_faces(parts: Sequence[Path], rejects: Path, pictures: int, margin: float) -> FaceQuality:
    """The figures of Parquet parts (schema.ALIGNED) and of the rejects beside them (schema.REJECTS), the same at every run.

    pictures: rows of the manifest; margin: the crop's, as a share of the face square. Memory: one float per row and
    figure, some 600 MiB for 5 million faces.
    Raises FaceError where a part lacks columns.
    """
    counts: dict[str, Counter[str]] = {column: Counter() for column in ("detector", "attempt", "faces")}
    values: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for batch in _batches(parts, COLUMNS):
        for column in ("detector", "attempt"):
            counts[column] += _occurrences(batch[column])
        faces = np.minimum(_finite(batch["faces"]), MANY).astype(np.int64)
        counts["faces"].update(dict(zip(COUNTED, np.bincount(faces, minlength=MANY + 1).tolist(), strict=True)))
        for column, array in _values(batch, margin).items():
            values[column].append(array)
    aligned = sum(pq.read_metadata(part).num_rows for part in parts)
    return FaceQuality(
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


def worst_faces(parts: Sequence[Path], count: int) -> tuple[NDArray[np.int64], Points]:
    """The rows with the largest error of the eyes, the worst first, at most `count`, and their errors.

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
    """The finite values of each figure with quantiles or a share."""
    size, width = (_floats(batch[column]) for column in ("face_size", "width"))
    known = np.isfinite(size)
    errors = _errors(batch)
    return {
        "face_size": size[known],
        "upsampled": (size * (1 + 2 * margin) < width * (1 - ROUNDING))[known],
        "roll": np.abs(_finite(batch["roll"])),
        "face_score": _finite(batch["face_score"]),
        "error": errors[np.isfinite(errors[:, 0])],
    }


def _errors(batch: pa.RecordBatch) -> NDArray[np.float32]:
    """(n, 6) as `landmark_errors` returns them."""
    detected, published = (_points(batch[column]) for column in POINT_COLUMNS)
    return landmark_errors(detected, published).astype(np.float32)


def _points(column: pa.Array) -> Points:
    """(n, 5, 2) of a column of flattened lists; NaN where a row has none, or not five."""
    five = pc.equal(pc.fill_null(pc.list_value_length(column), 0), 10)
    points = np.full((len(column), 10), np.nan)
    points[five.to_numpy(zero_copy_only=False)] = _floats(column.filter(five).flatten()).reshape(-1, 10)
    return points.reshape(-1, 5, 2)


def _floats(column: pa.Array) -> NDArray[np.float32]:
    """A numeric column; nulls are NaN."""
    return np.asarray(column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float32)


def _finite(column: pa.Array) -> NDArray[np.float32]:
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
    quantiles = np.quantile(values, np.array(QUANTILES) / 100)
    return {f"p{share}": round(float(value), DIGITS) for share, value in zip(QUANTILES, quantiles, strict=True)}


def _share(chunks: list[NDArray[np.float32]]) -> float | None:
    count = sum(len(chunk) for chunk in chunks)
    return round(sum(int(chunk.sum()) for chunk in chunks) / count, DIGITS) if count else None
