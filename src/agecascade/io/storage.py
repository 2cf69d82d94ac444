"""Files and folders on this machine or at an fsspec address such as `s3://bucket/faces`: the few things that are asked of both."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from agecascade.io.files import written_beside

Location = Path | str  # a path, or an address with `://`


def is_remote(location: Location) -> bool:
    """Whether it is an address of fsspec's."""
    return isinstance(location, str) and "://" in location


def joined(location: Location, name: str) -> Location:
    """What is called `name` below a folder."""
    return f"{location}".rstrip("/") + f"/{name}" if is_remote(location) else Path(location) / name


def exists(location: Location) -> bool:
    fs, path = _system(location)
    return bool(fs.exists(path)) if fs else Path(path).exists()


def is_dir(location: Location) -> bool:
    fs, path = _system(location)
    return bool(fs.isdir(path)) if fs else Path(path).is_dir()


def size(location: Location) -> int:
    """Bytes of a file."""
    fs, path = _system(location)
    return int(fs.size(path)) if fs else os.stat(path).st_size  # noqa: PTH116  # asked a million times


def state(location: Location) -> str:
    """What changes when a file does: its size, and when it was written or its store's own mark of the content."""
    fs, path = _system(location)
    if not fs:
        told = os.stat(path)  # noqa: PTH116
        return f"{told.st_size} {told.st_mtime_ns}"
    info = fs.info(path)
    return f"{info['size']} " + " ".join(
        str(info[key]) for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created") if key in info
    )


def opened(location: Location) -> BinaryIO:
    """The file to read, unbuffered; it can seek."""
    fs, path = _system(location)
    file: Any = fs.open(path, "rb") if fs else open(path, "rb", buffering=0)  # noqa: PTH123, SIM115
    return file


def walk(location: Location) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk: (folder, names of folders, names of files), from the top; the folders' names may be changed to lead the way."""
    fs, path = _system(location)
    if not fs:
        yield from os.walk(path)
        return
    for folder, folders, files in fs.walk(path):
        yield fs.unstrip_protocol(folder), folders, files


def names(location: Location, pattern: str) -> list[str]:
    """The names in a folder that fit a pattern such as `part-*.parquet`, sorted; none where there is no folder."""
    fs, path = _system(location)
    if not fs:
        return sorted(found.name for found in Path(path).glob(pattern))
    return sorted(found.rpartition("/")[2] for found in fs.glob(f"{path}/{pattern}"))


def within(location: Location, folder: Location) -> str:
    """The posix path of what `walk` told, relative to the folder it started at; "" for that folder."""
    if not is_remote(folder):
        return Path(location).relative_to(folder).as_posix().removeprefix(".")
    fs, path = _system(folder)
    return PurePosixPath(fs._strip_protocol(str(location))).relative_to(path).as_posix().removeprefix(".")


def deliver(folder: Path, target: Location) -> None:
    """Move a finished folder to `target`, whatever is there; nobody sees half of it where the store can rename.

    A store that cannot, such as S3, gets the files beside, and copies them into place by itself.
    """
    if is_remote(target):
        _upload(folder, str(target).rstrip("/"))
        return
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    try:
        folder.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with written_beside(target) as beside:
            shutil.copytree(folder, beside)
        shutil.rmtree(folder)


def _upload(folder: Path, target: str) -> None:
    fs, path = _system(target)
    beside = f"{path}.{uuid.uuid4().hex[:8]}"
    fs.makedirs(beside, exist_ok=True)
    try:
        for file in sorted(folder.iterdir()):
            fs.put_file(str(file), f"{beside}/{file.name}")
        if fs.exists(path):
            fs.rm(path, recursive=True)
        fs.makedirs(path, exist_ok=True)
        for file in sorted(folder.iterdir()):
            fs.mv(f"{beside}/{file.name}", f"{path}/{file.name}")
    finally:
        if fs.exists(beside):
            fs.rm(beside, recursive=True)
    shutil.rmtree(folder)


def _system(location: Location) -> tuple[Any, str]:
    """(fsspec's file system, path there) of an address, (None, path) of a path."""
    if not is_remote(location):
        return None, os.fspath(location)
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(str(location))
    return fs, path
