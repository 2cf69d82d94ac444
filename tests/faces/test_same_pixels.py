"""The align stage and the Estimator crop the same pixels from the same picture, however the face is found and framed."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from agecascade import synthetic
from agecascade.archives import open_archives
from agecascade.estimator import Estimator, FoldModel
from agecascade.faces import detectors
from agecascade.faces.align import align
from agecascade.faces.crops import TEMPLATE, transform_points
from agecascade.faces.detectors import Annotation, Face
from agecascade.imaging import decode_image, encode_image
from agecascade.model_folder import Crop
from agecascade.params import Align, Compute, DrawSettings
from agecascade.schema import MANIFEST
from model_folders import write_model

SIZE = 48


def aligned(tmp_path: Path, pictures: dict[str, bytes], settings: Align, detector: str) -> dict[str, np.ndarray]:
    """The crops of the align stage by the picture's name."""
    (tmp_path / "raw").mkdir(exist_ok=True)
    with zipfile.ZipFile(tmp_path / "raw" / "faces.zip", "w") as archive:
        for name, data in pictures.items():
            archive.writestr(name, data)
    rows = pa.Table.from_pylist([{"sample_id": name, "member": name} for name in pictures], schema=MANIFEST)
    pq.write_table(rows, tmp_path / "manifest.parquet")
    raw = open_archives(tmp_path / "raw")
    align(raw, tmp_path / "manifest.parquet", settings, detector, tmp_path / "aligned", Compute(workers=1), tmp_path / "work")
    rows = pa.concat_tables([pq.read_table(part) for part in sorted((tmp_path / "aligned").glob("part-*.parquet"))])
    return dict(zip(rows["sample_id"].to_pylist(), map(decode_image, rows["image"].to_pylist()), strict=True))


def used(
    tmp_path: Path, pictures: dict[str, bytes], settings: Align, detector: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, np.ndarray]:
    """The crops that a loaded model sees of the largest face of each picture; its card is that of a training with these settings."""
    template = [list(point) for point in TEMPLATE]
    detection = settings.detection.model_dump()
    crop = Crop(detector, settings.size, settings.margin, template, settings.crop, detection, trained_with="yunet")
    folder = write_model(tmp_path / "model", 3, image_size=SIZE, crop=json.loads(json.dumps(asdict(crop))))
    seen: list[np.ndarray] = []

    def predict(self: FoldModel, crops: np.ndarray) -> np.ndarray:
        seen.extend(crops)
        return np.zeros((3, len(crops)))

    monkeypatch.setattr(FoldModel, "predict", predict)
    (tmp_path / "photos").mkdir()
    for name, data in pictures.items():
        (tmp_path / "photos" / name).write_bytes(data)
    frame = Estimator.load(folder).predict([tmp_path / "photos" / name for name in pictures])
    cropped = frame[frame["error"].isna()].reset_index(drop=True)
    return {Path(row["path"]).name: seen[i] for i, row in cropped.iterrows() if row["face"] == 0}  # type: ignore[index, misc]


def assert_same(tmp_path: Path, pictures: dict[str, bytes], settings: Align, detector: str, monkeypatch: pytest.MonkeyPatch) -> int:
    ours = used(tmp_path, pictures, settings, detector, monkeypatch)
    stored = aligned(tmp_path, pictures, settings, detector)
    assert set(ours) == set(stored)
    for name, crop in stored.items():
        assert crop.shape == (SIZE, SIZE, 3)
        np.testing.assert_array_equal(ours[name], crop, err_msg=name)
    return len(stored)


class Fake:
    """A large and a small face whose places depend on the pixels that it is shown; none in dark pictures, NaN in blue ones."""

    batch = 3

    def __call__(self, images: Sequence[np.ndarray], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [self._faces(image) for image in images]

    @staticmethod
    def _faces(image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        red, green, blue = image.reshape(-1, 3).mean(axis=0)
        if max(image.shape[:2]) > 150:  # so that only smaller scales help
            return []
        if blue > 200:
            return [Face(np.array([np.nan, 0, 1, 1]), np.full((5, 2), np.nan), 0.9)]
        large, small = (side * min(height, width) for side in (0.5, 0.2))
        centre = np.array([width * (0.4 + red / 1300), height * (0.4 + green / 1300)])
        angle = np.radians(20 * green / 255)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        faces = []
        for side, middle in ((small, centre / 2), (large, centre)):
            points = transform_points((np.array(TEMPLATE) - 0.5) * side, np.column_stack([turn, middle]))
            faces.append(Face(np.concatenate([middle - side * 0.45, middle + side * 0.55]), points, 0.9))
        return faces


def noise(seed: int, height: int, width: int, colours: Any = (256, 256, 256)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, colours, (height, width, 3)).astype(np.uint8)


def written(image: np.ndarray, suffix: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, suffix, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def odd_pictures() -> dict[str, bytes]:
    """Small and large, turned by EXIF, transparent, grey; one in which nothing sound is found."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return {
        "small.png": encode_image(noise(0, 90, 70), "png", 100),
        "large.jpg": encode_image(noise(1, 300, 500, (256, 200, 90)), "jpeg", 90),
        "lying.jpg": written(noise(2, 120, 80), "JPEG", exif=exif),
        "alpha.png": written(np.dstack([noise(3, 60, 90), noise(4, 60, 90)[:, :, 0]]), "PNG"),
        "grey.webp": written(noise(5, 100, 130)[:, :, 0], "WEBP", quality=80),
        "blue.png": encode_image(noise(6, 90, 90, (99, 99, 256)) | np.array([0, 0, 250], np.uint8), "png", 100),
    }


@pytest.mark.parametrize("kind", ["similarity", "box", "hull"])
@pytest.mark.parametrize("margin", [0.0, 0.4, -0.1])
def test_any_crop_of_a_detector_is_the_same(
    kind: str, margin: float, tmp_path: Path, odd_pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(detectors.DETECTORS, "fake", lambda detection: Fake())
    detection = {"max_side": 200, "scales": [0.7], "rotations": [30.0]}
    settings = Align.model_validate(
        {"size": SIZE, "crop": kind, "margin": margin, "encoding": "png", "detection": detection, "max_reject_rate": 0.5}
    )
    assert assert_same(tmp_path, odd_pictures, settings, "fake", monkeypatch) == len(odd_pictures) - 1


@pytest.fixture
def with_yunet(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    monkeypatch.setattr(detectors, "_per_thread", threading.local())


@pytest.fixture(scope="module")
def drawn_faces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("drawn")
    synthetic.write("fgnet", folder, DrawSettings(pictures=24, subjects=6), 0, 1)
    archive = open_archives(folder)
    return {Path(member.name).name: member.read() for member in archive.members((".jpg", ".JPG"))}


@pytest.mark.usefixtures("with_yunet")
@pytest.mark.parametrize("kind", ["similarity", "box", "hull"])
def test_drawn_faces_found_by_yunet_are_cropped_the_same(
    kind: str, tmp_path: Path, drawn_faces: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    detection = {"min_score": 0.5, "max_side": 128, "scales": [0.5, 2.0], "rotations": [20.0]}
    settings = Align.model_validate(
        {"size": SIZE, "crop": kind, "margin": 0.1, "encoding": "png", "detection": detection, "max_reject_rate": 1.0}
    )
    assert assert_same(tmp_path, drawn_faces, settings, "yunet", monkeypatch) >= 12


@pytest.mark.usefixtures("with_yunet")
def test_real_faces_found_by_yunet_are_cropped_the_same(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[::60]
        pictures = {Path(name).name: archive.read(name) for name in names}
    settings = Align.model_validate(
        {"size": SIZE, "encoding": "png", "detection": {"max_side": 300, "scales": [0.5]}, "max_reject_rate": 1.0}
    )
    assert assert_same(tmp_path, pictures, settings, "yunet", monkeypatch) >= 15
