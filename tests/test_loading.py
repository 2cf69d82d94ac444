"""Aligned Parquet comes back as it was written, in order, at the size asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agecascade.errors import TrainingError
from agecascade.loading import load_faces, resized
from agecascade.schema import ALIGNED


def write_part(folder: Path, number: int, images: np.ndarray, label: list[float | None], sigma: list[float | None]) -> None:
    folder.mkdir(exist_ok=True)
    count, size = len(images), images.shape[1]
    columns = {field.name: [None] * count for field in ALIGNED}
    columns |= {
        "sample_id": [f"{number}-{i}" for i in range(count)],
        "image": [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images],
        "width": [size] * count,
        "height": [size] * count,
        "detector": ["whole"] * count,
        "label": label,
        "label_sigma": sigma,
        "subject": [None if value is None else f"s{value:g}" for value in label],
    }
    pq.write_table(pa.table(columns, schema=ALIGNED), folder / f"part-{number:05d}.parquet")


def test_pictures_labels_and_ids_stay_together_over_parts(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), np.uint8)
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


def test_another_size_is_resampled(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (1, 16, 16, 3), np.uint8)
    write_part(tmp_path, 0, images, [1.0], [None])
    halved = load_faces(tmp_path, 8).images[0]
    expected = images[0].reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(halved, expected, atol=0.51)
    np.testing.assert_array_equal(resized(images[0], 16), images[0])


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no aligned face; look at its rejects\.parquet"):
        load_faces(tmp_path, 16)
