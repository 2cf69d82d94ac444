"""Faces that a worker loads from the shared file system are those that the sender has."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from agecascade.errors import ComputeError
from agecascade.loading.faces import load_cached_faces
from agecascade.loading.shared import SharedFaces
from agecascade.loading.streaming import Streamed
from aligned_parts import write_part


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    write_part(tmp_path / "faces", 0, images, [float(age) for age in range(12)], [None] * 12)
    return tmp_path / "faces"


@pytest.mark.parametrize("cache_gib", [1.0, 0.0])
def test_a_worker_s_faces_have_the_sender_s_name_and_pictures(folder: Path, cache_gib: float) -> None:
    sent = pickle.dumps(SharedFaces.of(folder, 16, cache_gib))
    assert len(sent) < 1_000
    ours, theirs = load_cached_faces(folder, 16, cache_gib), pickle.loads(sent).load()
    assert isinstance(theirs.images, Streamed) == (cache_gib == 0)
    assert theirs.images.digest == ours.images.digest  # type: ignore[union-attr]
    np.testing.assert_array_equal(np.asarray(theirs.images), np.asarray(ours.images))
    np.testing.assert_array_equal(theirs.label, ours.label)
    assert pickle.loads(sent).load() is theirs  # a process loads them once


@pytest.mark.parametrize("gone", ["faces", ".agecascade/cache"])
def test_a_folder_that_a_worker_does_not_see_is_named(folder: Path, gone: str) -> None:
    shared = SharedFaces.of(folder, 16, 1.0)
    shutil.rmtree(folder.parent / gone)
    with pytest.raises(ComputeError, match=rf"does not see {folder} as this stage does; .* or compute\.backend: local$"):
        shared.load()
