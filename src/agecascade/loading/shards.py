"""The row groups of an aligned folder: what is read at once."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade.errors import TrainingError
from agecascade.io import storage
from agecascade.io.files import checksum
from agecascade.io.storage import Location


@dataclass(frozen=True)
class Shard:
    """One row group: of which part, its rows in the folder from `start` on, and the bytes of its encoded pictures."""

    part: int
    group: int
    start: int
    count: int
    encoded: int


class Shards:
    """All row groups of the parts of an aligned folder, which may be an fsspec address."""

    def __init__(self, folder: Location) -> None:
        """Read the footers. Raises TrainingError where the folder holds no face."""
        self.folder = folder
        self.parts = [str(part) for part in sorted(storage.located(folder).glob("part-*.parquet"))]
        self._footers = [self._footer(part) for part in self.parts]
        self.all = self._listed()
        if not self.all:
            raise TrainingError(f"{folder} holds no aligned face; look at its rejects.parquet")
        self.starts = np.array([shard.start for shard in self.all])

    def __len__(self) -> int:
        """Rows."""
        return self.all[-1].start + self.all[-1].count

    @cached_property
    def content(self) -> str:
        """A name that changes when the content of a part does; for parts at an address, what their store tells."""
        with ThreadPoolExecutor() as threads:
            return hashlib.sha256(" ".join(threads.map(_content, self.parts)).encode()).hexdigest()

    def columns(self, names: list[str]) -> pd.DataFrame:
        """Columns of all rows."""
        tables = []
        for part, footer in zip(self.parts, self._footers, strict=True):
            with storage.opened(part) as file:
                tables.append(pq.ParquetFile(file, metadata=footer).read(names).to_pandas())
        return pd.concat(tables, ignore_index=True)

    def pictures(self, shard: Shard, rows: np.ndarray | None = None) -> list[bytes]:
        """The encoded pictures of a shard, or those at `rows` of the folder, which must lie in it."""
        with storage.opened(self.parts[shard.part]) as file:
            column = pq.ParquetFile(file, metadata=self._footers[shard.part]).read_row_group(shard.group, ["image"]).column(0)
        chosen: list[bytes] = (column if rows is None else column.take(pa.array(rows - shard.start))).to_pylist()
        return chosen

    def _footer(self, part: Location) -> pq.FileMetaData:
        with storage.opened(part) as file:
            return pq.ParquetFile(file).metadata

    def _listed(self) -> list[Shard]:
        found: list[Shard] = []
        start = 0
        for part, footer in enumerate(self._footers):
            for group in range(footer.num_row_groups):
                told = footer.row_group(group)
                if told.num_rows:
                    found.append(Shard(part, group, start, told.num_rows, _encoded_bytes(told)))
                start += told.num_rows
        return found


def _encoded_bytes(group: pq.RowGroupMetaData) -> int:
    columns = (group.column(column) for column in range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema == "image")


def _content(part: Location) -> str:
    if storage.is_remote(part):
        return storage.state(part)
    return checksum(Path(part))
