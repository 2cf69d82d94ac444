"""Which pictures stand on the contact sheets of a data set, found without reading the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from agecascade.archives import Archive, Member
from agecascade.dataset_report.quality import FIRST, worst
from agecascade.datasets.pictures import picture_size
from agecascade.errors import ArchiveError, FaceError, RegressorError
from agecascade.faces.crops import decode_image
from agecascade.plots import Tile, marked, marks, thumbnail

KEPT_COLUMNS, KEPT_ROWS, KEPT_SIDE = 12, 8, 96
WORST_COLUMNS, WORST_SIDE = 7, 192
REJECT_COLUMNS, REJECT_ROWS, REJECT_SIDE = 8, 5, 156
NO_PICTURE = {"file_missing", "missing", "unsafe_member"}  # reasons: no pass over the archive would find it
MOST_PIXELS = 100_000_000  # larger pictures would fill the memory


def kept_tiles(parts: Sequence[Path]) -> list[Tile]:
    """Aligned faces spread evenly over the labels, with the label below each; of an identity set a person per row.

    Below the label stand the detector's score and the attempt that found the face, where it was not the first.
    """
    frame = pd.concat([pq.read_table(part, columns=["label", "group", "subject"]).to_pandas() for part in parts], ignore_index=True)
    label = frame["label"].to_numpy(np.float64)
    if np.isnan(label).all():
        rows = _of_some_subjects(frame["subject"])
    else:
        rows = spread(_bins(label), KEPT_COLUMNS * KEPT_ROWS)
        rows = rows[np.argsort(label[rows], kind="stable")]
    found = take(parts, rows, ["image", "label", "group", "subject", "face_score", "attempt"])
    return [Tile(decode_image(row["image"]), _told(row), _how_found(row)) for row in found]


def rejected_tiles(rejects: Sequence[Path], archive: Archive) -> list[Tile]:
    """Rejects of every reason with their pictures, as far as the archive holds them and they can be decoded.

    rejects: files of schema.REJECTS. One pass over the archive, which ends with the last picture that is looked for.
    """
    reasons = pd.concat([pq.read_table(path, columns=["reason"]).to_pandas() for path in rejects], ignore_index=True)["reason"]
    rows = spread(pd.factorize(reasons, sort=True)[0], REJECT_COLUMNS * REJECT_ROWS)
    found = take(rejects, rows, ["member", "reason", "detail"])
    pictures = find_pictures(archive, {row["member"] for row in found if row["reason"] not in NO_PICTURE})
    return [Tile(pictures.get(row["member"]), row["reason"].replace("_", " "), row["detail"]) for row in found]


def worst_tiles(parts: Sequence[Path]) -> list[Tile]:
    """The faces whose eyes were found furthest from the published ones, with both sets of five points and the error below each."""
    rows, errors = worst(parts, WORST_COLUMNS)
    found = take(parts, rows, ["image", "sample_id", "landmarks", "annotated", "face_score", "attempt"])
    return [
        Tile(_with_points(row), f"error {error:.2f}", f"{row['sample_id']} {_how_found(row)}")
        for row, error in zip(found, errors.tolist(), strict=True)
    ]


def doubtful_tiles(parts: Sequence[Path], doubtful: pd.DataFrame) -> list[Tile]:
    """The first pictures of a list (sample_id, label, predicted) with what they are said to be and what they look like."""
    first = doubtful.head(KEPT_COLUMNS * KEPT_ROWS)
    ids = pd.Index(np.concatenate([pq.read_table(part, columns=["sample_id"])["sample_id"].to_numpy() for part in parts]))
    rows = ids.get_indexer(first["sample_id"])
    if (rows < 0).any():
        raise RegressorError(f"{first['sample_id'].iloc[rows.argmin()]!r} has a feature but no aligned face; run the features stage again")
    faces = take(parts, rows, ["image"])
    told = [f"{label:.4g}, seems {predicted:.3g}" for label, predicted in zip(first["label"], first["predicted"], strict=True)]
    return [Tile(decode_image(face["image"]), text) for face, text in zip(faces, told, strict=True)]


def spread(bins: np.ndarray, most: int) -> np.ndarray:
    """At most `most` rows, of each bin as many as of any other as long as it has them; by bin, the same for the same bins.

    bins: (N,) integers. Returns (M,) row numbers.
    """
    order = np.random.default_rng(0).permutation(len(bins))
    rank = pd.Series(bins[order]).groupby(bins[order]).cumcount().to_numpy()  # (N,) within the bin
    chosen = order[np.argsort(rank, kind="stable")[:most]]
    return chosen[np.argsort(bins[chosen], kind="stable")]


def take(paths: Sequence[Path], rows: np.ndarray, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of these numbers, counted through Parquet files in their order, as asked for; other row groups are not read."""
    found = dict(stream(paths, rows, columns))
    return [found[row] for row in rows.tolist()]


def stream(paths: Sequence[Path], rows: np.ndarray, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `take`, but each row once, with its number, in the files' order, and no more than a row group held."""
    wanted, start = np.unique(rows), 0
    for path in paths:
        with pq.ParquetFile(path, memory_map=True) as file:
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                here = wanted[(wanted >= start) & (wanted < end)]
                if len(here):
                    yield from zip(here.tolist(), file.read_row_group(group, columns).take(here - start).to_pylist(), strict=True)
                start = end


def find_pictures(archive: Archive, wanted: set[str]) -> dict[str, np.ndarray]:
    """Thumbnails (H, W, 3) of the members that are pictures, by name."""
    missing, found = set(wanted), {}
    for member in archive.members() if missing else ():
        if member.name in missing:
            missing.remove(member.name)
            picture = _picture(member)
            if picture is not None:
                found[member.name] = thumbnail(picture, REJECT_SIDE)
        if not missing:
            break
    return found


def _picture(member: Member) -> np.ndarray | None:
    """The picture (H, W, 3), or None where it cannot be read, decoded or held: that may be why it was rejected."""
    try:
        data = member.read()
        width, height = picture_size(data)
        return decode_image(data) if width * height <= MOST_PIXELS else None
    except (ArchiveError, FaceError):
        return None


def _bins(label: np.ndarray) -> np.ndarray:
    """(N,) labels in equal steps of their range, one for each place of the sheet; rows without a label in the first."""
    low, high = np.nanmin(label), np.nanmax(label)
    share = np.nan_to_num((label - low) / max(high - low, 1e-9))
    return np.rint(share * (KEPT_COLUMNS * KEPT_ROWS - 1)).astype(np.int64)


def _of_some_subjects(subjects: pd.Series) -> np.ndarray:
    """Pictures of subjects who fill a row of the sheet, or as much of it as any do; of nobody in particular where none is known."""
    codes, _ = pd.factorize(subjects, sort=True)
    if (codes < 0).all():
        return spread(codes, KEPT_COLUMNS * KEPT_ROWS)
    sizes = np.bincount(codes[codes >= 0])
    full = np.flatnonzero(sizes >= min(KEPT_COLUMNS, sizes.max()))
    chosen = full[np.linspace(0, len(full) - 1, min(KEPT_ROWS, len(full))).round().astype(int)]
    return np.concatenate([np.flatnonzero(codes == code)[:KEPT_COLUMNS] for code in chosen])


def _told(row: dict[str, Any]) -> str:
    """What stands below a face: its group, its label or its name."""
    if row["group"] is not None:
        return str(row["group"])
    return f"{round(row['label'], 2):g}" if row["label"] is not None else str(row["subject"] or "")


def _how_found(row: dict[str, Any]) -> str:
    """The detector's score, and the attempt if it was not the first; nothing of faces that no detector found."""
    score = [] if row["face_score"] is None else [f"score {row['face_score']:.2f}"]
    attempt = [] if row["attempt"] in (None, FIRST) else [row["attempt"]]
    return ", ".join(score + attempt)


def _with_points(row: dict[str, Any]) -> np.ndarray:
    found, published = (np.array(row[column], dtype=np.float64).reshape(5, 2) for column in ("landmarks", "annotated"))
    return marked(decode_image(row["image"]), WORST_SIDE, {marks.PUBLISHED: published, marks.FOUND: found})
