"""The Estimator: rows per face, intervals, folds, and the faults of a model folder."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error

import agecascade
from agecascade import released
from agecascade.age_thresholds import AgeCheck
from agecascade.conformal import Interval
from agecascade.errors import FaceError, ModelError
from agecascade.estimator import BATCH_ROWS, COLUMNS, Columns, Estimator, FaceRow
from agecascade.faces import detectors
from agecascade.faces import rows as rows_module
from agecascade.faces.crops import TEMPLATE, Frame
from agecascade.faces.detectors import Annotation, Face
from agecascade.faces.face import Image
from agecascade.faces.photos import PYRAMID
from agecascade.faces.rows import BOX
from agecascade.imaging import decode_image, encode_image
from agecascade.model_folder import save
from agecascade.params import Detection
from agecascade.runtimes import torch_runtime
from fold_models import random_model
from forms import some
from images import noise
from model_folders import CROP, GRID, SIZE, write_model


class Brightness:
    """In a fold's place: the value is the crop's mean, the interval one either way; remembers its crops."""

    at_once = 32

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.crops: list[Image] = []

    def predict(self, crops: Image) -> np.ndarray:
        self.crops.append(crops)
        value = crops.mean(axis=(1, 2, 3))
        return np.stack([value, value - 1, value + 1])


def brightness(size: int = SIZE, margin: float = 0.0) -> tuple[Estimator, Brightness]:
    fold = Brightness(Frame(size, margin))
    return Estimator([fold]), fold  # type: ignore[list-item]


def test_a_model_folder_gives_values_and_intervals(tmp_path: Path) -> None:
    images = [noise(0, SIZE, SIZE), noise(1, SIZE, SIZE)]
    frame = agecascade.Estimator.load(write_model(tmp_path / "model", 3)).predict(images, aligned=True)
    assert list(frame.columns) == COLUMNS
    assert frame["path"].tolist() == ["0", "1"]
    assert frame["face"].tolist() == [0, 0]
    np.testing.assert_allclose(frame[["value", "low", "high"]], [[30, 28, 32]] * 2, atol=1e-3)
    assert frame[BOX].to_numpy().tolist() == [[0, 0, SIZE, SIZE]] * 2
    assert frame["score"].isna().all()
    assert frame["error"].isna().all()


def test_the_folds_of_a_parent_folder_are_averaged_and_ends_are_clipped_fold_by_fold(tmp_path: Path) -> None:
    write_model(tmp_path / "row" / "fold0", 0)  # 0, 0 to 2
    write_model(tmp_path / "row" / "fold1", 6, interval={"coverage": 0.8, "quantile": 3.0, "scaled": False})  # 60, 57 to 63
    frame = Estimator.load(tmp_path / "row").predict(noise(0, SIZE, SIZE), aligned=True)
    np.testing.assert_allclose(frame[["value", "low", "high"]], [[30, 28.5, 32.5]], atol=1e-3)


def write_fold_of(folder: Path, outputs: list[float], decoding: str, quantile: float, **changes: Any) -> None:
    """A model folder whose network gives these outputs to every picture."""
    interval = Interval(coverage=0.8, quantile=quantile, scaled=False)
    model = random_model(grid=4, method_options={"decoding": decoding}, interval=interval, **changes)
    for parameter, value in zip(model.network.head.parameters(), (torch.tensor(0.0), torch.tensor(outputs)), strict=True):
        parameter.data[:] = value
    save(folder, model.network, model.card, [])


@pytest.mark.parametrize(
    ("decoding", "value", "low", "high"),
    [
        # of (0.45, 0.1, 0.1, 0.35) and (0.1, 0.1, 0.1, 0.7) over the ages 0 to 3, whose mean is (0.275, 0.1, 0.1, 0.525)
        ("mode", 3.0, (2.5 + 2.0) / 2, 3.0),  # not 1.5, the mean of 0 and 3
        ("median", 3.0, (2.5 + 2.0) / 2, 3.0),  # not 2, the mean of 1 and 3
        ("expectation", (1.35 + 2.4) / 2, (0.85 + 1.4) / 2, (1.85 + 3.0) / 2),
    ],
)
def test_the_mode_and_median_of_folds_are_those_of_their_mean_distribution(
    tmp_path: Path, decoding: str, value: float, low: float, high: float
) -> None:
    for fold, (masses, quantile) in enumerate([((0.45, 0.1, 0.1, 0.35), 0.5), ((0.1, 0.1, 0.1, 0.7), 1.0)]):
        write_fold_of(tmp_path / f"fold{fold}", np.log(masses).tolist(), decoding, quantile, fold=fold)
    estimator = Estimator.load(tmp_path)
    frame = estimator.predict([noise(0, SIZE, SIZE), noise(1, SIZE, SIZE)], aligned=True, threshold=2, challenge=2.5)
    np.testing.assert_allclose(frame[["value", "low", "high", "probability"]], [[value, low, high, (0.45 + 0.8) / 2]] * 2, atol=1e-5)
    assert frame["decision"].tolist() == ["challenge" if value < 2.5 else "pass"] * 2


def test_counts_of_folds_are_averaged_for_no_distribution_is_read(tmp_path: Path) -> None:
    for fold, outputs in enumerate([[1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]):  # 1 and 3 of 3 outputs are above one half
        write_fold_of(tmp_path / f"fold{fold}", outputs, "count", 0.5, fold=fold, method="ranking")
    assert Estimator.load(tmp_path).predict(noise(0, SIZE, SIZE), aligned=True)["value"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("backbone", "size", "changes"),
    some(
        [
            ("resnet18", 32, {}),
            ("vgg16_nofc", 16, {"pooling": "average"}),
            ("tinyagenet", 16, {}),
            ("c3ae", 32, {}),
            ("resnet18", 32, {"method": "daa"}),
            ("timm/vit_tiny_patch16_224", 64, {}),
        ],
        3,
    ),
)
def test_a_network_that_cannot_take_its_own_pictures_is_told_before_any(
    tmp_path: Path, backbone: str, size: int, changes: dict[str, Any]
) -> None:
    model = random_model(backbone, size, **changes)
    save(tmp_path, model.network, model.card, [])
    with pytest.raises(
        ModelError, match=rf"model.json: {backbone} cannot take pictures of {size} pixels \(.*\); set image_size to"
    ) as caught:
        Estimator.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_folds_that_are_decoded_otherwise_are_no_folds_of_one_model(tmp_path: Path) -> None:
    for fold, decoding in enumerate(["mode", "median"]):
        write_fold_of(tmp_path / f"fold{fold}", [0.0] * 4, decoding, 0.5, fold=fold)
    with pytest.raises(ModelError, match=r"fold1/model.json: `method_options` differs from fold0's; folds of one model share it"):
        Estimator.load(tmp_path)


def test_a_scaled_interval_follows_the_width_of_the_distribution(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 3, interval={"coverage": 0.8, "quantile": 10.0, "scaled": True})
    frame = Estimator.load(folder).predict(noise(0, SIZE, SIZE), aligned=True)
    # all the mass on one age: the width is floored at a thousandth of the grid's 70 years
    np.testing.assert_allclose(frame[["value", "low", "high"]], [[30, 29.3, 30.7]], atol=1e-3)


def test_a_model_without_an_interval_still_has_values(tmp_path: Path) -> None:
    frame = Estimator.load(write_model(tmp_path / "model", 3, interval=None)).predict(noise(0, SIZE, SIZE), aligned=True)
    np.testing.assert_allclose(frame[["value", "low", "high"]], [[30, np.nan, np.nan]], atol=1e-3)


def test_aligned_takes_a_crop_of_the_final_size_as_it_is_and_reduces_others() -> None:
    estimator, fold = brightness(margin=0.2)
    large = noise(1, 2 * SIZE, 2 * SIZE)
    frame = estimator.predict([noise(0, SIZE, SIZE), large], aligned=True)
    np.testing.assert_array_equal(fold.crops[0][0], noise(0, SIZE, SIZE))
    assert np.abs(fold.crops[0][1] - large.reshape(SIZE, 2, SIZE, 2, 3).mean(axis=(1, 3))).max() <= 0.5
    np.testing.assert_allclose(frame["value"], [noise(0, SIZE, SIZE).mean(), fold.crops[0][1].mean()])


def test_what_cannot_be_read_is_a_row_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(noise(0, SIZE, SIZE), "png", 100))
    (tmp_path / "b.png").write_bytes(b"no picture")
    estimator, _ = brightness()
    frame = estimator.predict([tmp_path / "b.png", str(tmp_path / "a.png"), tmp_path / "c.png"], aligned=True)
    assert frame["path"].tolist() == [str(tmp_path / name) for name in ["b.png", "a.png", "c.png"]]
    assert frame["value"].isna().tolist() == [True, False, True]
    assert frame["face"].isna().tolist() == [True, False, True]
    assert frame["error"][0].startswith("its 10 bytes are no picture of a format that is read (JPEG, PNG, WebP,")
    assert frame["error"].isna().tolist() == [False, True, False]
    assert frame["error"][2] == "cannot be read: No such file or directory"
    np.testing.assert_allclose(frame["value"][1], noise(0, SIZE, SIZE).mean())


def test_nothing_at_all_is_an_empty_frame() -> None:
    estimator, _ = brightness()
    assert list(estimator.predict([], aligned=True).columns) == COLUMNS


def test_pictures_are_taken_as_they_are_needed() -> None:
    taken = []

    def pictures() -> Iterator[Image]:
        for i in range(3 * BATCH_ROWS):
            taken.append(i)
            yield noise(i, SIZE, SIZE)

    estimator, fold = brightness()
    batches = estimator.predict_batches(pictures(), aligned=True)
    assert len(next(batches)) == BATCH_ROWS
    assert len(taken) == BATCH_ROWS
    rest = pd.concat(list(batches))
    assert rest["path"].tolist() == [str(i) for i in range(BATCH_ROWS, 3 * BATCH_ROWS)]
    assert max(map(len, fold.crops)) == Brightness.at_once


def test_a_folder_is_searched_through_in_order(tmp_path: Path) -> None:
    for name in ["b.PNG", "a/z.png", "a/notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode_image(noise(0, SIZE, SIZE), "png", 100))
    frame = brightness()[0].predict(tmp_path, aligned=True)
    assert frame["path"].tolist() == [str(tmp_path / "a" / "z.png"), str(tmp_path / "b.PNG")]


def test_what_is_no_picture_costs_one_row(tmp_path: Path) -> None:
    estimator, _ = brightness()
    good = noise(0, SIZE, SIZE)
    frame = estimator.predict([good, None, np.nan, 7, good[:, :, 0], torch.zeros(3, 8, 8), [good], good], aligned=True)
    assert frame["path"].tolist() == [str(i) for i in range(8)]
    assert frame["error"].isna().tolist() == [True, *[False] * 6, True]
    assert frame["error"][1].startswith("None is no picture; wanted is a path, encoded bytes")
    assert frame["error"][2].startswith("a float is no picture")
    assert frame["error"][4] == f"RGB uint8 (H, W, 3) is wanted, found uint8 ({SIZE}, {SIZE})"
    assert frame["error"][5] == "RGB uint8 (3, H, W) or (H, W, 3) is wanted, found float32 (3, 8, 8)"


def test_a_crop_that_is_too_small_is_told_so() -> None:
    frame = brightness()[0].predict(noise(0, 3, 3), aligned=True)
    assert frame["error"].tolist() == ["3 x 3 pixels are too few for a face"]


def test_a_photo_of_too_many_pixels_is_a_row_with_an_error(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(encode_image(noise(0, 60, 50), "png", 100))
    estimator, _ = brightness()
    estimator.detector, estimator.max_megapixels = "fake", 0.0025
    frame = estimator.predict([tmp_path / "large.png", noise(0, 60, 50), noise(0, 50, 50)])
    assert frame["error"].tolist()[:2] == ["50 x 60 pixels are more than 0.0025 megapixels"] * 2
    assert frame["error"].isna()[2]
    assert fake.calls == [[(50, 50)]]


@pytest.mark.parametrize("limit", [0, -1, 501, np.inf, np.nan])
def test_a_limit_of_pixels_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(FaceError, match="max_megapixels is above 0 and at most 500, found"):
        Estimator([Brightness(Frame(SIZE))], max_megapixels=limit)  # type: ignore[list-item]


def test_a_crop_that_opencv_fails_at_costs_one_row(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rows_module.cut

    def fail(picture: Image, *arguments: Any) -> Any:
        if picture.shape[0] == 51:
            raise cv2.error("too large")
        return real(picture, *arguments)

    monkeypatch.setattr(rows_module, "cut", fail)
    estimator, _ = brightness()
    estimator.detector = "fake"
    frame = estimator.predict([noise(0, 51, 50), noise(0, 50, 50)])
    assert frame["error"].tolist()[0] == "OpenCV cannot crop it: too large"
    assert frame["error"].isna()[1]


@pytest.fixture
def portraits(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Six FG-NET pictures of six subjects by their member names."""
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    monkeypatch.setattr(detectors, "_per_thread", threading.local())
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[::170]
        return {name: archive.read(name) for name in names}


def test_every_face_of_a_picture_has_its_row_the_largest_first(portraits: dict[str, bytes]) -> None:
    large = decode_image(next(iter(portraits.values())))
    small = cv2.resize(large, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.zeros((large.shape[0], small.shape[1] + large.shape[1], 3), np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = large
    frame = brightness()[0].predict([both, np.zeros((100, 100, 3), np.uint8)])
    assert frame["face"].tolist()[:2] == [0, 1]
    assert frame["path"].tolist() == ["0", "0", "1"]
    assert frame["left"][0] > small.shape[1] > frame["right"][1]
    assert frame["score"][:2].between(0.7, 1.01).all()
    assert frame["error"][2] == "no face found"
    assert np.isnan(frame["value"][2])


class Fake:
    """Answers by the picture's height; remembers how many pictures came at once, and their sizes."""

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.calls: list[list[tuple[int, int]]] = []

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        self.calls.append([(image.shape[0], image.shape[1]) for image in images])
        return [self._faces(image) for image in images]

    @staticmethod
    def _faces(image: Image) -> list[Face]:
        if image.shape[0] == 41:
            raise cv2.error("no memory")
        if image.shape[0] == 42:
            return [Face(np.array([np.nan, 0, 10, 10]), None, 0.5)]
        return [] if image.shape[0] == 43 else [Face(np.array([4.0, 6, 24, 26]), np.array(TEMPLATE) * 20 + [[4, 6]], 0.75)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setitem(detectors.DETECTORS, "fake", lambda detection: fake)
    return fake


def test_a_photo_is_looked_at_as_the_card_says(tmp_path: Path, fake: Fake) -> None:
    detection = Detection(max_side=64, scales=[0.5]).model_dump()
    folder = write_model(tmp_path / "model", 3, crop=CROP | {"detector": "fake", "crop": "box", "detection": detection})
    frame = Estimator.load(folder).predict([noise(0, 40, 50), noise(1, 43, 50), noise(2, 128, 64)])
    assert fake.calls == [[(40, 50)], [(43, 50)], [(22, 25)], [(64, 32)], [(128, 64)]]  # the last is longer than max_side: a finer level
    assert frame[BOX].to_numpy().tolist() == [[4, 6, 24, 26], [8, 12, 48, 51], [8, 12, 48, 52]]
    assert frame["score"].tolist() == [0.75] * 3


def test_small_faces_are_searched_for_in_photos_whatever_training_did(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 3, crop=CROP | {"detection": Detection(pyramid=3, min_score=0.5).model_dump()})
    assert Estimator.load(folder).detection == Detection(pyramid=3, min_score=0.5, runtime="onnxruntime")
    plain, others = write_model(tmp_path / "plain", 3), Detection(pyramid=PYRAMID, runtime="onnxruntime")
    assert Estimator.load(plain).detection == others
    assert Estimator.load(plain, max_side=1280, min_score=0.9).detection == others.model_copy(update={"max_side": 1280, "min_score": 0.9})


@pytest.mark.parametrize("runtime", ["opencv", "onnxruntime"])
def test_photos_are_searched_as_training_was_or_sooner(tmp_path: Path, runtime: Literal["opencv", "onnxruntime"]) -> None:
    detection = Detection(runtime=runtime).model_dump()
    found, published = (
        write_model(tmp_path / trained_with, 3, crop=CROP | {"detection": detection, "trained_with": trained_with})
        for trained_with in ("yunet", "whole")
    )
    assert Estimator.load(found).detection.runtime == runtime
    assert Estimator.load(published).detection.runtime == "onnxruntime"


@pytest.mark.parametrize(("given", "line"), [({"max_side": 3}, "max_side: .* found 3"), ({"min_score": 1.5}, "min_score: .* found 1.5")])
def test_a_detection_that_cannot_be_is_one_line(tmp_path: Path, given: dict[str, Any], line: str) -> None:
    with pytest.raises(FaceError, match=line):
        Estimator.load(write_model(tmp_path / "model", 3), **given)


def test_faults_of_a_detector_are_rows_with_an_error(fake: Fake) -> None:
    estimator, fold = brightness()
    estimator.detector = "fake"
    frame = estimator.predict([noise(0, 41, SIZE), noise(1, 42, SIZE), noise(2, 43, SIZE), noise(3, 44, SIZE)])
    assert frame["error"].tolist()[:3] == ["the detector failed: no memory", "the points found make no face", "no face found"]
    assert frame["error"].isna().tolist() == [False, False, False, True]
    assert frame["value"].isna().tolist() == [True, True, True, False]
    assert len(fold.crops[0]) == 1


def test_pictures_go_to_the_detector_in_the_batches_that_it_likes(tmp_path: Path, fake: Fake) -> None:
    fake.batch = 3
    (tmp_path / "broken.png").write_bytes(b"no picture")
    estimator, _ = brightness()
    estimator.detector = "fake"
    frame = estimator.predict([noise(0, 50, SIZE), tmp_path / "broken.png", noise(2, 52, SIZE), noise(3, 53, SIZE), noise(4, 54, SIZE)])
    assert [len(call) for call in fake.calls] == [2, 2]
    assert frame["path"].tolist() == ["0", str(tmp_path / "broken.png"), "2", "3", "4"]
    assert frame["error"].isna().tolist() == [True, False, True, True, True]


def test_crops_around_published_landmarks_cannot_be_made_of_photos(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 3, crop=CROP | {"crop": "hull", "trained_with": "annotation"})
    estimator = Estimator.load(folder)
    with pytest.raises(ModelError, match=r"no detector finds in a photo; give it aligned crops \(--aligned") as caught:
        estimator.predict(noise(0, SIZE, SIZE))
    assert "\n" not in str(caught.value)
    np.testing.assert_allclose(estimator.predict(noise(0, SIZE, SIZE), aligned=True)["value"], [30], atol=1e-3)


@pytest.mark.parametrize("trained_with", ["yunet", "retinaface"])
def test_crops_around_the_points_of_a_detector_can(tmp_path: Path, fake: Fake, trained_with: str) -> None:
    crop = CROP | {"detector": "fake", "crop": "hull", "trained_with": trained_with}
    assert Estimator.load(write_model(tmp_path / "model", 3, crop=crop)).predict(noise(0, 40, 50))["error"].isna().all()


def remove_json(folder: Path) -> None:
    (folder / "model.json").unlink()


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def unreadable_weights(folder: Path) -> None:
    remove_weights(folder)
    (folder / "model.safetensors").mkdir()


def damage_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def foreign_weights(folder: Path) -> None:
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")


def change(**changes: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text()) | changes
        (folder / "model.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return write


def no_json(folder: Path) -> None:
    (folder / "model.json").write_text("{")


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (remove_json, "holds no model.json"),
        (no_json, r"model\.json is no model description"),
        (remove_weights, r"model\.safetensors is missing"),
        (unreadable_weights, r"model\.safetensors cannot be opened \(Is a directory\)"),
        (damage_weights, r"model\.safetensors is damaged"),
        (foreign_weights, r"model: the weights do not fit model\.json: .*Missing key"),
        (change(outputs=9, grid=[*GRID, 80.0]), r"model: the weights do not fit model\.json: .*size mismatch"),
        (change(format=5), r"model\.json has format 5"),
        (change(crop=CROP | {"crop": "circle"}), r"model\.json is no model description: .*crop.*circle"),
        (change(crop=CROP | {"detection": {"min_scores": 1}}), r"model\.json is no model description: .*min_scores"),
        (change(grid=None), r"model\.json is no model description: grid: Field required"),
        (change(backbone="tinyagent"), "unknown backbone 'tinyagent'; did you mean tinyagenet"),
        (change(method="dldl_v3"), "unknown method 'dldl_v3'; did you mean dldl_v2"),
        (change(method="identity"), "model recognises identities and estimates nothing"),
    ],
)
def test_a_faulty_model_folder_is_named_in_one_line(tmp_path: Path, harm: Callable[[Path], None], line: str) -> None:
    folder = write_model(tmp_path / "model", 3)
    harm(folder)
    with pytest.raises(ModelError, match=line) as caught:
        Estimator.load(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent is no folder"):
        Estimator.load(tmp_path / "absent")


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_working_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "fold0", 2)
    (tmp_path / "a.png").write_bytes(encode_image(noise(0, SIZE, SIZE), "png", 100))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="an empty name is no model"):
        Estimator.load(name)
    with pytest.raises(FaceError, match="an empty name is no picture and no folder"):
        brightness()[0].predict(name, aligned=True)


@pytest.mark.parametrize(
    "changes", [{"margin": 0.5}, {"crop": "box"}, {"detector": "retinaface"}, {"detection": Detection(scales=[2.0]).model_dump()}]
)
def test_folds_that_crop_differently_are_no_one_model(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_model(tmp_path / "fold0", 0)
    write_model(tmp_path / "fold1", 0, crop=CROP | changes)
    with pytest.raises(ModelError, match=r"fold1/model\.json: `crop` differs from fold0's"):
        Estimator.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "other"},
        {"step": "other"},
        {"method": "er"},
        {"grid": [age + 1 for age in GRID]},
        {"normalisation": {"mean": [0.0] * 3, "std": [1.0] * 3}},
    ],
)
def test_folds_of_different_models_are_not_averaged(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_model(tmp_path / "fold0", 0)
    write_model(tmp_path / "fold1", 0, **{"method_options": {}} if "method" in changes else {}, **changes)
    with pytest.raises(ModelError, match=rf"fold1/model\.json: `{next(iter(changes))}` differs from fold0's"):
        Estimator.load(tmp_path)


@pytest.mark.parametrize(("names", "missing"), [(["fold1", "fold2"], 0), (["fold0", "fold2", "fold10"], 1), (["fold0", "fold01"], 1)])
def test_a_model_that_lacks_a_fold_is_no_mean(tmp_path: Path, names: list[str], missing: int) -> None:
    for name in names:
        write_model(tmp_path / name, 0)
    with pytest.raises(ModelError, match=rf"without fold{missing}; .* name one fold alone"):
        Estimator.load(tmp_path)
    assert len(Estimator.load(tmp_path / names[0]).folds) == 1


def test_what_lies_beside_the_folds_is_no_fold(tmp_path: Path) -> None:
    write_model(tmp_path / "fold0", 1)
    for name in ("fold0_backup", "fold0 (copy)", "folds", ".fold1.1234abcd"):
        write_model(tmp_path / name, 6)
    (tmp_path / "table.csv").write_text("fold1")
    assert len(Estimator.load(tmp_path).folds) == 1


YEARS = [float(age) for age in range(15, 23)]


def test_the_probability_of_an_age_is_the_mean_over_folds(tmp_path: Path) -> None:
    """One fold is sure of 17, the other of 20."""
    for fold, peak in enumerate((2, 5)):
        write_model(tmp_path / f"fold{fold}", peak, grid=YEARS, fold=fold)
    loaded, image = Estimator.load(tmp_path), noise(0, SIZE, SIZE)
    frame = loaded.predict(image, aligned=True, threshold=18, challenge=18.5)
    assert list(frame.columns) == [*COLUMNS, "probability", "decision"]
    assert frame["probability"].tolist() == pytest.approx([0.5])
    assert frame["decision"].tolist() == ["pass"]  # 18.5, their mean
    assert loaded.predict(image, aligned=True, threshold=18)["decision"].tolist() == ["challenge"]  # the interval begins at 16.5
    assert list(loaded.predict([], aligned=True, threshold=18).columns) == list(frame.columns)


def test_without_a_distribution_the_probability_is_missing_and_the_decision_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_runtime, "predict_values", lambda *_, **__: (np.array([21.0]), None))
    loaded = Estimator.load(write_model(tmp_path / "model", 2, grid=YEARS))
    frame = loaded.predict(noise(0, SIZE, SIZE), aligned=True, threshold=18, challenge=20)
    assert frame["probability"].isna().all()
    assert frame["decision"].tolist() == ["pass"]


def test_a_picture_without_a_face_has_no_decision() -> None:
    frame = Estimator.valued(brightness()[0], [FaceRow("a.jpg", error="no face found")], Columns(AgeCheck(18, 25)))
    assert frame["decision"].isna().all()
    assert frame["probability"].isna().all()


def test_the_distribution_is_the_mean_over_folds_and_the_grid_names_its_labels(tmp_path: Path) -> None:
    for fold, peak in enumerate((2, 5)):
        write_model(tmp_path / f"fold{fold}", peak, grid=YEARS, fold=fold)
    loaded = Estimator.load(tmp_path)
    frame = loaded.predict([noise(0, SIZE, SIZE), None, noise(1, SIZE, SIZE)], aligned=True, distribution=True)
    assert list(frame.columns) == [*COLUMNS, "distribution"]
    assert loaded.grid == YEARS
    for shares in (frame["distribution"][0], frame["distribution"][2]):
        np.testing.assert_allclose(shares, [0, 0, 0.5, 0, 0, 0.5, 0, 0], atol=1e-6)
        assert np.dot(shares, YEARS) == pytest.approx(frame["value"][0])
    assert frame["distribution"][1] is None


def test_landmarks_are_the_detectors_points(fake: Fake) -> None:
    estimator, _ = brightness()
    estimator.detector = "fake"
    frame = estimator.predict([noise(0, 40, 50), noise(1, 43, 50)], landmarks=True)
    np.testing.assert_allclose(np.reshape(frame["landmarks"][0], (5, 2)), np.array(TEMPLATE) * 20 + [[4, 6]], atol=0.005)
    assert frame["landmarks"][1] is None
    assert estimator.predict([], landmarks=True).empty


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_of_any_size_give_the_same_rows_in_order(tmp_path: Path, workers: int) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pictures = [tmp_path / "broken.png" if i % 5 == 3 else noise(i, SIZE, SIZE) for i in range(23)]
    whole = brightness()[0].predict(pictures, aligned=True)
    for batch_size in (1, 7, 100):
        estimator, fold = brightness()
        frames = list(estimator.set_params(batch_size=batch_size).predict_batches(pictures, aligned=True, workers=workers))
        pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), whole)
        assert max(map(len, fold.crops)) <= batch_size
        assert len(frames) >= 23 // max(8, batch_size)


def test_a_picture_of_more_faces_than_a_batch_goes_through_the_network_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = [Face(np.array([4.0 + i, 6, 24 + i, 26]), None, 0.9) for i in range(60)]
    crowd = Fake()
    monkeypatch.setattr(crowd, "_faces", lambda image: faces, raising=False)
    monkeypatch.setitem(detectors.DETECTORS, "crowd", lambda detection: crowd)
    fold = Brightness(Frame(SIZE))
    estimator = Estimator([fold], "crowd", batch_size=16)  # type: ignore[list-item]
    frame = estimator.predict(noise(0, 100, 120))
    assert frame["face"].tolist() == list(range(60))
    assert [len(crops) for crops in fold.crops] == [16, 16, 16, 12]


def test_many_threads_share_one_estimator(portraits: dict[str, bytes], tmp_path: Path) -> None:
    estimator = Estimator.load(write_model(tmp_path / "model", 3))
    pictures = list(portraits.values())
    alone = [estimator.predict(picture) for picture in pictures]
    for _ in range(3):
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(estimator.predict, pictures * 4))
        for i, frame in enumerate(together):
            pd.testing.assert_frame_equal(frame, alone[i % len(pictures)])
    pd.testing.assert_frame_equal(estimator.predict(pictures, workers=4), estimator.predict(pictures))


def test_ages_are_what_scikit_learn_takes(fake: Fake, tmp_path: Path) -> None:
    estimator, _ = brightness()
    estimator.detector = "fake"
    pictures = [noise(0, 40, 50), noise(1, 43, 50), noise(2, 44, 50)]  # the second has no face
    ages = estimator.ages(pictures)
    assert np.isnan(ages).tolist() == [False, True, False]
    frame = estimator.predict(pictures)
    np.testing.assert_array_equal(ages, frame["value"])
    assert mean_absolute_error([frame["value"][0] + 1, frame["value"][2]], ages[[0, 2]]) == pytest.approx(0.5)
    assert estimator.ages([]).shape == (0,)


def test_settings_are_read_and_changed_as_in_scikit_learn() -> None:
    estimator, _ = brightness()
    assert estimator.get_params() == {"batch_size": 256, "max_megapixels": 100.0, "max_side": 640, "min_score": 0.7}
    assert estimator.set_params(max_side=1280, batch_size=8) is estimator
    assert estimator.detection.max_side == 1280
    assert estimator.get_params()["batch_size"] == 8
    for wrong, line in (
        ({"min_scores": 1}, "unknown setting of an Estimator 'min_scores'; did you mean min_score"),
        ({"min_score": 2.0}, "min_score: .* found 2.0"),
        ({"batch_size": 0.5}, "batch_size: a whole number of 1 or more is wanted, found 0.5"),
        ({"batch_size": True}, "batch_size: a whole number of 1 or more is wanted, found True"),
        ({"max_megapixels": "7"}, "max_megapixels is above 0"),
    ):
        with pytest.raises(FaceError, match=line):
            estimator.set_params(**{"max_megapixels": 7, **wrong})
    assert estimator.max_megapixels == 100  # nothing is changed by half
    copied = clone(estimator).set_params(batch_size=9)
    assert (copied.get_params()["batch_size"], estimator.get_params()["batch_size"]) == (9, 8)
    assert copied.folds is estimator.folds


def test_another_process_reads_the_same_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "fold0", 2)
    estimator = Estimator.load(tmp_path, min_score=0.5).set_params(batch_size=3)
    copied = pickle.loads(pickle.dumps(estimator))  # made here
    assert copied.get_params() == estimator.get_params()
    pictures = [noise(number, SIZE, SIZE) for number in range(4)]
    np.testing.assert_array_equal(copied.ages(pictures, aligned=True), estimator.ages(pictures, aligned=True))
    with pytest.raises(TypeError, match=r"use Estimator\.load"):
        pickle.dumps(brightness()[0])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"threshold": "18"}, "threshold: a number is wanted, found '18'"),
        ({"threshold": 18, "challenge": "x"}, "challenge: a number is wanted, found 'x'"),
        ({"workers": "2"}, "workers: a whole number of 1 or more is wanted, found '2'"),
        ({"workers": 0}, "workers: a whole number of 1 or more is wanted, found 0"),
    ],
)
def test_an_option_of_a_wrong_kind_is_one_line(options: dict[str, Any], line: str) -> None:
    with pytest.raises((FaceError, ModelError), match=line):
        brightness()[0].predict(noise(0, SIZE, SIZE), aligned=True, **options)


def test_a_damaged_model_of_the_package_is_no_reason_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(released.folder(), tmp_path / "released")
    (tmp_path / "released" / "model.json").write_text("{")
    monkeypatch.setattr(released, "folder", lambda: tmp_path / "released")
    with pytest.raises(ModelError, match="it comes with the package: install agecascade again") as error:
        Estimator.load()
    assert "train" not in str(error.value)


def test_a_failure_in_a_worker_is_raised_where_it_is_read() -> None:
    def pictures() -> Iterator[Image]:
        yield noise(0, SIZE, SIZE)
        raise FaceError("the camera is gone")

    with pytest.raises(FaceError, match="the camera is gone"):
        brightness()[0].predict(pictures(), aligned=True, workers=3)
    with pytest.raises(FaceError, match="workers: a whole number of 1 or more is wanted, found 0"):
        brightness()[0].predict([], workers=0)


def learned(*drawn: bool) -> list[dict[str, Any]]:
    return [{"step": f"s{i}", "dataset": f"set{i}", "pictures": 100, "drawn": one} for i, one in enumerate(drawn)]


@pytest.mark.parametrize(
    ("trained_on", "note"),
    [
        (None, None),  # an older card: unknown
        ([], None),
        (learned(False, False), None),
        (learned(True, True), "the model has seen drawn faces alone (set0, set1): its values mean nothing for photos"),
        (learned(True, False), "the model also learned from drawn faces (set0): its values mean little for photos"),
    ],
)
def test_every_row_says_that_the_model_learned_from_drawn_faces(tmp_path: Path, trained_on: Any, note: str | None) -> None:
    folder = write_model(tmp_path / "model", 3, **({} if trained_on is None else {"trained_on": trained_on}))
    loaded = Estimator.load(folder)
    assert loaded.note == note
    frame = loaded.predict([noise(0, SIZE, SIZE), None], aligned=True)
    assert [None if pd.isna(said) else said for said in frame["note"]] == [note, note]
    assert frame["error"].isna().tolist() == [True, False]


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_file_of_a_model_is_told_to_name_its_folder(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "model", 3)
    with pytest.raises(ModelError, match=f"{name} is a file; name its folder, {folder}, which holds model.json too"):
        Estimator.load(folder / name)


def test_an_address_is_no_model() -> None:
    for address in ("https://example.org/model", Path("https://example.org/model")):
        with pytest.raises(ModelError, match="is an address, and addresses are not read: download the model's folder first"):
            Estimator.load(address)
