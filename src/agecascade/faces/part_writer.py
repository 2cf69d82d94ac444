"""The finished parts of an alignment, each written beside and renamed, so that an interrupted run resumes after the last one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from agecascade.faces.manifest_index import ManifestIndex
from agecascade.faces.parts import AlignedCrop, Outcome, Part, Rejection
from agecascade.io.compute import return_memory
from agecascade.io.files import write_batches, write_table
from agecascade.io.resume import remove_leftovers
from agecascade.schema import REJECTS


class PartWriter:
    """Parts and their rejects in a folder that is no stage's output: aligned/part-00000.parquet, rejects/part-00000.parquet, ...

    A part is finished when its file bears its name; what an interruption leaves under another name is removed.
    """

    def __init__(self, folder: Path, index: ManifestIndex) -> None:
        self.aligned, self._rejects = folder / "aligned", folder / "rejects"
        self.index = index
        for place in (self.aligned, self._rejects):
            place.mkdir(parents=True, exist_ok=True)
            remove_leftovers(place)
        self.finished = {int(path.stem.removeprefix("part-")) for path in self.aligned.glob("part-*.parquet")}
        self.rejected = sum(pq.read_metadata(self._rejects / _name(number)).num_rows for number in self.finished)
        self.rows = self.rejected + sum(pq.read_metadata(self.aligned / _name(number)).num_rows for number in self.finished)
        self._number = -1
        self._part: Part | None = None
        self._rejections: list[Rejection] = []

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._part is not None:
            with contextlib.suppress(OSError, pa.ArrowException):  # a full disk, for example, which has raised already
                self._part.discard()

    def add(self, number: int, outcomes: list[Outcome]) -> None:
        """Append to the part of this number, which is the open one or a later one."""
        if number != self._number:
            self.close()
            self._number = number
            self._part = Part(self._beside, self.index)
        assert self._part is not None
        for outcome in outcomes:
            if isinstance(outcome, AlignedCrop):
                self._part.add(outcome)
            else:
                self._rejections.append(outcome)
                self.rejected += 1
            self.rows += 1

    def close(self) -> None:
        """Finish the open part; its rejects first, so that a finished part has them."""
        if self._part is None:
            return
        write_table(self._rejects / _name(self._number), self._table(self._rejections))
        self._part.close()
        self._beside.rename(self.aligned / _name(self._number))
        self.finished.add(self._number)
        self._part, self._rejections = None, []
        self.index.forget()
        return_memory()

    def reject_missing(self) -> None:
        """Reject the rows that are not in the archive, in a part of its own without crops."""
        if self.finished and self.rows == len(self.index):
            return
        missing = [Rejection(int(row), "missing", "not in the archive") for row in self.index.unseen()]
        self.add(max(self.finished, default=-1) + 1, list(missing))  # for an empty manifest, a part with the columns and no rows
        self.close()

    def rejects(self) -> Iterator[pa.RecordBatch]:
        """All rejects in order (schema.REJECTS)."""
        for number in sorted(self.finished):
            yield from pq.ParquetFile(self._rejects / _name(number)).iter_batches()
        if self._rejections:
            yield from self._table(self._rejections).to_batches()

    def first_reject(self) -> dict[str, str] | None:
        """The first row of the rejects (schema.REJECTS); None without any."""
        return next((batch.slice(0, 1).to_pylist()[0] for batch in self.rejects() if batch.num_rows), None)

    def reasons(self) -> dict[str, int]:
        """Rejects by reason."""
        counts: Counter[str] = Counter()
        for batch in self.rejects():
            counts.update(batch.column("reason").to_pylist())
        return dict(sorted(counts.items()))

    def complete(self) -> Path:
        """The folder of all parts and rejects.parquet, to be delivered."""
        write_batches(self.aligned / "rejects.parquet", self.rejects(), REJECTS)
        return self.aligned

    @property
    def _beside(self) -> Path:
        return self.aligned / f".{_name(self._number)}"

    def _table(self, rejections: list[Rejection]) -> pa.Table:
        rows = [
            {"member": self.index.member(rejection.row), "reason": rejection.reason, "detail": rejection.detail} for rejection in rejections
        ]
        return pa.Table.from_pylist(rows, schema=REJECTS)


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"
