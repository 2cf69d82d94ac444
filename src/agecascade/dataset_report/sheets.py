"""Tiles of the contact sheets of a data set; only the row groups of the chosen pictures are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from agecascade.archives import Archive, Member
from agecascade.dataset_report.quality import FIRST, worst_faces
from agecascade.errors import ArchiveError, FaceError, RegressorError
from agecascade.imaging import decode_image
from agecascade.imaging.headers import picture_size
from agecascade.io.parquet_rows import read_rows, rows_of
from agecascade.plots.sheets import DETECTED, PUBLISHED, Tile, fit_into, mark_points

KEPT_COLUMNS, KEPT_ROWS, KEPT_SIDE = 12, 8, 96
WORST_COLUMNS, WORST_SIDE = 7, 192
REJECT_COLUMNS, REJECT_ROWS, REJECT_SIDE = 8, 5, 156
NO_PICTURE = {"file_missing", "missing", "unsafe_member"}  # reasons of rejects that the archive has no picture of
MOST_PIXELS = 100_000_000  # larger pictures would fill the memory


def kept_tiles(parts: Sequence[Path]) -> list[Tile]:
    """Aligned faces spread evenly over the labels, with the label below each; of an identity set a person per row.

    Below the label stand the detector's score and the attempt that detected the face, where it was not the first.
    """
    frame = pd.concat([pq.read_table(part, columns=["label", "group", "subject"]).to_pandas() for part in parts], ignore_index=True)
    label = frame["label"].to_numpy(np.float64)
    if np.isnan(label).all():
        rows = _of_some_subjects(frame["subject"])
    else:
        rows = spread(_bins(label), KEPT_COLUMNS * KEPT_ROWS)
        rows = rows[np.argsort(label[rows], kind="stable")]
    faces = read_rows(parts, rows, ["image", "label", "group", "subject", "face_score", "attempt"])
    return [Tile(decode_image(face["image"]), _caption(face), _detection(face)) for face in faces]


def rejected_tiles(rejects: Sequence[Path], archive: Archive) -> list[Tile]:
    """Rejects of every reason, with their pictures where the archive has them and they can be decoded.

    rejects: files of schema.REJECTS. One pass over the archive, which ends at the last picture needed.
    """
    reasons = pd.concat([pq.read_table(path, columns=["reason"]).to_pandas() for path in rejects], ignore_index=True)["reason"]
    rows = spread(pd.factorize(reasons, sort=True)[0], REJECT_COLUMNS * REJECT_ROWS)
    shown = read_rows(rejects, rows, ["member", "reason", "detail"])
    pictures = read_thumbnails(archive, {row["member"] for row in shown if row["reason"] not in NO_PICTURE})
    return [Tile(pictures.get(row["member"]), row["reason"].replace("_", " "), row["detail"]) for row in shown]


def worst_tiles(parts: Sequence[Path]) -> list[Tile]:
    """The faces with the largest error of the eyes, with detected and published points, and the error below each."""
    rows, errors = worst_faces(parts, WORST_COLUMNS)
    faces = read_rows(parts, rows, ["image", "sample_id", "landmarks", "annotated", "face_score", "attempt"])
    return [
        Tile(_with_points(face), f"error {error:.2f}", f"{face['sample_id']} {_detection(face)}")
        for face, error in zip(faces, errors.tolist(), strict=True)
    ]


def doubtful_tiles(parts: Sequence[Path], doubtful: pd.DataFrame) -> list[Tile]:
    """The first pictures of a list of doubtful labels (sample_id, label, predicted), with both values below each."""
    first = doubtful.head(KEPT_COLUMNS * KEPT_ROWS)
    rows = rows_of(parts, "sample_id", first["sample_id"].tolist())
    if (rows < 0).any():
        raise RegressorError(f"{first['sample_id'].iloc[rows.argmin()]!r} has a feature but no aligned face; run the features stage again")
    faces = read_rows(parts, rows, ["image"])
    captions = [f"{label:.4g}, seems {predicted:.3g}" for label, predicted in zip(first["label"], first["predicted"], strict=True)]
    return [Tile(decode_image(face["image"]), text) for face, text in zip(faces, captions, strict=True)]


def spread(bins: np.ndarray, most: int) -> np.ndarray:
    """At most `most` rows, spread evenly over the bins: a bin gives fewer than another only where it has no more. Sorted by bin.

    bins: (N,) integers. Returns (M,) row numbers, always the same for the same bins.
    """
    order = np.random.default_rng(0).permutation(len(bins))
    rank = pd.Series(bins[order]).groupby(bins[order]).cumcount().to_numpy()  # (N,) within the bin
    chosen = order[np.argsort(rank, kind="stable")[:most]]
    return chosen[np.argsort(bins[chosen], kind="stable")]


def read_thumbnails(archive: Archive, names: set[str]) -> dict[str, np.ndarray]:
    """Thumbnails (H, W, 3) of these members, by name, of those that are pictures."""
    missing, thumbnails = set(names), {}
    for member in archive.members() if missing else ():
        if member.name in missing:
            missing.remove(member.name)
            picture = _picture(member)
            if picture is not None:
                thumbnails[member.name] = fit_into(picture, REJECT_SIDE)
        if not missing:
            break
    return thumbnails


def _picture(member: Member) -> np.ndarray | None:
    """The picture (H, W, 3); None where it cannot be read or decoded, or is too large, which may be why it was rejected."""
    try:
        data = member.read()
        width, height = picture_size(data)
        return decode_image(data) if width * height <= MOST_PIXELS else None
    except (ArchiveError, FaceError):
        return None


def _bins(label: np.ndarray) -> np.ndarray:
    """(N,) labels binned in equal steps of their range, a bin per tile of the sheet; rows without a label in the first."""
    low, high = np.nanmin(label), np.nanmax(label)
    share = np.nan_to_num((label - low) / max(high - low, 1e-9))
    return np.rint(share * (KEPT_COLUMNS * KEPT_ROWS - 1)).astype(np.int64)


def _of_some_subjects(subjects: pd.Series) -> np.ndarray:
    """Rows of subjects with enough pictures for a row of the sheet, else of those with the most; any rows where no subject is known."""
    codes, _ = pd.factorize(subjects, sort=True)
    if (codes < 0).all():
        return spread(codes, KEPT_COLUMNS * KEPT_ROWS)
    sizes = np.bincount(codes[codes >= 0])
    full = np.flatnonzero(sizes >= min(KEPT_COLUMNS, sizes.max()))
    chosen = full[np.linspace(0, len(full) - 1, min(KEPT_ROWS, len(full))).round().astype(int)]
    return np.concatenate([np.flatnonzero(codes == code)[:KEPT_COLUMNS] for code in chosen])


def _caption(row: dict[str, Any]) -> str:
    """The caption of a face: its group, label or subject."""
    if row["group"] is not None:
        return str(row["group"])
    return f"{round(row['label'], 2):g}" if row["label"] is not None else str(row["subject"] or "")


def _detection(row: dict[str, Any]) -> str:
    """The detector's score, and the attempt if it was not the first; empty for faces without a detector."""
    score = [] if row["face_score"] is None else [f"score {row['face_score']:.2f}"]
    attempt = [] if row["attempt"] in (None, FIRST) else [row["attempt"]]
    return ", ".join(score + attempt)


def _with_points(row: dict[str, Any]) -> np.ndarray:
    """The face with its published and its detected points."""
    detected, published = (np.array(row[column], dtype=np.float64).reshape(5, 2) for column in ("landmarks", "annotated"))
    return mark_points(decode_image(row["image"]), WORST_SIDE, {PUBLISHED: published, DETECTED: detected})
