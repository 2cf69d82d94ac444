"""Files and folders on this machine, as pathlib's paths, or at an address such as `s3://bucket/faces`, as universal_pathlib's.

`size`, `opened` and `walk` take text: an archive may be a folder of a million files, and a Path of each takes five times as long.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agecascade.io.files import written_beside

if TYPE_CHECKING:
    from upath import UPath

Location = Path | str  # a path, or an address with `://`


def is_remote(location: Location) -> bool:
    """Whether it is an address of fsspec's."""
    return isinstance(location, str) and "://" in location


def located(location: Location) -> Path | UPath:
    """The path object of a location."""
    return _remote(location) if is_remote(location) else Path(location)


def size(location: Location) -> int:
    """Bytes of a file."""
    return int(_remote(location).stat().st_size) if is_remote(location) else os.stat(location).st_size  # noqa: PTH116


def state(location: Location) -> str:
    """A text that changes when a file does: its size, and its time of writing or its store's own version of the content."""
    if not is_remote(location):
        status = os.stat(location)  # noqa: PTH116
        return f"{status.st_size} {status.st_mtime_ns}"
    path = _remote(location)
    info = path.fs.info(path.path)
    versions = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
    return f"{info['size']} " + " ".join(str(info[key]) for key in versions if key in info)


def opened(location: Location) -> BinaryIO:
    """The file to read, seekable; unbuffered on this machine."""
    if is_remote(location):
        file: BinaryIO = _remote(location).open("rb")
        return file
    return open(location, "rb", buffering=0)  # noqa: PTH123


def walk(location: Location) -> Iterator[tuple[str, str, list[str], list[str]]]:
    """As os.walk, from the top: (folder, its posix path below `location`, names of folders, names of files).

    The caller may sort and shorten the names of folders, which are visited next. Raises OSError where a folder cannot be listed.
    """
    if not is_remote(location):
        for folder, folders, files in os.walk(location, onerror=_raise):
            below = os.path.relpath(folder, location)
            yield folder, "" if below == "." else Path(below).as_posix(), folders, files
        return
    top = _remote(location)
    for folder, folders, files in top.fs.walk(top.path, on_error="raise"):  # UPath.walk asks the store about each file
        below = folder.rstrip("/").removeprefix(top.path.rstrip("/")).strip("/")
        yield top.fs.unstrip_protocol(folder), below, folders, files


def _raise(error: OSError) -> None:
    raise error


def deliver(folder: Path, target: Location) -> bool:
    """Copy a finished folder of files to `target`, replacing what is there; nobody sees half of it where the store can rename.

    On one file system the copies are hard links, which take no space: then it returns True. A store that cannot rename, such as S3,
    gets the files beside, and copies them into place by itself.
    """
    linked = not is_remote(target)

    def link(source: str, copy: str) -> None:
        nonlocal linked
        try:
            os.link(source, copy)
        except OSError:  # another file system, or one without links
            linked = False
            shutil.copy2(source, copy)

    if not linked:
        _upload(folder, _remote(str(target).rstrip("/")))
        return False
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(target) as beside:
        shutil.copytree(folder, beside, copy_function=link)
    return linked


def _upload(folder: Path, target: UPath) -> None:
    fs, path = target.fs, target.path
    beside = f"{path}.{uuid.uuid4().hex[:8]}"
    fs.makedirs(beside, exist_ok=True)
    try:
        files = sorted(folder.iterdir())
        for file in files:
            fs.put_file(str(file), f"{beside}/{file.name}")
        if fs.exists(path):
            fs.rm(path, recursive=True)
        fs.makedirs(path, exist_ok=True)
        for file in files:
            fs.mv(f"{beside}/{file.name}", f"{path}/{file.name}")
    finally:
        if fs.exists(beside):
            fs.rm(beside, recursive=True)


def _remote(location: Location) -> UPath:
    from upath import UPath  # takes fsspec along

    return UPath(location)
