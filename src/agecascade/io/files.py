"""Outputs are written beside their place and renamed, so that nobody reads a half-written file; a checksum tells one file from another."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SIGNIFICANT_DIGITS = 6  # of figures and tables: more differ between processors
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a formula begins with in a spreadsheet (OWASP, CSV injection)

LONGEST_NAME = 255  # bytes that file systems take
_OWNER = ".owner"  # the lock file of a temporary folder's process
_SETTLED = 60.0  # seconds after which a temporary folder's process surely has its lock
_swept: set[Path] = set()


@contextmanager
def written_beside(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on failure it is removed.

    Works for a file and for a folder that the caller makes at the temporary path. For the outputs of stages, whose paths are the
    project's own: a folder at `path` is removed. What a person named is written by `io.user_output`.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise ValueError(f"{path} is no path of a file or folder of its own")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    with half_written(path) as temporary:
        yield temporary
        if path.is_dir():
            _remove(path)
        temporary.replace(path)


@contextmanager
def half_written(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` that is removed at the end; a lock file beside it lasts as long as its process."""
    begun = path.with_name(f".{_short_stem(path)}.{uuid.uuid4().hex[:8]}")
    lock = FileLock(begun.with_name(f"{begun.name}.lock"), thread_local=False)
    temporary = begun.with_name(begun.name + path.suffix)  # the suffix stays last, for writers that choose a format by it
    try:
        with suppress(Timeout, NotImplementedError):  # a disk without locks: nobody sweeps there either
            lock.acquire(timeout=0)
        yield temporary
    except OSError as error:
        # libraries leave the name out, and the output says more than its temporary name
        if error.errno is not None and (error.filename is None or str(error.filename).startswith(str(begun))):
            error.filename = str(path)
        raise
    finally:
        _remove(temporary)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _short_stem(path: Path) -> str:
    """The name without its suffix, so short that what `half_written` adds to it makes a name that the system still takes."""
    room = LONGEST_NAME - len(os.fsencode(path.suffix)) - len("..12345678.lock")
    return os.fsdecode(os.fsencode(path.stem)[: max(room, 0)])


def sweep(path: Path, *, without_lock: bool = True) -> None:
    """Remove what killed processes had begun to write for `path`; once for each path in a process.

    without_lock: also files without a lock beside them, which an earlier version left, or, in a person's folder, that person.
    """
    if path not in _swept:
        _swept.add(path)
        _sweep(path.parent, re.escape(_short_stem(path)), path.suffix, without_lock)


def sweep_folders(folder: Path) -> None:
    """Remove the folders that killed processes had begun to write in a folder of the project's own, for whatever name."""
    _sweep(folder, ".+", "", without_lock=False)


def _sweep(folder: Path, stem: str, suffix: str, without_lock: bool) -> None:
    """Remove what was begun in a folder for names with this stem, a pattern, and this suffix, and whose process is gone."""
    name = re.compile(rf"(\.{stem}\.[0-9a-f]{{8}})(\.lock|{re.escape(suffix)})")
    begun = {match[1] for entry in os.scandir(folder) if (match := name.fullmatch(entry.name))}
    for each in begun:
        lock = folder / f"{each}.lock"
        if not without_lock and not lock.exists():
            continue
        with abandoned(lock) as gone:
            if gone:
                _remove(folder / f"{each}{suffix}")


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether the process is gone that held a lock file, which is then removed; True as well where there is none."""
    if not path.exists():
        yield True
        return
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, NotImplementedError, OSError):  # held, or on a disk without locks: then nobody can say
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
        path.unlink(missing_ok=True)


@contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """Raise the OSError of `path` that a library hides in an error of its own: torch behind it, safetensors as a text."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder of the system's temporary files, removed at the end; those of killed processes are removed at the start."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        lock = folder / _OWNER
        with suppress(OSError):  # another user's
            if lock.exists() and time.time() - lock.stat().st_mtime > _SETTLED:
                with abandoned(lock) as gone:
                    if gone:
                        shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        owner = FileLock(Path(name) / _OWNER, thread_local=False)
        with suppress(Timeout, NotImplementedError):  # a disk without locks
            owner.acquire(timeout=0)
        try:
            yield Path(name)
        finally:
            owner.release()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


def no_formula(text: str) -> str:
    """A text as a cell that no spreadsheet computes: a ' stands before what begins as a formula does, such as the name of a picture."""
    return f"'{text}" if text.startswith(FORMULAS) else text


def of_cell(text: str) -> str:
    """The text that `no_formula` made a cell of."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULAS) else text


def write_table(path: Path | str, table: pa.Table) -> None:
    """Write an Arrow table as Parquet (zstd)."""
    import pyarrow.parquet as pq  # here: a stage that starts at every `dvc repro` uses this module, and no Parquet

    with written_beside(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_batches(path: Path | str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write record batches as one Parquet file (zstd), each as it comes."""
    import pyarrow.parquet as pq

    with written_beside(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
