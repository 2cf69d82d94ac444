"""The mean of a data set's aligned faces, which shows how well they are aligned: sharp eyes and a blurred chin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from agecascade.dataset_report.sheets import stream
from agecascade.faces.crops import decode_image
from agecascade.faces.face import Image

MOST_FACES = 2_000
MOST_GROUPS = 64  # row groups are read whole: 2,000 faces of 5 million, one by one, would be nearly all of 25 GB


def mean_face(parts: Sequence[Path]) -> tuple[Image | None, int]:
    """The mean (S, S, 3) of at most MOST_FACES evenly spread crops, and of how many it is; None of none.

    Spread over all faces, or, of more than MOST_GROUPS row groups, over that many of them.
    """
    rows = spread_rows(_group_sizes(parts))
    total = None
    for _, row in stream(parts, rows, ["image"]):
        face = decode_image(row["image"]).astype(np.int64)  # whole numbers, so that the sum is exact
        total = face if total is None else total + face
    return (None, 0) if total is None else ((total / len(rows)).round().astype(np.uint8), len(rows))


def spread_rows(sizes: Sequence[int]) -> np.ndarray:
    """Ascending (M,) row numbers through row groups of these sizes."""
    ends = np.cumsum(sizes, dtype=np.int64)
    groups = [np.arange(ends[i] - sizes[i], ends[i]) for i in _even(len(sizes), MOST_GROUPS)]
    rows = np.concatenate([np.empty(0, np.int64), *groups])
    return rows[_even(len(rows), MOST_FACES)]


def _even(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


def _group_sizes(parts: Sequence[Path]) -> list[int]:
    """The rows of every row group, through the parts."""
    footers = (pq.read_metadata(part) for part in parts)
    return list(chain.from_iterable([footer.row_group(i).num_rows for i in range(footer.num_row_groups)] for footer in footers))
