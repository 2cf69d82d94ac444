"""Parquet parts as the stage align writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade.schema import ALIGNED


def write_part(folder: Path, number: int, images: np.ndarray, label: list[float | None], sigma: list[float | None], group: int = 4) -> None:
    """Part `number` of a data set: RGB pictures, labels, deviations, and a subject for each label."""
    folder.mkdir(exist_ok=True)
    count, size = len(images), images.shape[1]
    columns = {field.name: [None] * count for field in ALIGNED}
    columns |= {
        "sample_id": [f"{number}-{i}" for i in range(count)],
        "image": [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images],
        "width": [size] * count,
        "height": [size] * count,
        "detector": ["whole"] * count,
        "label": label,
        "label_sigma": sigma,
        "subject": [None if value is None else f"s{value:g}" for value in label],
    }
    pq.write_table(pa.table(columns, schema=ALIGNED), folder / f"part-{number:05d}.parquet", row_group_size=group)


def filled(kind: pa.Schema, columns: dict[str, Any]) -> pa.Table:
    """A table of a schema whose further columns are empty."""
    rows = len(next(iter(columns.values())))
    return pa.table({field.name: pa.array(columns.get(field.name, [None] * rows), field.type) for field in kind}, schema=kind)


def aligned(ids: list[str], hashes: np.ndarray, known: dict[str, Any]) -> pa.Table:
    rows = len(ids)
    pixels = {"image": [b""] * rows, "width": [1] * rows, "height": [1] * rows, "detector": ["whole"] * rows}
    return filled(ALIGNED, {"sample_id": ids, **pixels, "digest": range(rows), "hash": hashes, **known})
