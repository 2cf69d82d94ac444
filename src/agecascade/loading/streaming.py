"""Pictures that are decoded as they are used: for data sets whose pixels fit neither into memory nor on the disk."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from agecascade.loading.decoding import decoded
from agecascade.loading.pictures import Pictures
from agecascade.loading.shards import Shards

WINDOW_BYTES = 64 << 20  # of encoded pictures; at most two windows are held, and the next one is read ahead


@dataclass(frozen=True, eq=False)
class Window:
    """Encoded pictures at some rows of the folder, sorted."""

    rows: np.ndarray
    encoded: list[bytes]

    def find(self, rows: np.ndarray) -> list[bytes]:
        return [self.encoded[i] for i in np.searchsorted(self.rows, rows)]


class Streamed(Pictures):
    """Pictures in an aligned folder, read by windows of row groups and decoded by batches.

    `order` shuffles the row groups, then the pictures within each window of them, so that batches in that order, or in the
    folder's own, read every row group once. Batches in any other order are as right, but slow.
    """

    def __init__(self, shards: Shards, size: int, source: str, rows: np.ndarray | None = None, window_bytes: int = WINDOW_BYTES) -> None:
        super().__init__(np.arange(len(shards)) if rows is None else rows, size, source)
        self._shards = shards
        self._bytes = window_bytes
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._plan(np.unique(self._shard_of(self.rows)))

    def order(self, random: np.random.Generator) -> np.ndarray:
        """The indices (N,) for one epoch, decided by `random`; windows are read in this order from now on."""
        self._plan(random.permutation(np.unique(self._shard_of(self.rows))))
        window = self._window_of[self._shard_of(self.rows)]  # (N,)
        shuffled = random.permutation(len(self))
        return shuffled[np.argsort(window[shuffled], kind="stable")]

    def _plan(self, shards: np.ndarray) -> None:
        """Divide these shards, in their order, into windows; forget what was read for another plan."""
        sizes = np.array([self._shards.all[shard].encoded for shard in shards], np.int64)
        self._window_of = np.full(len(self._shards.all), -1)  # of each shard
        self._window_of[shards] = (np.cumsum(sizes) - sizes) // self._bytes
        self._numbers = np.unique(self._window_of[shards])
        self._read_ahead: dict[int, Future[Window]] = {}

    def _read(self, rows: np.ndarray) -> np.ndarray:
        window = self._window_of[self._shard_of(rows)]
        numbers = np.unique(window).tolist()
        if len(numbers) > 2:
            return decoded(self._fetch(np.unique(rows)).find(rows), self.shape[1])
        self._look_ahead(numbers)
        encoded: list[bytes] = [b""] * len(rows)
        for number in numbers:
            here = np.flatnonzero(window == number)
            for i, data in zip(here, self._read_ahead[number].result().find(rows[here]), strict=True):
                encoded[i] = data
        return decoded(encoded, self.shape[1])

    def _look_ahead(self, numbers: list[int]) -> None:
        """Have these windows and the one after them read, and let go of the others."""
        after = self._numbers[np.searchsorted(self._numbers, numbers[-1:], side="right").clip(max=len(self._numbers) - 1)].tolist()
        wanted = [*numbers, *after]
        for number in self._read_ahead.keys() - set(wanted):
            self._read_ahead.pop(number).cancel()
        for number in wanted:
            if number not in self._read_ahead:
                self._read_ahead[number] = self._reader.submit(self._fetch, self._rows_in(number))

    def _rows_in(self, number: int) -> np.ndarray:
        return np.unique(self.rows[self._window_of[self._shard_of(self.rows)] == number])

    def _fetch(self, rows: np.ndarray) -> Window:
        """The encoded pictures at sorted rows, one shard after the other."""
        shards = self._shard_of(rows)
        encoded: list[bytes] = []
        for shard in np.unique(shards):
            encoded += self._shards.pictures(self._shards.all[shard], rows[shards == shard])
        return Window(rows, encoded)

    def _shard_of(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._shards.starts, rows, side="right") - 1

    def _part(self, rows: np.ndarray) -> Streamed:
        return Streamed(self._shards, self.shape[1], self._source, rows, self._bytes)
