"""Index of a manifest by member, on disk: memory stays bounded however many pictures a data set has."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agecascade.faces.face import Annotation
from agecascade.io import storage
from agecascade.io.storage import Location
from agecascade.schema import MANIFEST

BATCH_ROWS = 16_384


class ManifestIndex:
    """Rows of a manifest (schema.MANIFEST) by member.

    The rows are stored uncompressed in a file of the folder and memory-mapped. In memory are 17 bytes of each row, and the pages
    that were read since the last `forget`.
    """

    def __init__(self, manifest: Location, folder: Path) -> None:
        path = folder / "manifest.arrow"
        _unpack(manifest, path)
        with path.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.py_buffer(self._mapped))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._starts = np.cumsum([0, *(len(batch) for batch in self._batches)])
        keys = np.fromiter(self._keys(), np.int64, count=len(self))
        self._order = np.argsort(keys, kind="stable")  # so that rows of one member come in the manifest's order
        self._keys_sorted = keys[self._order]
        self._seen = np.zeros(len(self), bool)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, member: str) -> list[int]:
        """The rows of this member, which count as seen from now on; none the second time."""
        key = _key(member)
        start = int(np.searchsorted(self._keys_sorted, key))
        rows = []
        while start < len(self) and self._keys_sorted[start] == key:
            row = int(self._order[start])
            if not self._seen[row] and self.member(row) == member:
                rows.append(row)
            start += 1
        self._seen[rows] = True
        return rows

    def unseen(self) -> NDArray[np.int64]:
        """The rows that `rows` has not returned."""
        return np.flatnonzero(~self._seen)

    def member(self, row: int) -> str:
        batch, offset = self._at(row)
        return str(batch.column("member")[offset].as_py())

    def sample_id(self, row: int) -> str:
        batch, offset = self._at(row)
        return str(batch.column("sample_id")[offset].as_py())

    def annotation(self, row: int) -> Annotation:
        """The data set's annotation of the row's face."""
        batch, offset = self._at(row)
        landmarks, box = batch.column("landmarks")[offset].as_py(), batch.column("box")[offset].as_py()
        points = None if not landmarks else np.array(landmarks, dtype=np.float64).reshape(-1, 2)  # (>= 5, 2)
        return Annotation(points, None if not box else np.array(box, dtype=np.float64))

    def take(self, rows: Iterable[int], columns: list[str]) -> pa.Table:
        """Some columns of some rows, in this order."""
        slices = [batch.select(columns).slice(offset, 1) for batch, offset in map(self._at, rows)]
        schema = pa.schema([MANIFEST.field(name) for name in columns])
        return pa.Table.from_batches(slices, schema).combine_chunks()

    def forget(self) -> None:
        """Release the mapped pages that were read, which count as this process's memory; they are read again when needed."""
        self._mapped.madvise(mmap.MADV_DONTNEED)

    def _at(self, row: int) -> tuple[pa.RecordBatch, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._batches[number], row - int(self._starts[number])

    def _keys(self) -> Iterator[int]:
        for batch in self._batches:
            yield from map(_key, batch.column("member").to_pylist())
            self.forget()


def _key(member: str) -> int:
    return int.from_bytes(hashlib.blake2b(member.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True)


def _unpack(manifest: Location, path: Path) -> None:
    """Write the manifest's Parquet as Arrow's own format, batch by batch."""
    with storage.opened(manifest) as file, pa.OSFile(str(path), "wb") as target, pa.ipc.new_file(target, MANIFEST) as writer:
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=MANIFEST.names):
            writer.write_batch(batch.cast(MANIFEST))
