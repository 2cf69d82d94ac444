from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import row_store as module
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.row_store import RowStore
from agecascade.schema import MANIFEST

FULL = ManifestRow(
    sample_id="a",
    member="faces/a.jpg",
    subject="Ann",
    label=30.5,
    label_sigma=2.0,
    label_low=30.0,
    label_high=31.0,
    group="(30, 31)",
    gender="female",
    ethnicity="Others",
    box=(1.0, 2.0, 3.0, 4.0),
    landmarks=(1.0, 2.0) * 5,
    official="test",
    face_score=2.0,
)


def manifest(store: RowStore) -> list[dict]:
    return pa.Table.from_batches(store.manifest()).to_pylist()


def test_what_goes_in_comes_out():
    with RowStore() as store:
        assert store.add(FULL)
        assert store.wanted("faces/a.jpg") == [FULL]
        assert manifest(store) == []  # it is listed, not kept
        store.keep(FULL)
        assert store.wanted("faces/a.jpg") == []
        (kept,) = manifest(store)
    assert kept == {name: list(value) if isinstance(value := getattr(FULL, name), tuple) else value for name in MANIFEST.names}


def test_the_first_of_two_ids_stays():
    with RowStore() as store:
        assert store.add(ManifestRow(sample_id="a", member="1.jpg"))
        assert not store.add(ManifestRow(sample_id="a", member="2.jpg"))
        assert [row.member for row in store.wanted("1.jpg")] == ["1.jpg"]
        assert store.wanted("2.jpg") == []


def test_rejected_rows_are_no_longer_wanted():
    row = ManifestRow(sample_id="a", member="1.jpg", label=3.0)
    with RowStore() as store:
        store.add(row)
        store.reject(Reject("1.jpg", "unreadable", "noise"), row)
        assert store.wanted("1.jpg") == []
        store.reject_missing()
        assert store.counts() == {"kept": 0, "rejected": {"unreadable": 1}, "subjects": 0, "label": None}


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with RowStore() as store:
        store.add(FULL)
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_the_systems_error():
    with RowStore() as store:
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match="TMPDIR") as caught:
            all(store.add(ManifestRow(sample_id=f"{i}", member="x" * 200)) for i in range(5000))
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


def test_a_disk_that_takes_nothing_is_the_systems_error_and_nothing_is_left(tmp_path: Path) -> None:
    program = """
import resource
from agecascade.datasets.row_store import RowStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    RowStore()
except OSError as error:
    print(error.errno, error.strerror)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
    assert said == f"{errno.EIO} the disk takes no more; TMPDIR names another place\n"
    assert not list(tmp_path.iterdir())


@settings(max_examples=25)
@given(subjects=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12), smallest=st.integers(2, 4))
def test_small_identities(subjects, smallest):
    with RowStore() as store:
        for i, subject in enumerate(subjects):
            row = ManifestRow(sample_id=f"{i:02d}", member=f"{i}.jpg", subject=subject)
            store.add(row)
            store.keep(row)
        store.reject_small_identities(smallest)
        kept = [row["subject"] for row in manifest(store)]
        rejected = store.counts()["rejected"]
    assert kept == [subject for subject in subjects if subjects.count(subject) >= smallest]
    assert sum(rejected.values()) == len(subjects) - len(kept)


def test_batches_are_bounded_and_sorted(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    with RowStore() as store:
        for i in (9, 3, 7, 1, 5, 0, 8, 2, 6, 4):
            row = ManifestRow(sample_id=f"{i}", member=f"{i}.jpg")
            store.add(row)
            store.keep(row)
        batches = list(store.manifest())
    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert [row["sample_id"] for batch in batches for row in batch.to_pylist()] == [f"{i}" for i in range(10)]
