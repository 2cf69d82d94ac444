"""Tiny archives in publishers' formats, for the tests of readers, cleaning and archives."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from openpyxl import Workbook
from scipy.io import savemat

from agecascade.archives import Archive, open_archives
from agecascade.datasets import reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.cleaning import clean
from agecascade.errors import AgecascadeError
from agecascade.params import Clean, Compute


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar file; compressed where the name says so."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def mat(table: Mapping[str, Sequence[Any]], name: str = "imdb") -> bytes:
    """A .mat file that holds a struct of (1, N) fields, text as cells: the format of IMDB-WIKI."""
    fields = {}
    for key, values in table.items():
        is_text = any(isinstance(value, (str, np.ndarray)) for value in values)
        field = np.empty((1, len(values)), dtype=object if is_text else np.float64)
        for i, value in enumerate(values):
            field[0, i] = value
        fields[key] = field
    file = io.BytesIO()
    savemat(file, {name: fields}, do_compression=True)
    return file.getvalue()


def workbook(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    """An .xlsx file that holds the rows of each sheet."""
    book = Workbook()
    book.remove(book["Sheet"])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rows_of(name: str, path: Path, options: Mapping[str, Any] | None = None) -> list[ManifestRow | Reject]:
    """All rows and rejects that the reader `name` gives of an archive, or of a folder of archives."""
    with open_archives(path) as archive:
        return list(reader(name).rows(archive, options or {}))


def outcome(archive: Archive, reader: Any, settings: Clean, *, name: str = "tiny", workers: int = 1) -> SimpleNamespace:
    """The counts that `clean` returns and the manifest and rejects that it writes; checks that a failure leaves no file."""
    with tempfile.TemporaryDirectory() as folder:
        manifest, rejects = Path(folder, "m.parquet"), Path(folder, "r.parquet")
        try:
            files = {"manifest": manifest, "rejects": rejects, "work": Path(folder, "work")}
            counts = clean(archive, reader, settings, {}, name=name, compute=Compute(workers=workers), **files)
        except AgecascadeError:
            assert not manifest.exists()
            assert not rejects.exists()
            raise
        return SimpleNamespace(counts=counts, manifest=pq.read_table(manifest), rejects=pq.read_table(rejects))
