"""Aligned Parquet -> arrays in memory: one uint8 block of pictures beside its labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade import storage
from agecascade.errors import TrainingError
from agecascade.faces.crops import decode_image
from agecascade.storage import Location


@dataclass(frozen=True)
class Faces:
    """N aligned faces: ids (N,), images (N, S, S, 3) uint8 RGB, label and sigma (N,) in label units (NaN where unknown)."""

    sample_id: np.ndarray
    images: np.ndarray
    label: np.ndarray
    sigma: np.ndarray
    subject: np.ndarray

    def __len__(self) -> int:
        return len(self.sample_id)

    def take(self, rows: np.ndarray) -> Faces:
        """The faces at these indices or where this mask is true."""
        return Faces(self.sample_id[rows], self.images[rows], self.label[rows], self.sigma[rows], self.subject[rows])


def load_faces(folder: Location, size: int) -> Faces:
    """All faces of an aligned folder, decoded, and resized to `size` pixels where they are stored otherwise.

    `folder` may be an fsspec address. Raises TrainingError where it holds none.
    """
    parts = [storage.joined(folder, name) for name in storage.names(folder, "part-*.parquet")]
    columns = ["sample_id", "label", "label_sigma", "subject"]
    tables = [_table(part, columns).to_pandas() for part in parts]
    if not tables or not sum(map(len, tables)):
        raise TrainingError(f"{folder} holds no aligned face; look at its rejects.parquet")
    images = np.concatenate([_decode_part(part, size) for part in parts])  # (N, S, S, 3)
    frame = {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in columns}
    return Faces(
        frame["sample_id"].astype(str),
        images,
        frame["label"].astype(np.float64),
        frame["label_sigma"].astype(np.float64),
        np.where(pd.isna(frame["subject"]), "", frame["subject"].astype(str)),
    )


def _table(part: Location, columns: list[str]) -> pa.Table:
    with storage.opened(part) as file:
        return pq.read_table(file, columns=columns)


def _decode_part(part: Location, size: int) -> np.ndarray:
    """The pictures of one part as (n, size, size, 3); only one row group of encoded bytes is held at a time."""
    with storage.opened(part) as source:
        return _decode(pq.ParquetFile(source), size)


def _decode(file: pq.ParquetFile, size: int) -> np.ndarray:
    images = np.empty((file.metadata.num_rows, size, size, 3), np.uint8)

    def decode(item: tuple[int, bytes]) -> None:
        images[item[0]] = resized(decode_image(item[1]), size)

    start = 0
    with ThreadPoolExecutor() as threads:  # OpenCV lets go of the interpreter while it decodes
        for batch in file.iter_batches(columns=["image"], batch_size=1024):
            encoded = batch.column(0).to_pylist()
            list(threads.map(decode, enumerate(encoded, start)))
            start += len(encoded)
    return images


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """A square picture (S, S, 3) at (size, size, 3); area averaging when it shrinks."""
    if image.shape[0] == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR)
