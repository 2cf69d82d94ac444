from __future__ import annotations

import errno
import sqlite3

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import row_store as module
from agecascade.datasets.base import Reject, Row
from agecascade.datasets.row_store import Ledger
from agecascade.schema import MANIFEST

FULL = Row(
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


def manifest(ledger: Ledger) -> list[dict]:
    return pa.Table.from_batches(ledger.manifest()).to_pylist()


def test_what_goes_in_comes_out():
    with Ledger() as ledger:
        assert ledger.add(FULL)
        assert ledger.wanted("faces/a.jpg") == [FULL]
        assert manifest(ledger) == []  # it is listed, not kept
        ledger.keep(FULL)
        assert ledger.wanted("faces/a.jpg") == []
        (kept,) = manifest(ledger)
    assert kept == {name: list(value) if isinstance(value := getattr(FULL, name), tuple) else value for name in MANIFEST.names}


def test_the_first_of_two_ids_stays():
    with Ledger() as ledger:
        assert ledger.add(Row(sample_id="a", member="1.jpg"))
        assert not ledger.add(Row(sample_id="a", member="2.jpg"))
        assert [row.member for row in ledger.wanted("1.jpg")] == ["1.jpg"]
        assert ledger.wanted("2.jpg") == []


def test_rejected_rows_are_no_longer_wanted():
    row = Row(sample_id="a", member="1.jpg", label=3.0)
    with Ledger() as ledger:
        ledger.add(row)
        ledger.reject(Reject("1.jpg", "unreadable", "noise"), row)
        assert ledger.wanted("1.jpg") == []
        ledger.reject_missing()
        assert ledger.counts() == {"kept": 0, "rejected": {"unreadable": 1}, "subjects": 0, "label": None}


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Ledger() as ledger:
        ledger.add(FULL)
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_the_systems_error():
    with Ledger() as ledger:
        pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
        ledger._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match="TMPDIR") as caught:
            all(ledger.add(Row(sample_id=f"{i}", member="x" * 200)) for i in range(5000))
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


@settings(max_examples=25)
@given(subjects=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12), smallest=st.integers(2, 4))
def test_small_identities(subjects, smallest):
    with Ledger() as ledger:
        for i, subject in enumerate(subjects):
            row = Row(sample_id=f"{i:02d}", member=f"{i}.jpg", subject=subject)
            ledger.add(row)
            ledger.keep(row)
        ledger.reject_small_identities(smallest)
        kept = [row["subject"] for row in manifest(ledger)]
        rejected = ledger.counts()["rejected"]
    assert kept == [subject for subject in subjects if subjects.count(subject) >= smallest]
    assert sum(rejected.values()) == len(subjects) - len(kept)


def test_batches_are_bounded_and_sorted(monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    with Ledger() as ledger:
        for i in (9, 3, 7, 1, 5, 0, 8, 2, 6, 4):
            row = Row(sample_id=f"{i}", member=f"{i}.jpg")
            ledger.add(row)
            ledger.keep(row)
        batches = list(ledger.manifest())
    assert [batch.num_rows for batch in batches] == [4, 4, 2]
    assert [row["sample_id"] for batch in batches for row in batch.to_pylist()] == [f"{i}" for i in range(10)]
