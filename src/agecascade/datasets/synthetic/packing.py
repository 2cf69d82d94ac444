"""Archives whose bytes depend on their members alone: no dates, no users."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Protocol

_EPOCH = 315532800  # 1980-01-01, the first date that a zip can hold


class Put(Protocol):
    """Adds a member to an archive."""

    def __call__(self, name: str, data: bytes) -> None: ...


@contextmanager
def archive_writer(path: Path) -> Iterator[Put]:
    """A function that adds members to a new .zip, .tar or .tar.gz at `path`."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            yield lambda name, data: _put_zip(archive, name, data)
    elif path.suffix == ".gz":
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed, _tar(packed) as tar:
            yield lambda name, data: _put_tar(tar, name, data)
    else:
        with path.open("wb") as raw, _tar(raw) as tar:
            yield lambda name, data: _put_tar(tar, name, data)


def _tar(stream: object) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[call-overload]


def _put_zip(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    header = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    header.create_system = 3  # Unix, also where this runs on another system
    header.external_attr = 0o644 << 16
    archive.writestr(header, data)


def _put_tar(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = len(data), _EPOCH, 0o644
    archive.addfile(header, BytesIO(data))
