"""RowStore: the rows and rejects of a data set while it is cleaned, on disk, so that memory stays flat however many there are."""

from __future__ import annotations

import errno
import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from agecascade.datasets.base import ManifestRow, Reject
from agecascade.io.files import temporary_folder
from agecascade.schema import MANIFEST, REJECTS

BATCH_ROWS = 16_384
CACHE_KIB = 64 * 1024

_OF_THE_DISK = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO}

# states of a row
_LISTED, _KEPT, _OUT = 0, 1, 2

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE rows (sample_id TEXT PRIMARY KEY, member TEXT, subject TEXT, label REAL, content BLOB, state INTEGER) WITHOUT ROWID;
CREATE INDEX members ON rows (member);
CREATE TABLE rejects (member TEXT, reason TEXT, detail TEXT);
"""


class RowStore:
    """The rows of one data set, each once, and the rejects; a context that deletes its files at the end."""

    def __init__(self) -> None:
        with ExitStack() as files:
            self._folder = files.enter_context(temporary_folder("agecascade-"))
            self._database = files.enter_context(closing(sqlite3.connect(self._folder / "store.db", isolation_level=None)))
            with _full_disk(self._folder):
                self._database.executescript(f"PRAGMA cache_size = -{CACHE_KIB};" + _TABLES)
                self._database.execute("BEGIN")
            self._files = files.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, row: ManifestRow) -> bool:
        """Add a row; False, and nothing added, where its sample_id is there already."""
        values = (row.sample_id, row.member, row.subject, row.label, _packed(row), _LISTED)
        return self._run("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?)", values).rowcount == 1

    def reject(self, reject: Reject, row: ManifestRow | None = None) -> None:
        """Add a reject; `row` is the listed row that it replaces."""
        self._run("INSERT INTO rejects VALUES (?, ?, ?)", (reject.member, reject.reason, reject.detail))
        if row is not None:
            self._run("UPDATE rows SET state = ?, content = NULL WHERE sample_id = ?", (_OUT, row.sample_id))

    def wanted(self, member: str) -> list[ManifestRow]:
        """The listed rows of a picture; a picture may show several people."""
        contents = self._run("SELECT content FROM rows WHERE member = ? AND state = ? ORDER BY sample_id", (member, _LISTED))
        return [_unpacked(content) for (content,) in contents]

    def keep(self, row: ManifestRow) -> None:
        """Mark a listed row as kept: it has passed all checks."""
        self._run("UPDATE rows SET state = ?, content = ? WHERE sample_id = ?", (_KEPT, _packed(row), row.sample_id))

    def listed(self) -> int:
        """How many rows wait for their pictures."""
        return self._number("SELECT count(*) FROM rows WHERE state = ?", _LISTED)

    def reject_missing(self) -> None:
        """Reject the rows whose picture the archive lacks."""
        self._reject_all("state = ?", "file_missing", "'the archive lacks the file'", _LISTED)

    def reject_small_identities(self, smallest: int) -> None:
        """Reject the kept rows of subjects with fewer than `smallest` of them."""
        self._run("CREATE TEMP TABLE sizes AS SELECT subject, count(*) AS size FROM rows WHERE state = ? GROUP BY subject", (_KEPT,))
        self._run("CREATE INDEX temp.subjects ON sizes (subject)")
        size = "(SELECT size FROM sizes WHERE sizes.subject IS rows.subject)"
        detail = f"ifnull(subject, 'nobody') || ' has ' || {size} || ' pictures, not {smallest:d}'"
        self._reject_all(f"state = ? AND {size} < {smallest:d}", "identity_too_small", detail, _KEPT)
        self._run("DROP TABLE sizes")

    def example(self, reason: str) -> str | None:
        """The first member that was rejected for this reason."""
        first = self._run("SELECT min(member) FROM rejects WHERE reason = ?", (reason,)).fetchone()
        return first[0] if first else None

    def counts(self) -> dict[str, Any]:
        """Content of metrics/clean/<name>.json: kept, rejected by reason, subjects, and the range and mean of the labels."""
        kept = "FROM rows WHERE state = ?"
        low, high, mean = self._run(f"SELECT min(label), max(label), avg(label) {kept}", (_KEPT,)).fetchone()
        return {
            "kept": self._number(f"SELECT count(*) {kept}", _KEPT),
            "rejected": dict(self._run("SELECT reason, count(*) FROM rejects GROUP BY reason ORDER BY reason")),
            "subjects": self._number(f"SELECT count(DISTINCT subject) {kept}", _KEPT),
            "label": None if low is None else {"min": low, "max": high, "mean": round(mean, 6)},
        }

    def manifest(self) -> Iterator[pa.RecordBatch]:
        """The kept rows by sample_id (schema.MANIFEST): independent of the archive's order and of the number of workers."""
        contents = self._run("SELECT content FROM rows WHERE state = ? ORDER BY sample_id", (_KEPT,))
        columns = [ManifestRow.__slots__.index(name) for name in MANIFEST.names]
        return _batches(([values[column] for column in columns] for values in map(_values, contents)), MANIFEST)

    def rejects(self) -> Iterator[pa.RecordBatch]:
        """The rejects by member (schema.REJECTS)."""
        return _batches(self._run("SELECT member, reason, detail FROM rejects ORDER BY member, reason, detail"), REJECTS)

    def _reject_all(self, condition: str, reason: str, detail: str, state: int) -> None:
        self._run(f"INSERT INTO rejects SELECT member, '{reason}', {detail} FROM rows WHERE {condition}", (state,))
        self._run(f"UPDATE rows SET state = {_OUT} WHERE {condition}", (state,))

    def _number(self, query: str, state: int) -> int:
        return int(self._run(query, (state,)).fetchone()[0])

    def _run(self, query: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        with _full_disk(self._folder):
            return self._database.execute(query, values)


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Raise SQLite's error for a disk that is full, or that fails, as the system's OSError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        kind = error.sqlite_errorcode & 0xFF  # what stands above tells at which call
        if kind in _OF_THE_DISK:
            raise OSError(_OF_THE_DISK[kind], "the disk takes no more; TMPDIR names another place", str(folder)) from error
        raise


def _packed(row: ManifestRow) -> bytes:
    # by position: names would be half of the bytes
    return pickle.dumps([getattr(row, name) for name in ManifestRow.__slots__], protocol=pickle.HIGHEST_PROTOCOL)


def _unpacked(content: bytes) -> ManifestRow:
    return ManifestRow(**dict(zip(ManifestRow.__slots__, pickle.loads(content), strict=True)))


def _values(record: tuple[bytes]) -> list[Any]:
    """The fields of a stored row, in their order, without making the row."""
    values: list[Any] = pickle.loads(record[0])
    return values


def _batches(rows: Iterable[Iterable[Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Record batches of bounded size; one empty batch where there are no rows."""
    columns: list[list[Any]] = [[] for _ in schema]
    written = False
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
        if len(columns[0]) == BATCH_ROWS:
            yield _batch(columns, schema)
            columns, written = [[] for _ in schema], True
    if columns[0] or not written:
        yield _batch(columns, schema)


def _batch(columns: list[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema)
