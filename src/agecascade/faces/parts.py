"""Aligned crops as Parquet parts of bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade.faces.face import Image
from agecascade.faces.fingerprints import perceptual_hash
from agecascade.faces.manifest_index import ManifestIndex
from agecascade.params import Align
from agecascade.schema import ALIGNED, LABEL_COLUMNS

GROUP_ROWS = 1024
GROUP_BYTES = 32 << 20  # large crops are written in smaller groups, so that readers hold little at once
ROW_BYTES = 512  # more than a row takes besides its picture
FOOTER_BYTES = 64 << 10
CROP_COLUMNS = ("image", "detector", "landmarks", "annotated", "faces", "attempt", "face_size", "roll", "digest")  # fields of a crop


@dataclass(frozen=True, eq=False)
class AlignedCrop:
    """One aligned face: the encoded crop of `size` pixels, the detection, and the fingerprints by which copies are known."""

    row: int  # of the manifest
    image: bytes
    size: int
    detector: str
    score: float | None
    landmarks: list[float] | None  # the detector's five points in the crop, flattened
    annotated: list[float] | None  # the data set's
    faces: int  # number detected in the picture
    attempt: str
    face_size: float  # pixels of the picture
    roll: float | None  # degrees
    digest: int  # of the picture's bytes
    thumbnail: Image  # (32, 32) grey, from before the crop was encoded; hashed by the group


@dataclass(frozen=True)
class Rejection:
    """A row of the manifest that gives no crop."""

    row: int
    reason: str  # unreadable, no_face, bad_landmarks, many_faces, no_annotated_face, detector_failed, missing
    detail: str


Outcome = AlignedCrop | Rejection


def rows_in_part(settings: Align) -> int:
    """The number of rows of a part that keeps it within `part_mib`, whatever the pictures show."""
    worst = settings.size**2 * 3 * 5 // 4 + 1024 + ROW_BYTES  # noise does not compress: JPEG and PNG then exceed the pixels a little
    return max(1, min(settings.part_pictures, ((settings.part_mib << 20) - FOOTER_BYTES) // worst))


class Part:
    """One Parquet file of crops with the labels of the manifest; the caller makes it appear at once (`files.written_beside`)."""

    def __init__(self, path: Path, index: ManifestIndex) -> None:
        self._index = index
        self._group: list[AlignedCrop] = []
        self._bytes = 0
        compression = {field.name: "none" if field.name == "image" else "zstd" for field in ALIGNED}  # pictures are compressed already
        dictionary = ["detector", "attempt", "subject", "group", "gender", "ethnicity"]
        self._writer = pq.ParquetWriter(path, ALIGNED, compression=compression, use_dictionary=dictionary)

    def add(self, crop: AlignedCrop) -> None:
        """Append one crop."""
        self._group.append(crop)
        self._bytes += len(crop.image)
        if len(self._group) == GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the remaining rows and the footer."""
        self._flush()
        self._writer.close()

    def discard(self) -> None:
        """Close the file; its content will not be used."""
        self._writer.close()

    def _flush(self) -> None:
        """Write the buffered rows as one row group."""
        if not self._group:
            return
        group, self._group, self._bytes = self._group, [], 0
        labels = [field.name for field in LABEL_COLUMNS]
        published = self._index.take([crop.row for crop in group], ["sample_id", *labels])
        columns = {name: published[name] for name in published.column_names}
        columns |= {name: pa.array(values, ALIGNED.field(name).type) for name, values in _crop_columns(group).items()}
        columns["hash"] = pa.array(perceptual_hash(np.stack([crop.thumbnail for crop in group])))
        self._writer.write_table(pa.table(columns).select(ALIGNED.names).cast(ALIGNED))


def _crop_columns(group: list[AlignedCrop]) -> dict[str, list[object]]:
    """The columns that stand in the crops themselves."""
    columns = {name: [getattr(crop, name) for crop in group] for name in CROP_COLUMNS}
    sizes = [crop.size for crop in group]
    return {**columns, "width": sizes, "height": sizes, "face_score": [crop.score for crop in group]}
