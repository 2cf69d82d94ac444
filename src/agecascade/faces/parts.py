"""Aligned crops as Parquet parts of bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade.faces.alignment import Image
from agecascade.faces.fingerprints import perceptual_hash
from agecascade.schema import ALIGNED, LABEL_COLUMNS

GROUP_ROWS = 1024
ROW_BYTES = 256  # more than a row takes besides its picture and its name
FOOTER_BYTES = 64 << 10


@dataclass(frozen=True, eq=False)
class Crop:
    """One aligned face: encoded bytes of a square of `size` pixels, its five points there, flattened, and what tells its copies."""

    row: int  # of the manifest
    image: bytes
    size: int
    detector: str
    score: float | None
    landmarks: list[float] | None
    digest: int  # of the picture's bytes
    thumbnail: Image  # (32, 32) grey, from before the crop was encoded; hashed by the group
    annotated: list[float] | None = None  # the data set's five points there
    faces: int = 1  # found in the picture
    attempt: str = "first"
    face_size: float | None = None  # side of the face square in the picture's pixels
    roll: float | None = None  # degrees


class Parts:
    """Writes crops as folder/part-00000.parquet and so on, each of at most `limit` bytes; leaves at least one part."""

    def __init__(self, folder: Path, manifest: pa.Table, limit: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._ids = manifest["sample_id"]
        self._labels = manifest.select([field.name for field in LABEL_COLUMNS])
        self._limit = limit - FOOTER_BYTES
        self._written = 0  # parts begun
        self._size = 0  # of the open part
        self._group: list[Crop] = []
        self._writer = self._open()

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, crop: Crop) -> None:
        """Append one crop to the open part, or to a new one where it would grow too large."""
        size = len(crop.image) + len(self._ids[crop.row].as_py()) + ROW_BYTES
        if self._size and self._size + size > self._limit:
            self._flush()
            self._writer.close()
            self._writer = self._open()
        self._group.append(crop)
        self._size += size
        if len(self._group) == GROUP_ROWS:
            self._flush()

    def _open(self) -> pq.ParquetWriter:
        path = self._folder / f"part-{self._written:05d}.parquet"
        self._written += 1
        self._size = 0
        plain = {field.name: "none" if field.name == "image" else "zstd" for field in ALIGNED}  # pictures are compressed already
        return pq.ParquetWriter(path, ALIGNED, compression=plain, use_dictionary=["detector", "attempt", "subject", "group", "gender", "ethnicity"])

    def _flush(self) -> None:
        """Write the rows at hand as one row group."""
        if not self._group:
            return
        rows = pa.array([crop.row for crop in self._group], pa.int64())
        columns = {
            "sample_id": self._ids.take(rows),
            "image": pa.array([crop.image for crop in self._group], pa.binary()),
            "width": pa.array([crop.size for crop in self._group], pa.int32()),
            "height": pa.array([crop.size for crop in self._group], pa.int32()),
            "detector": pa.array([crop.detector for crop in self._group], pa.string()),
            "face_score": pa.array([crop.score for crop in self._group], pa.float32()),
            "landmarks": pa.array([crop.landmarks for crop in self._group], pa.list_(pa.float32())),
            "annotated": pa.array([crop.annotated for crop in self._group], pa.list_(pa.float32())),
            "faces": pa.array([crop.faces for crop in self._group], pa.int32()),
            "attempt": pa.array([crop.attempt for crop in self._group], pa.string()),
            "face_size": pa.array([crop.face_size for crop in self._group], pa.float32()),
            "roll": pa.array([crop.roll for crop in self._group], pa.float32()),
            "digest": pa.array([crop.digest for crop in self._group], pa.int64()),
            "hash": pa.array(perceptual_hash(np.stack([crop.thumbnail for crop in self._group]))),
        }
        labels = self._labels.take(rows)
        columns |= {name: labels[name] for name in labels.column_names}
        self._writer.write_table(pa.table(columns, schema=ALIGNED))
        self._group = []
