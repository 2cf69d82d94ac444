"""The cache of decoded pictures: the same bits, made once, never half, gone when stale."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agecascade.augmentation import Augmenter
from agecascade.errors import TrainingError
from agecascade.loading import cache as caching
from agecascade.loading import load_faces
from agecascade.params import Augment, Normalisation
from aligned_parts import write_part
from images import noise_batch

CHANNELS = Normalisation(mean=[0.6, 0.46, 0.41], std=[0.27, 0.24, 0.23])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = noise_batch(22, 16)
    write_part(tmp_path / "aligned", 0, images[:9], [1.0] * 9, [None] * 9)
    write_part(tmp_path / "aligned", 1, images[9:], [2.0] * 13, [None] * 13)
    return tmp_path / "aligned"


def cache_entries(root: Path) -> list[str]:
    """The names of the caches, whole or not."""
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_batches_from_the_cache_are_those_from_memory_to_the_bit(folder: Path, tmp_path: Path) -> None:
    memory, mapped = load_faces(folder, 12), load_faces(folder, 12, cache=tmp_path / "cache")
    again = load_faces(folder, 12, cache=tmp_path / "cache")
    augmenter, rows = Augmenter(Augment(), CHANNELS), np.array([3, 21, 0, 9])
    expected = augmenter(memory.images[rows], np.random.default_rng(0))
    for faces in (mapped, again):
        assert isinstance(faces.images.array.base, np.memmap)  # type: ignore[union-attr]
        np.testing.assert_array_equal(faces.images, memory.images)
        assert augmenter(faces.images[rows], np.random.default_rng(0)).equal(expected)
        assert faces.images.digest == memory.images.digest  # type: ignore[union-attr]
    assert len(cache_entries(tmp_path / "cache")) == 1


def test_it_is_made_once_for_the_same_content_wherever_it_lies(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_faces(folder, 16, cache=tmp_path / "cache")
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setattr(caching, "_write", lambda *arguments: pytest.fail("decoded again"))
    faces = load_faces(tmp_path / "copy", 16, cache=tmp_path / "cache")
    shutil.rmtree(folder)
    np.testing.assert_array_equal(load_faces(tmp_path / "copy", 16, cache=tmp_path / "cache").images, faces.images)


def test_sizes_stand_side_by_side_and_stale_ones_go(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    before = load_faces(folder, 16, cache=root)
    load_faces(folder, 8, cache=root)
    first = cache_entries(root)
    assert len(first) == 2
    pixels = np.asarray(before.images)
    write_part(folder, 2, np.zeros((2, 16, 16, 3), np.uint8), [3.0, 3.0], [None, None])
    assert len(load_faces(folder, 16, cache=root)) == 24
    assert len(set(cache_entries(root)) & set(first)) == 1  # that of the other size, which nobody has asked for since
    np.testing.assert_array_equal(before.images, pixels)  # who maps a removed cache keeps it


def test_caches_of_folders_that_are_gone_are_removed(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    load_faces(folder, 16, cache=root)
    shutil.copytree(folder, tmp_path / "other")
    write_part(tmp_path / "other", 0, np.zeros((2, 16, 16, 3), np.uint8), [3.0, 3.0], [None, None])
    shutil.rmtree(folder)
    load_faces(tmp_path / "other", 16, cache=root)
    assert len(cache_entries(root)) == 1
    assert json.loads(next(root.glob("*/source.json")).read_text())["folder"] == str(tmp_path / "other")


SLOW_WRITER = """
import sys, time
from pathlib import Path
from agecascade.loading import cache, load_faces
real = cache._blocks
def slowly(shards, size):
    for block in real(shards, size):
        yield block
        print("block", flush=True)
        time.sleep(30)
cache._blocks = slowly
load_faces(Path(sys.argv[1]), 16, cache=Path(sys.argv[2]))
"""


@pytest.fixture
def writer(folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written a part of a cache and holds its lock."""
    command = [sys.executable, "-c", SLOW_WRITER, str(folder), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "src"}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_killed_writer_leaves_nothing_that_is_taken_for_a_cache(writer: subprocess.Popen[str], folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert [name.startswith(".") for name in cache_entries(root)] == [True]
    np.testing.assert_array_equal(load_faces(folder, 16, cache=root).images, load_faces(folder, 16).images)
    assert [name.startswith(".") for name in cache_entries(root)] == [False]


def test_a_second_run_waits_for_the_first(writer: subprocess.Popen[str], folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW_WRITER.replace("time.sleep(30)", "pass"), str(folder), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "src"}) as second:
        time.sleep(3)
        assert second.poll() is None
        assert len(cache_entries(tmp_path / "cache")) == 1
        writer.kill()
        assert second.wait(60) == 0
    assert len(cache_entries(tmp_path / "cache")) == 1


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match=r"aligned take .* GiB and .*cache has 0 GiB left; make room, or set compute.cache_gib below"):
        load_faces(folder, 16, cache=tmp_path / "cache")
    assert cache_entries(tmp_path / "cache") == []


def test_a_disk_that_fills_up_is_told_and_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> Iterator[np.ndarray]:
        yield np.zeros(10, np.uint8)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching, "_blocks", full)
    with pytest.raises(TrainingError, match=r"make room, or set compute\.cache_gib"):
        load_faces(folder, 16, cache=tmp_path / "cache")
    assert cache_entries(tmp_path / "cache") == []
