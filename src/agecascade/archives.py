"""Archives as streams of (name, bytes): folders, zip and tar files, read in place and never unpacked to disk."""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISLNK
from typing import NamedTuple, Self

from agecascade.errors import ArchiveError

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

# what the standard library raises on damaged, encrypted or unknown content
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError)


class Member(NamedTuple):
    """A file of an archive. Call `read` before asking for the next member: a compressed tar runs forward only."""

    name: str  # posix path inside the archive
    read: Callable[[], bytes]


# a member's name and how to read it; None where the member is no plain file
Entry = tuple[str, Callable[[], bytes] | None]


class Archive:
    """The members of a file, or of all archives and loose files of a folder; `members` may be called several times."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped: dict[str, str] = {}  # member -> why it is never read; filled as `members` runs
        self._zips: dict[Path, zipfile.ZipFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; a later pass opens it again."""
        for opened in self._zips.values():
            opened.close()
        self._zips.clear()

    def members(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Member]:
        """The plain files in the archive's own order (folders: sorted), those with one of `suffixes` in any case.

        Links and names that lead out of the archive are left out and noted in `skipped`. Raises ArchiveError on
        damaged content, also from `Member.read`.
        """
        empty = True
        for name, read in self._entries():
            empty = False
            name = name.replace("\\", "/").removeprefix("./")
            parts = name.split("/")
            if parts[-1].startswith(".") or "__MACOSX" in parts:  # .DS_Store, ._001A02.JPG
                continue
            if name.startswith("/") or ".." in parts:
                self.skipped[name] = "its name leads out of the archive"
            elif read is None:
                self.skipped[name] = "it is a link or a device, no file"
            elif suffixes is None or name.lower().endswith(suffixes):
                yield Member(name, read)
        if empty:
            raise ArchiveError(f"{self.path} holds no files; fetch the archive again")

    def check(self) -> None:
        """Raise ArchiveError unless every archive file can be opened."""
        empty = True
        for name, path in self._files():
            empty = False
            if name is None and not self._is_zip(path):
                with _open_tar(path):
                    pass
            elif name is None:
                self._zip(path)
        if empty:
            raise ArchiveError(f"{self.path} is empty; fetch the archive again")

    def _files(self) -> Iterator[tuple[str | None, Path]]:
        """(name of a loose file, or None for an archive; path)."""
        if not self.path.is_dir():
            yield None, self.path
            return
        for folder, folders, files in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            visible = sorted(name for name in files if not name.startswith("."))
            for name in sorted(visible, key=_is_archive):  # tables before archives, so that a search for one ends early
                path = Path(folder, name)
                yield None if _is_archive(name) else path.relative_to(self.path).as_posix(), path

    def _entries(self) -> Iterator[Entry]:
        for name, path in self._files():
            if name is not None:
                yield name, _reading(path, path.read_bytes) if path.is_file() else None
            elif self._is_zip(path):
                yield from _zip_entries(self._zip(path), path)
            else:
                yield from _tar_entries(path)

    def _is_zip(self, path: Path) -> bool:
        name = path.name.lower()
        return name.endswith(ZIP_SUFFIXES) or (not name.endswith(TAR_SUFFIXES) and zipfile.is_zipfile(path))

    def _zip(self, path: Path) -> zipfile.ZipFile:
        if path not in self._zips:
            with _damage(path):
                self._zips[path] = zipfile.ZipFile(path)
        return self._zips[path]


def _is_archive(name: str) -> bool:
    return name.lower().endswith(ZIP_SUFFIXES + TAR_SUFFIXES)


def open_archives(path: Path | str) -> Archive:
    """The archive at `path`: a zip or tar file, or a folder of archives and loose files (data/raw/<name>/).

    Raises ArchiveError if the path is missing or empty, or a file in it is truncated or no archive.
    """
    path = Path(path)
    if not path.exists():
        raise ArchiveError(f"{path} is missing; `dvc repro` fetches it")
    archive = Archive(path)
    archive.check()
    return archive


@contextmanager
def _damage(path: Path, member: str | None = None) -> Iterator[None]:
    """Turn what damaged content raises into one ArchiveError that names the file."""
    try:
        yield
    except _DAMAGE as error:
        where = f"{path}, member {member}," if member else f"{path}"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArchiveError(f"{where} is truncated, damaged or no archive ({reason}); fetch it again") from error


def _reading(path: Path, read: Callable[[], bytes], member: str | None = None) -> Callable[[], bytes]:
    def checked() -> bytes:
        with _damage(path, member):
            return read()

    return checked


def _zip_entries(opened: zipfile.ZipFile, path: Path) -> Iterator[Entry]:
    for info in opened.infolist():
        if not info.is_dir():
            is_link = S_ISLNK(info.external_attr >> 16)
            yield info.filename, None if is_link else _reading(path, lambda info=info: opened.read(info), info.filename)  # type: ignore[misc]


class _StrictInfo(tarfile.TarInfo):
    """Headers that end an archive only as tar demands, with a block of zeros: tarfile takes a cut archive for a short one."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends too early")
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):
                raise tarfile.ReadError(f"bad member header: {error}") from None
            raise


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with _damage(path):
        opened = tarfile.open(path, "r:*", tarinfo=_StrictInfo)  # noqa: SIM115
    with opened:
        yield opened


def _tar_entries(path: Path) -> Iterator[Entry]:
    with _open_tar(path) as opened, _damage(path):
        while (info := opened.next()) is not None:
            if info.isreg():
                yield info.name, _reading(path, lambda info=info: _content(opened, info), info.name)  # type: ignore[misc]
            elif not info.isdir():
                yield info.name, None
            opened.members.clear()  # type: ignore[attr-defined]  # it keeps every header seen: half a gigabyte in IMDB
        # the rest is padding, but only at its end does gzip compare its checksum
        while opened.fileobj is not None and opened.fileobj.read(1 << 20):
            pass


def _content(opened: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = opened.extractfile(info)
    content = file.read() if file is not None else b""
    if len(content) < info.size:
        raise tarfile.ReadError("it ends too early")
    return content
