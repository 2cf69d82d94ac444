"""The output that a person names on the command line: nothing but that file is changed, and its name says its format.

`files.written_beside` removes what stands at a path of the project's own. Here a folder and an input are refused before any work,
links are followed, and devices, pipes and the standard output are written to.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pandas as pd

from agecascade.errors import OutputError
from agecascade.extras import not_installed
from agecascade.io.files import SIGNIFICANT_DIGITS, half_written, no_formula, sweep

if TYPE_CHECKING:
    import pyarrow as pa

Frames = Iterator[pd.DataFrame]
_OPEN_FILES = re.compile(r"/proc/\d+/fd")  # a folder of links to what a process has open
FLOATS = f"%.{SIGNIFICANT_DIGITS}g"
_LINKS = 40  # as many as the system follows
_NO_FILE = {stat.S_ISDIR: "a folder", stat.S_ISSOCK: "a socket", stat.S_ISBLK: "a disk"}


class UserOutput:
    """Where a person wants rows to be written."""

    def __init__(self, typed: Path, inputs: Iterable[Path] = (), folders: Iterable[Path] = ()) -> None:
        """typed: `-` for the standard output. inputs: files that are read; folders: those in which nothing may be written.

        Raises OutputError where the output is a folder, an input, or of an unknown format, NotInstalledError where that needs a library.
        """
        self.typed = typed
        open_file = _open_file(typed)
        self.standard = str(typed) == "-" or open_file == f"/proc/{os.getpid()}/fd/1"
        # the place that is looked at is the place that is written: the system knows no `absent/../file`, realpath does
        self._place = typed if open_file else Path(os.path.realpath(typed))
        self._status = None if self.standard else _status(typed, self._place)
        device = self._status is not None and not stat.S_ISREG(self._status.st_mode)
        self._streamed = device or open_file is not None  # written to where it is, in place of a new file
        self._write = FORMATS[".csv" if self.standard else _suffix(typed, any_name=self._streamed)]
        if self._write is _parquet:
            _require_arrow(typed)
        if not self.standard:
            self._refuse_inputs(inputs, folders)
            self._refuse_forbidden()

    def write(self, frames: Frames) -> None:
        """Write frames of the same columns one below the other, each as it comes; an earlier file stays until all is written."""
        with self._opened() as file:
            self._write(file, frames)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.standard:
            yield sys.stdout.buffer
            sys.stdout.flush()
        elif self._streamed:
            with self._place.open("ab") as stream:  # what is open already, say of `3>> file`, is gone on with
                yield stream
        else:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            sweep(self._place, without_lock=False)
            with half_written(self._place) as temporary:
                with temporary.open("wb") as file:
                    yield file
                self._replace_by(temporary)

    def _replace_by(self, temporary: Path) -> None:
        status = _status(self.typed, self._place)  # once more: the work may have taken hours
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise OutputError(f"--output {self.typed} is no file any more; name another one")
        if status is not None:
            temporary.chmod(stat.S_IMODE(status.st_mode))
        temporary.replace(self._place)

    def _refuse_inputs(self, inputs: Iterable[Path], folders: Iterable[Path]) -> None:
        for folder in folders:
            if self._place.is_relative_to(os.path.realpath(folder)):
                raise OutputError(f"--output {self.typed}: lies in {folder}, which is read; write it to another folder")
        if self._status is None:
            return
        for path in inputs:
            if _same(path, self._status):
                raise OutputError(f"--output {self.typed}: is {path}, which is read; name another file")

    def _refuse_forbidden(self) -> None:
        """Raise OutputError where there is no right to write: better now than after hours."""
        place = self._place if self._streamed else next(parent for parent in self._place.parents if parent.exists())
        if not os.access(place, os.W_OK):
            raise OutputError(f"--output {self.typed}: no right to write {'to' if self._streamed else 'in'} {place}; name another place")


class UserFolder:
    """Where a person wants files to be written: a new or an empty folder, unless files of the same names may be replaced."""

    def __init__(self, typed: Path, reads: Iterable[Path] = (), overwrite: bool = False, option: str = "--output") -> None:
        """reads: files and folders that are read: none of them may hold the output or lie in it.

        Raises OutputError where that is so, and where the output is a file, or has files and `overwrite` is not given.
        """
        self.typed, self._option = typed, option
        self._place = Path(os.path.realpath(typed))
        try:
            self._exists = stat.S_ISDIR(self._place.stat().st_mode)
            if not self._exists or str(typed) == "-":
                raise OutputError(f"{option} {typed} is no folder; name a new one")
        except FileNotFoundError:
            self._exists = False
        except OSError as error:  # a loop of links, a file in place of a folder
            raise OutputError(f"{option} {typed}: {(error.strerror or str(error)).lower()}; name a new folder") from None
        if str(typed) == "-":
            raise OutputError(f"{option} -: pictures need a folder; name a new one")
        self._refuse(reads, overwrite)

    def _refuse(self, reads: Iterable[Path], overwrite: bool) -> None:
        for path in reads:
            read = Path(os.path.realpath(path))
            if self._place.is_relative_to(read) or read.is_relative_to(self._place):
                relation = "lies in" if self._place.is_relative_to(read) else "holds"
                raise OutputError(f"{self._option} {self.typed}: {relation} {path}, which is read; name another folder")
        place = next(parent for parent in (self._place, *self._place.parents) if parent.exists())
        if not os.access(place, os.W_OK | os.X_OK):
            raise OutputError(f"{self._option} {self.typed}: no right to write in {place}; name another place")
        if self._exists and not overwrite and next(self._place.iterdir(), None) is not None:
            raise OutputError(
                f"{self._option} {self.typed} has files in it; name a new folder, or say --overwrite: files of the same names are "
                "replaced, and others stay"
            )

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """A folder to write into; its files appear at the output when all are written, and not at all after an error."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        sweep(self._place, without_lock=False)
        with half_written(self._place) as temporary:
            temporary.mkdir()
            yield temporary
            if not self._exists:
                temporary.replace(self._place)  # an empty folder that came meanwhile is replaced, another is an error
                return
            for file in sorted(temporary.iterdir()):
                file.replace(self._place / file.name)


def _status(path: Path, place: Path) -> os.stat_result | None:
    """What a typed path leads to, at its place; None where nothing is there yet. Raises OutputError where no file can be."""
    try:
        status = place.stat()
    except FileNotFoundError:
        return None
    except OSError as error:  # a loop of links, a file in place of a folder
        raise OutputError(f"--output {path}: {(error.strerror or str(error)).lower()}; name a file in a folder") from None
    for test, what in _NO_FILE.items():
        if test(status.st_mode):
            advice = f"name a file in it, such as {path / 'ages.csv'}" if place.is_dir() else "name a file"
            raise OutputError(f"--output {path} is {what}; {advice}")
    return status


def _open_file(path: Path) -> str | None:
    """Where a path leads to a file that a process has open, as /dev/stdout does: its place below /proc."""
    for _ in range(_LINKS):
        folder = os.path.realpath(path.parent)
        if _OPEN_FILES.fullmatch(folder):
            return f"{folder}/{path.name}"
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None


def _suffix(path: Path, any_name: bool) -> str:
    """The suffix of a path that says its format; .csv where it has none. Raises OutputError for an unknown one."""
    known = next((suffix for suffix in FORMATS if path.name.lower().endswith(suffix)), None)
    if known is not None:
        return known
    if path.suffix and not any_name:
        raise OutputError(f"--output {path}: {path.suffix} is no format that rows are written in; known: {', '.join(FORMATS)}")
    return ".csv"


def _same(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:  # a dead link: reported by the one that reads it
        return False


def _csv(separator: str) -> Callable[[IO[bytes], Frames], None]:
    """Write rows as text; a list is numbers separated by spaces, and no text is a formula to a spreadsheet."""

    def write(file: IO[bytes], frames: Frames) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
        try:
            for number, frame in enumerate(frames):
                texts = [name for name, kind in frame.dtypes.items() if str(kind) in ("object", "str", "string")]
                cells = {name: pd.Series(map(_cell, frame[name]), frame.index, dtype="object") for name in texts}
                frame.assign(**cells).to_csv(text, sep=separator, header=number == 0, index=False, float_format=FLOATS, lineterminator="\n")
        finally:
            text.detach()

    return write


def _cell(value: Any) -> Any:
    """What stands in a text file for a value."""
    if isinstance(value, list):
        return " ".join(FLOATS % number for number in value)
    return no_formula(value) if isinstance(value, str) else value


def _compressed(write: Callable[[IO[bytes], Frames], None]) -> Callable[[IO[bytes], Frames], None]:
    def write_compressed(file: IO[bytes], frames: Frames) -> None:
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            write(packed, frames)  # type: ignore[arg-type]  # a GzipFile is a file of bytes

    return write_compressed


def _json_lines(file: IO[bytes], frames: Frames) -> None:
    for frame in frames:
        for row in _records(frame):
            file.write(row.encode() + b"\n")


def _json(file: IO[bytes], frames: Frames) -> None:
    before = b"[\n"
    for frame in frames:
        for row in _records(frame):
            file.write(before + row.encode())
            before = b",\n"
    file.write(b"\n]\n" if before == b",\n" else b"[]\n")


def _records(frame: pd.DataFrame) -> Iterator[str]:
    """Each row as a JSON object; what is missing is null."""
    for row in frame.itertuples(index=False, name=None):
        yield json.dumps(dict(zip(frame.columns, map(_plain, row), strict=True)), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return None
    return float(FLOATS % value) if isinstance(value, float) else int(value)


def _parquet(file: IO[bytes], frames: Frames) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for frame in frames:
            writer = writer or pq.ParquetWriter(file, _schema(frame), compression="zstd")
            writer.write_table(pa.Table.from_pandas(frame, writer.schema, preserve_index=False))
    finally:
        if writer is not None:
            writer.close()


def _require_arrow(typed: Path) -> None:
    """Raise NotInstalledError without pyarrow, which an installation for prediction alone does not have."""
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise not_installed(error, f"--output {typed}: a Parquet file") from None


def _schema(frame: pd.DataFrame) -> pa.Schema:
    """Columns by their kind alone, for a first frame may hold nothing but missing values; objects are lists of numbers."""
    import pyarrow as pa

    kinds = {"object": pa.list_(pa.float64()), "float64": pa.float64(), "Int64": pa.int64(), "int64": pa.int64(), "bool": pa.bool_()}
    return pa.schema([(name, kinds.get(str(kind), pa.string())) for name, kind in frame.dtypes.items()])


FORMATS: dict[str, Callable[[IO[bytes], Frames], None]] = {
    ".csv": _csv(","),
    ".csv.gz": _compressed(_csv(",")),
    ".tsv": _csv("\t"),
    ".txt": _csv(","),
    ".jsonl": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}
