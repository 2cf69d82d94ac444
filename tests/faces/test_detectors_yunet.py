"""YuNet by OpenCV and by ONNX Runtime: the same faces, at the right places, of the file in the package."""

from __future__ import annotations

import threading
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.errors import FaceError
from agecascade.faces import detectors
from agecascade.faces.detection import create_finder
from agecascade.faces.detectors import Annotation, Face, yunet_onnx
from agecascade.faces.detectors.weights import PACKAGED, YUNET
from agecascade.faces.detectors.yunet import YuNet
from agecascade.faces.detectors.yunet_onnx import OUTPUTS, YuNetOnnx, _decoded
from agecascade.faces.face import Image, is_sound
from agecascade.imaging import decode_image
from agecascade.params import Detection

MODEL = PACKAGED / YUNET.file
BOTH = pytest.mark.parametrize("yunet", [YuNet, YuNetOnnx])


def found(yunet: YuNet | YuNetOnnx, images: list[Image]) -> list[list[Face]]:
    return yunet(images, [Annotation()] * len(images))


@pytest.fixture(scope="module")
def portraits(mirror: Path) -> list[tuple[Image, np.ndarray]]:
    """Every fiftieth FG-NET picture with the centres of its eyes (2, 2): points 31 and 36 of the publisher's 68."""
    result = []
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[::50]:
            text = archive.read(f"FGNET/points/{Path(name).stem.lower()}.pts").decode()
            points = np.array(text.split("{")[1].split("}")[0].split(), dtype=float).reshape(-1, 2)
            result.append((decode_image(archive.read(name)), points[[31, 36]]))
    return result


@BOTH
def test_a_file_that_is_no_model_is_named(tmp_path: Path, yunet: Any) -> None:
    for content in (b"", b"no model", MODEL.read_bytes()[:5000]):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(FaceError, match=r"model\.onnx: .* cannot read it as a YuNet model") as caught:
            yunet(0.7, tmp_path / "model.onnx")
        assert "\n" not in str(caught.value)


def test_another_network_is_no_yunet(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(MODEL)
    model.graph.output.pop()
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(FaceError, match=r"model\.onnx: .*other names.*; replace it by https"):
        YuNetOnnx(0.7, tmp_path / "model.onnx")


@BOTH
def test_yunet_finds_real_faces_at_the_right_place(yunet: Any, portraits: list[tuple[Image, np.ndarray]]) -> None:
    errors = []
    for faces, (_, eyes) in zip(found(yunet(0.7, MODEL), [image for image, _ in portraits]), portraits, strict=True):
        for face in faces[:1]:
            assert face.points is not None
            errors.append(np.linalg.norm(face.points[:2] - eyes, axis=1).mean() / np.linalg.norm(eyes[0] - eyes[1]))
    assert len(errors) >= 0.95 * len(portraits)
    assert np.median(errors) < 0.08
    assert max(errors) < 0.3


@BOTH
def test_yunet_answers_pictures_of_all_sizes_as_if_they_were_alone(yunet: Any, portraits: list[tuple[Image, np.ndarray]]) -> None:
    images = [image for image, _ in portraits[:4]]
    images[2] = np.ascontiguousarray(images[2][:, ::-1])
    detector = yunet(0.7, MODEL)
    for image, faces in zip(images, found(detector, images), strict=True):
        (alone,) = found(detector, [image])
        assert len(alone) == len(faces) > 0
        np.testing.assert_array_equal(alone[0].box, faces[0].box)
        assert faces[0].score is not None
        assert 0.7 <= faces[0].score <= 1.01


@BOTH
@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (640, 1), (3, 5), (905, 7), (33, 31)])
def test_yunet_takes_pictures_of_any_shape(yunet: Any, shape: tuple[int, int]) -> None:
    (faces,) = found(yunet(0.7, MODEL), [np.full((*shape, 3), 99, np.uint8)])
    assert not [face for face in faces if is_sound(face, shape)]  # OpenCV 4.13 gives numbers that are none, which the finder drops


@BOTH
def test_yunet_finds_nothing_in_noise(yunet: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert found(yunet(0.7, MODEL), [noise]) == [[]]


@BOTH
def test_yunet_keeps_to_its_score(yunet: Any, portraits: list[tuple[Image, np.ndarray]]) -> None:
    images = [image for image, _ in portraits]
    strict, lenient = (found(yunet(score, MODEL), images) for score in (0.9, 0.3))
    assert sum(map(len, strict)) < sum(map(len, lenient))
    assert all(face.score is not None and face.score >= 0.9 for faces in strict for face in faces)


@pytest.mark.parametrize("score", [0.05, 0.7])
def test_onnx_runtime_finds_what_opencv_finds(portraits: list[tuple[Image, np.ndarray]], score: float) -> None:
    """Sides that are no multiples of 32 are among them, and a low score, from which many boxes overlap."""
    images = [image for image, _ in portraits]
    images += [cv2.resize(image, (97 + 40 * i, 130 + 31 * i), interpolation=cv2.INTER_AREA) for i, image in enumerate(images[:9])]
    expected, faces = found(YuNet(score, MODEL), images), found(YuNetOnnx(score, MODEL), images)
    assert [len(each) for each in faces] == [len(each) for each in expected]
    assert sum(map(len, faces)) > len(images) / 2
    for ours, theirs in zip(chain(*faces), chain(*expected), strict=True):
        np.testing.assert_allclose(ours.box, theirs.box, atol=1e-3)
        assert ours.points is not None
        assert theirs.points is not None
        np.testing.assert_allclose(ours.points, theirs.points, atol=1e-3)
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)


def outputs_of(width: int, height: int) -> list[np.ndarray]:
    """Zeros for a padded picture: no face anywhere."""
    values = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    shapes = [(name.partition("_")[0], int(name.partition("_")[2])) for name in OUTPUTS]
    return [np.zeros((1, (width // stride) * (height // stride), values[kind]), np.float32) for kind, stride in shapes]


def test_one_cell_is_decoded_as_by_hand() -> None:
    """The cell in row 1, column 2 of the map of 16 pixels: centre (2.5, 1.25) cells, 2 cells wide and 4 high, score sqrt(0.5 x 0.98)."""
    outputs = outputs_of(64, 96)
    cls, obj, bbox, kps = (outputs[3 * kind + 1] for kind in range(4))
    cell = 1 * 4 + 2
    cls[0, cell], obj[0, cell] = 0.5, 0.98
    bbox[0, cell] = [0.5, 0.25, np.log(2), np.log(4)]
    kps[0, cell] = np.arange(10) / 4
    rows = np.concatenate(list(_decoded(outputs, 64, 0.69)))
    points = [32, 20, 40, 28, 48, 36, 56, 44, 64, 52]
    np.testing.assert_allclose(rows, [[40 - 16, 20 - 32, 32, 64, *points, 0.7]], rtol=1e-6)
    assert list(_decoded(outputs, 64, 0.71)) == []


@settings(max_examples=30)
@given(st.integers(0, 2), st.integers(1, 4), st.integers(1, 4), st.data())
def test_a_cell_lies_where_it_is_counted(level: int, columns: int, rows: int, data: st.DataObject) -> None:
    stride, width, height = 8 << level, 32 * columns, 32 * rows
    x, y = data.draw(st.integers(0, width // stride - 1)), data.draw(st.integers(0, height // stride - 1))
    outputs = outputs_of(width, height)
    for kind in range(2):
        outputs[3 * kind + level][0, y * (width // stride) + x] = 1
    (row,) = np.concatenate(list(_decoded(outputs, width, 0.5)))
    assert row.tolist() == [*(stride * (x - 0.5), stride * (y - 0.5)), stride, stride, *[stride * x, stride * y] * 5, 1]


def test_a_failure_within_onnx_runtime_is_one_that_the_finder_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime raises kinds of its own, here for a channel too many."""
    monkeypatch.setattr(yunet_onnx, "_padded", lambda image: np.zeros((1, 4, 32, 32), np.float32))
    with pytest.raises(RuntimeError, match="input"):
        found(YuNetOnnx(0.7, MODEL), [np.zeros((32, 32, 3), np.uint8)])


def test_the_runtime_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "_per_thread", threading.local())
    made = [detectors.create_detector("yunet", Detection(runtime=runtime)) for runtime in ("opencv", "onnxruntime", "opencv")]  # type: ignore[arg-type]
    assert [type(each) for each in made] == [YuNet, YuNetOnnx, YuNet]
    assert made[0] is made[2]
    assert create_finder("yunet", Detection()).batch == 1


def test_detectors_created_at_once_in_several_threads_warn_of_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    try:
        for _ in range(5):
            threads = [threading.Thread(target=YuNet, args=(0.7, MODEL)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_WARNING
    finally:
        cv2.utils.logging.setLogLevel(before)
    said = capfd.readouterr()
    assert "WARN" not in said.out + said.err
