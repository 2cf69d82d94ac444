"""The row groups (shards) of an aligned folder, and pictures streamed from them: for data sets that fit neither memory nor disk."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
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
from agecascade.loading.pictures import Pictures, decode_images

WINDOW_BYTES = 64 << 20  # encoded bytes of a window; at most two windows are held, and the next one is read ahead


@dataclass(frozen=True)
class Shard:
    """One row group: its part, its first row in the folder, its number of rows, and the bytes of its encoded pictures."""

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
        self.all = self._list()
        if not self.all:
            raise TrainingError(f"{folder} holds no aligned face; look at its rejects.parquet")
        self.starts = np.array([shard.start for shard in self.all])

    def __len__(self) -> int:
        """Number of rows."""
        return self.all[-1].start + self.all[-1].count

    @cached_property
    def content(self) -> str:
        """A digest of the content of all parts; of remote parts, of the state that their store reports."""
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

    def _list(self) -> list[Shard]:
        shards: list[Shard] = []
        start = 0
        for part, footer in enumerate(self._footers):
            for group in range(footer.num_row_groups):
                metadata = footer.row_group(group)
                if metadata.num_rows:
                    shards.append(Shard(part, group, start, metadata.num_rows, _encoded_bytes(metadata)))
                start += metadata.num_rows
        return shards


def _encoded_bytes(group: pq.RowGroupMetaData) -> int:
    columns = (group.column(column) for column in range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema == "image")


def _content(part: Location) -> str:
    if storage.is_remote(part):
        return storage.state(part)
    return checksum(Path(part))


@dataclass(frozen=True, eq=False)
class ShuffleWindow:
    """The encoded pictures of several row groups, by sorted rows of the folder; an epoch shuffles within windows."""

    rows: np.ndarray
    encoded: list[bytes]

    def find(self, rows: np.ndarray) -> list[bytes]:
        return [self.encoded[i] for i in np.searchsorted(self.rows, rows)]


class Streamed(Pictures):
    """Pictures of an aligned folder, read by windows of row groups and decoded by batches.

    `order` shuffles the row groups, then the pictures within each window, so that batches in that order, or in the folder's
    own, read every row group once. Batches in any other order are correct but slow.
    """

    def __init__(self, shards: Shards, size: int, source: str, rows: np.ndarray | None = None, window_bytes: int = WINDOW_BYTES) -> None:
        super().__init__(np.arange(len(shards)) if rows is None else rows, size, source)
        self._shards = shards
        self._bytes = window_bytes
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._plan(np.unique(self._shard_of(self.rows)))

    def order(self, random: np.random.Generator) -> np.ndarray:
        """The indices (N,) in a random order for one epoch; windows are read in this order from now on."""
        self._plan(random.permutation(np.unique(self._shard_of(self.rows))))
        window = self._window_of[self._shard_of(self.rows)]  # (N,)
        shuffled = random.permutation(len(self))
        return shuffled[np.argsort(window[shuffled], kind="stable")]

    def _plan(self, shards: np.ndarray) -> None:
        """Divide these shards, in their order, into windows; drop the windows that were read before."""
        sizes = np.array([self._shards.all[shard].encoded for shard in shards], np.int64)
        self._window_of = np.full(len(self._shards.all), -1)  # of each shard
        self._window_of[shards] = (np.cumsum(sizes) - sizes) // self._bytes
        self._numbers = np.unique(self._window_of[shards])
        self._read_ahead: dict[int, Future[ShuffleWindow]] = {}

    def _read(self, rows: np.ndarray) -> np.ndarray:
        window = self._window_of[self._shard_of(rows)]
        numbers = np.unique(window).tolist()
        if len(numbers) > 2:
            return decode_images(self._fetch(np.unique(rows)).find(rows), self.shape[1])
        self._read_windows(numbers)
        encoded: list[bytes] = [b""] * len(rows)
        for number in numbers:
            here = np.flatnonzero(window == number)
            for i, data in zip(here, self._read_ahead[number].result().find(rows[here]), strict=True):
                encoded[i] = data
        return decode_images(encoded, self.shape[1])

    def _read_windows(self, numbers: list[int]) -> None:
        """Start reading these windows and the next one; drop all others."""
        after = self._numbers[np.searchsorted(self._numbers, numbers[-1:], side="right").clip(max=len(self._numbers) - 1)].tolist()
        wanted = [*numbers, *after]
        for number in self._read_ahead.keys() - set(wanted):
            self._read_ahead.pop(number).cancel()
        for number in wanted:
            if number not in self._read_ahead:
                self._read_ahead[number] = self._reader.submit(self._fetch, self._rows_in(number))

    def _rows_in(self, number: int) -> np.ndarray:
        return np.unique(self.rows[self._window_of[self._shard_of(self.rows)] == number])

    def _fetch(self, rows: np.ndarray) -> ShuffleWindow:
        """The encoded pictures at sorted rows, one shard after the other."""
        shards = self._shard_of(rows)
        encoded: list[bytes] = []
        for shard in np.unique(shards):
            encoded += self._shards.pictures(self._shards.all[shard], rows[shards == shard])
        return ShuffleWindow(rows, encoded)

    def _shard_of(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._shards.starts, rows, side="right") - 1

    def _subset(self, rows: np.ndarray) -> Streamed:
        return Streamed(self._shards, self.shape[1], self._source, rows, self._bytes)
