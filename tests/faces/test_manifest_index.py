"""The manifest by member."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.faces import manifest_index as module
from agecascade.faces.manifest_index import ManifestIndex
from agecascade.schema import MANIFEST


def index_of(folder: Path, rows: list[dict[str, Any]]) -> ManifestIndex:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{"sample_id": f"id{i}", **row} for i, row in enumerate(rows)], schema=MANIFEST)
    pq.write_table(table, folder / "manifest.parquet", row_group_size=3)
    return ManifestIndex(folder / "manifest.parquet", folder)


def test_a_member_gives_its_rows_once_and_in_order(tmp_path: Path) -> None:
    index = index_of(tmp_path, [{"member": name} for name in ("b.jpg", "a.jpg", "b.jpg", "c.jpg")])
    assert len(index) == 4
    assert index.rows("b.jpg") == [0, 2]
    assert index.rows("b.jpg") == []
    assert index.rows("absent.jpg") == []
    assert index.rows("a.jpg") == [1]
    assert index.unseen().tolist() == [3]
    assert (index.member(3), index.sample_id(3)) == ("c.jpg", "id3")


def test_a_row_tells_its_annotation(tmp_path: Path) -> None:
    points = [float(i) for i in range(12)]
    index = index_of(tmp_path, [{"member": "a", "landmarks": points}, {"member": "b", "box": [1.0, 2.0, 3.0, 4.0]}, {"member": "c"}])
    known = index.annotation(0)
    assert known.landmarks is not None
    np.testing.assert_array_equal(known.landmarks, np.array(points).reshape(6, 2))
    assert known.box is None
    np.testing.assert_array_equal(index.annotation(1).box, [1, 2, 3, 4])
    assert (index.annotation(2).landmarks, index.annotation(2).box) == (None, None)


def test_rows_are_taken_across_batches_in_the_order_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    index = index_of(tmp_path, [{"member": f"{i}.jpg", "label": float(i)} for i in range(11)])
    table = index.take([10, 0, 4, 3], ["sample_id", "label"])
    assert table.column_names == ["sample_id", "label"]
    assert table["label"].to_pylist() == [10, 0, 4, 3]
    assert table["label"].num_chunks == 1


def test_members_that_share_a_key_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_key", lambda member: len(member))
    index = index_of(tmp_path, [{"member": name} for name in ("aa", "bb", "c", "aa")])
    assert index.rows("bb") == [1]
    assert index.rows("aa") == [0, 3]
    assert index.unseen().tolist() == [2]


def test_an_empty_manifest_has_no_rows(tmp_path: Path) -> None:
    index = index_of(tmp_path, [])
    assert len(index) == 0
    assert index.rows("a.jpg") == []
    assert index.unseen().tolist() == []


@settings(max_examples=30, deadline=None)
@given(members=st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=30))
def test_every_row_is_found_by_its_member(members: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    index = index_of(tmp_path_factory.mktemp("index"), [{"member": name} for name in members])
    for name in dict.fromkeys(members):
        assert index.rows(name) == [row for row, other in enumerate(members) if other == name]
    assert index.unseen().tolist() == []


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells resident memory by Linux's /proc/self/smaps")
def test_what_was_looked_at_leaves_memory_when_forgotten(tmp_path: Path) -> None:
    index = index_of(tmp_path, [{"member": f"{i}.jpg", "landmarks": [float(i)] * 136} for i in range(2_000)])
    first = [index.annotation(row).landmarks for row in range(len(index))]
    assert resident_bytes(tmp_path / "manifest.arrow") > 1_000_000
    index.forget()
    assert resident_bytes(tmp_path / "manifest.arrow") == 0
    np.testing.assert_array_equal([index.annotation(row).landmarks for row in range(len(index))], first)


def resident_bytes(path: Path) -> int:
    """How much of a mapped file counts as this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    result = 0
    for line in lines:
        if line.endswith(str(path)):
            result += 1024 * int(next(line for line in lines if line.startswith("Rss:")).split()[1])
    return result
