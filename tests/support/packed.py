"""Archives made for tests: zip and tar files as bytes, nested ones, bombs; and reading them back."""

from __future__ import annotations

import io
import shutil
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from agecascade.archives import open_archives
from publishers import write_folder, write_tar, write_zip

FILES = {"set/b.JPG": b"second", "set/a.jpg": b"first", "set/deep/c.txt": b"", "top.csv": b"x,y\n"}

KINDS = {
    "set.zip": write_zip,
    "set.tar": write_tar,
    "set.tar.gz": write_tar,
    "set.tgz": write_tar,
    "tree": write_folder,
}


def contents(path: Path, suffixes: tuple[str, ...] | None = None) -> list[tuple[str, bytes]]:
    with open_archives(path) as archive:
        return [(member.name, member.read()) for member in archive.members(suffixes)]


def peak_of(walk: Callable[[], object]) -> int:
    """Bytes of memory that Python held at once."""
    tracemalloc.start()
    try:
        walk()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


PACK: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "x.zip": zipped,
    "X.ZIP": partial(zipped, method=zipfile.ZIP_STORED),
    "x.tar": tarred,
    "x.tar.gz": partial(tarred, mode="w:gz"),
    "x.tgz": partial(tarred, mode="w:gz"),
    "x.tar.bz2": partial(tarred, mode="w:bz2"),
    "x.tar.xz": partial(tarred, mode="w:xz"),
}

MIB = 1 << 20


class Zeros(io.RawIOBase):
    """So many zeros, which take no memory."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


def zip_bomb(size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.jpg", b"good")
        with archive.open("bomb.jpg", "w") as member:
            shutil.copyfileobj(Zeros(size), member, MIB)
    return file.getvalue()


def tar_bomb(size: int, mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, length in (("first.jpg", 4), ("bomb.jpg", size), ("good.jpg", 4)):
            info = tarfile.TarInfo(name)
            info.size = length
            archive.addfile(info, io.BufferedReader(Zeros(length)))
    return file.getvalue()


NAMES = st.from_regex(r"[a-z\u00e9\u4e2d]{1,30}(/[a-z0-9_ ]{1,90}[a-z]){0,3}", fullmatch=True)

FILES_OF_ANY_NAME = st.dictionaries(NAMES, st.binary(max_size=1500), min_size=1, max_size=6)
