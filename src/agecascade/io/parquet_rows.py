"""Single rows of Parquet files: only the row groups that hold them are read, as pictures are the bulk of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq


def read_rows(paths: Sequence[Path], rows: np.ndarray, columns: list[str]) -> list[dict[str, Any]]:
    """Rows by number, counted through the Parquet files in their order, in the order of `rows`; other row groups are not read."""
    by_number = dict(iterate_rows(paths, rows, columns))
    return [by_number[row] for row in rows.tolist()]


def iterate_rows(paths: Sequence[Path], rows: np.ndarray, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `read_rows`, but each row once, with its number, in the files' order, and with one row group in memory."""
    wanted, start = np.unique(rows), 0
    for path in paths:
        with pq.ParquetFile(path, memory_map=True) as file:
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                here = wanted[(wanted >= start) & (wanted < end)]
                if len(here):
                    yield from zip(here.tolist(), file.read_row_group(group, columns).take(here - start).to_pylist(), strict=True)
                start = end


def rows_of(paths: Sequence[Path], column: str, values: Sequence[str]) -> np.ndarray:
    """The numbers of the rows, counted through the files in their order, with these values of a column that has each once; -1: none."""
    known = [pq.read_table(path, columns=[column])[column].to_numpy() for path in paths]
    return pd.Index(np.concatenate(known) if known else []).get_indexer(list(values))
