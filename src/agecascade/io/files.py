"""Outputs are written beside their place and renamed, so that nobody reads a half-written file; a checksum tells one file from another."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT_DIGITS = 6  # of figures and tables: more differ between processors


@contextmanager
def written_beside(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on failure it is removed.

    Works for a file and for a folder that the caller makes at the temporary path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last, for writers that choose a format by it
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copied(source: Path, target: Path, leave: Collection[str] = ()) -> None:
    """Make `target` a folder with the files of `source`, but those named in `leave`.

    Where both lie on one disk, files get a second name instead: nobody changes them in place.
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*leave), copy_function=_linked)


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as indented JSON with a final newline; NaN is an error, for it is no JSON."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with written_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_figures(path: Path | str, figures: Any) -> None:
    """Write figures as JSON with 6 significant digits, so that another processor's last bits change no committed file."""
    write_json(path, rounded(figures))


def rounded(content: Any) -> Any:
    """Plain content (mappings, lists, text, numbers) with every float at SIGNIFICANT_DIGITS; integers stay as they are."""
    if isinstance(content, float):
        return float(f"{content:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(content, Mapping):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [rounded(value) for value in content]
    return content


def write_csv(path: Path | str, frames: pd.DataFrame | Iterator[pd.DataFrame], float_format: str = f"%.{SIGNIFICANT_DIGITS}g") -> None:
    """Write a frame, or frames of the same columns one below the other, as CSV without the index; each frame as it comes."""
    with written_beside(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for number, frame in enumerate(frames if isinstance(frames, Iterator) else [frames]):
            frame.to_csv(file, header=number == 0, index=False, float_format=float_format, lineterminator="\n")


def write_table(path: Path | str, table: pa.Table) -> None:
    """Write an Arrow table as Parquet (zstd)."""
    with written_beside(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_batches(path: Path | str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write record batches as one Parquet file (zstd), each as it comes."""
    with written_beside(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
