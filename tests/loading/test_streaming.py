"""Pictures decoded as they are used: the right ones in any order, each read once in its own, the same order for the same generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agecascade.loading import Faces, load_faces, order
from agecascade.loading.streaming import Shards, Streamed
from aligned_parts import write_part
from images import noise_batch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = noise_batch(90, 16)
    for number in range(3):
        write_part(tmp_path / "aligned", number, images[number * 30 : number * 30 + 30], [1.0] * 30, [None] * 30)
    return tmp_path / "aligned"


@pytest.fixture
def faces(folder: Path) -> Faces:
    return load_faces(folder, 16)


def streamed(folder: Path, window_bytes: int = 20_000) -> Streamed:
    """With windows of some six groups of four pictures."""
    return Streamed(Shards(folder), 16, "a", window_bytes=window_bytes)


def test_data_sets_above_the_budget_are_streamed(folder: Path, tmp_path: Path) -> None:
    loaded = load_faces(folder, 16, cache=tmp_path / "cache", cache_gib=1e-6)
    assert isinstance(loaded.images, Streamed)
    assert not (tmp_path / "cache").exists()


def test_any_rows_are_the_right_pictures(folder: Path, faces: Faces) -> None:
    pictures = streamed(folder)
    for rows in (np.arange(5), np.array([3, 3, 2]), np.array([89, 0, 45, 12, 70]), np.array([], int)):
        np.testing.assert_array_equal(pictures.batch(rows), np.asarray(faces.images)[rows])
    chosen = np.array([80, 3, 44, 45, 46, 2])
    part = pictures.take(chosen)
    np.testing.assert_array_equal(part, np.asarray(faces.images)[chosen])
    np.testing.assert_array_equal(part[1:3], np.asarray(faces.images)[[3, 44]])


def test_an_epoch_holds_each_picture_once_and_reads_each_group_once(folder: Path, faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = np.flatnonzero(np.arange(90) % 5 != 2)
    pictures = streamed(folder).take(chosen)
    read: list[int] = []
    real = Shards.pictures
    monkeypatch.setattr(Shards, "pictures", lambda self, shard, rows=None: (read.append(shard.start), real(self, shard, rows))[1])
    rows = order(pictures, np.random.default_rng([0, 1]))
    assert sorted(rows.tolist()) == list(range(len(chosen)))
    for start in range(0, len(rows), 7):
        some = rows[start : start + 7]
        np.testing.assert_array_equal(pictures.batch(some), np.asarray(faces.images)[chosen[some]])
    assert len(read) == len(set(read)) == 24


def test_the_order_is_decided_by_seed_and_epoch(folder: Path) -> None:
    first, second = (order(streamed(folder), np.random.default_rng([0, 1])) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, order(streamed(folder), np.random.default_rng([0, 2])))
    assert not np.array_equal(first, np.sort(first))


def test_pictures_are_shuffled_within_windows_of_groups(folder: Path) -> None:
    rows = order(streamed(folder), np.random.default_rng(0))
    group = rows // 30 * 8 + rows % 30 // 4  # row groups of four, the last of each part of two
    first_seen = {number: np.flatnonzero(group == number) for number in range(24)}
    spans = [places.max() - places.min() for places in first_seen.values()]
    assert max(spans) < 32  # a group stays within its window
    assert min(first_seen, key=lambda number: first_seen[number].min()) != 0  # and windows come in an order of their own
    assert any(places.max() - places.min() > 3 for places in first_seen.values())  # in which groups mix


def test_one_window_shuffles_everything(folder: Path) -> None:
    rows = order(streamed(folder, 1 << 30), np.random.default_rng(0))
    assert np.corrcoef(rows, np.arange(90))[0, 1] < 0.3


def test_only_a_few_windows_are_held(folder: Path) -> None:
    pictures = streamed(folder)
    rows = order(pictures, np.random.default_rng(0))
    for start in range(0, 90, 10):
        pictures.batch(rows[start : start + 10])
        assert len(pictures._read_ahead) <= 3
