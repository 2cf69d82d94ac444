"""Aligned Parquet comes back as it was written, in order, at the size asked for, wherever the pictures are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agecascade.errors import TrainingError
from agecascade.loading import OnDevice, Pictures, Stored, images_digest, load_faces, order, resized
from agecascade.loading.pictures import on_device
from aligned_parts import write_part
from images import noise_batch


def test_pictures_labels_and_ids_stay_together_over_parts(tmp_path: Path) -> None:
    images = noise_batch(5, 16)
    write_part(tmp_path, 0, images[:3], [1.0, None, 3.0], [0.5, None, None])
    write_part(tmp_path, 1, images[3:], [4.0, 5.0], [None, 2.0])
    faces = load_faces(tmp_path, 16)
    assert faces.sample_id.tolist() == ["0-0", "0-1", "0-2", "1-0", "1-1"]
    np.testing.assert_array_equal(faces.images, images)
    np.testing.assert_array_equal(faces.label, [1, np.nan, 3, 4, 5])
    np.testing.assert_array_equal(faces.sigma, [0.5, np.nan, np.nan, np.nan, 2])
    assert faces.subject.tolist() == ["s1", "", "s3", "s4", "s5"]
    some = faces.take(faces.label > 3)
    assert some.sample_id.tolist() == ["1-0", "1-1"]
    np.testing.assert_array_equal(some.images, images[3:])


def test_a_folder_without_any_subject(tmp_path: Path) -> None:
    images = np.zeros((2, 16, 16, 3), np.uint8)
    write_part(tmp_path, 0, images, [None, None], [None, None])
    faces = load_faces(tmp_path, 16)
    assert faces.subject.tolist() == ["", ""]
    assert np.isnan(faces.label).all()


def test_another_size_is_resampled(tmp_path: Path) -> None:
    images = noise_batch(1, 16)
    write_part(tmp_path, 0, images, [1.0], [None])
    halved = load_faces(tmp_path, 8).images[0]
    expected = images[0].reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(halved, expected, atol=0.51)
    np.testing.assert_array_equal(resized(images[0], 16), images[0])


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no aligned face; look at its rejects\.parquet"):
        load_faces(tmp_path, 16)


@pytest.mark.parametrize("kind", ["stored", "device"])
def test_parts_of_pictures_are_indices(kind: str) -> None:
    images = noise_batch(6, 8)
    pictures: Pictures = Stored(images) if kind == "stored" else OnDevice(torch.from_numpy(images))
    part = pictures.take(np.array([5, 1, 3])).take(np.array([True, False, True]))
    assert part.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(part.batch(np.array([1, 0, 1])), images[[3, 5, 3]])
    np.testing.assert_array_equal(part[0], images[5])
    np.testing.assert_array_equal(part[1:], images[[3]])
    np.testing.assert_array_equal(part, images[[5, 3]])
    assert len(pictures.take(np.array([], int))) == 0


def test_pictures_in_memory_are_shared_by_their_parts() -> None:
    pictures = Stored(np.zeros((6, 8, 8, 3), np.uint8))
    assert np.shares_memory(pictures.take(np.array([1, 2])).array, pictures.array)  # type: ignore[attr-defined]


def test_orders_of_kept_pictures_are_the_generators_permutation() -> None:
    images = np.zeros((20, 4, 4, 3), np.uint8)
    expected = np.random.default_rng(3).permutation(20)
    for kind in (images, Stored(images), OnDevice(torch.from_numpy(images))):
        assert np.array_equal(order(kind, np.random.default_rng(3)), expected)


def test_digests_tell_pictures_and_orders_apart() -> None:
    images = noise_batch(3, 4)
    pictures = Stored(images, "a")
    assert images_digest(pictures) == images_digest(Stored(images, "a"))
    others = [Stored(images, "b"), pictures.take(np.array([0, 2, 1])), pictures.take(np.array([0, 1]))]
    assert len({images_digest(pictures), *map(images_digest, others)}) == 4
    assert images_digest(images) != images_digest(images[::-1])


def test_a_device_takes_them_whole_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agecascade.loading.pictures.CHUNK_BYTES", 500)
    images = noise_batch(7, 8)
    loaded = on_device(Stored(images, "a").take(np.arange(1, 7)), torch.device("cpu"))
    assert isinstance(loaded, OnDevice)
    np.testing.assert_array_equal(loaded, images[1:])
    assert loaded.digest != OnDevice(torch.from_numpy(images), "a").digest


def test_a_device_that_is_too_small_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Stored(np.zeros((7, 8, 8, 3), np.uint8))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2000, 4000))
    assert on_device(pictures, torch.device("cuda", 0)) is pictures
