"""RetinaFace with drawn weights: its published ones cannot be had everywhere, so what is tested is all but what it has learned."""

from __future__ import annotations

import builtins
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agecascade.errors import FaceError
from agecascade.faces import detectors
from agecascade.faces.detection import Finder
from agecascade.faces.detectors import Annotation, Face, retinaface
from agecascade.faces.detectors.retinaface import RetinaFace
from agecascade.params import Detection
from images import noise

pytest.importorskip("retinaface.network")

SIDE = 192
MIN_SCORE = 0.65  # that of the drawn weights leaves some answers


@pytest.fixture(scope="module")
def drawn(random_weights: Path) -> RetinaFace:
    return RetinaFace(MIN_SCORE, SIDE, random_weights, "cpu")


def assert_alike(one: list[Face], other: list[Face]) -> None:
    assert len(one) == len(other)
    for left, right in zip(sorted(one, key=lambda face: face.box[0]), sorted(other, key=lambda face: face.box[0]), strict=True):
        assert left.points is not None
        assert right.points is not None
        np.testing.assert_allclose(left.box, right.box, atol=0.02)
        np.testing.assert_allclose(left.points, right.points, atol=0.02)
        np.testing.assert_allclose(left.score, right.score, atol=1e-4)


def test_a_batch_is_answered_as_its_pictures_one_by_one(drawn: RetinaFace) -> None:
    images = [noise(0, SIDE, SIDE), noise(1, 150, SIDE), noise(2, SIDE, 100), noise(3, 80, 90), noise(4, 60, 240)]
    together = drawn(images, [Annotation()] * len(images))
    assert min(map(len, together)) > 0
    for image, faces in zip(images, together, strict=True):
        assert_alike(drawn([image], [Annotation()])[0], faces)


def test_one_forward_pass_takes_all_pictures_of_a_size(drawn: RetinaFace, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    network = drawn._network

    def counted(batch: torch.Tensor) -> Any:
        passes.append(tuple(batch.shape))
        return network(batch)

    monkeypatch.setattr(drawn, "_network", counted)
    drawn([noise(0, SIDE, SIDE), noise(1, 90, 80), noise(2, SIDE, 180)], [Annotation()] * 3)
    assert passes == [(1, 3, 96, 96), (2, 3, SIDE, SIDE)]  # in steps of 192 / 4, rounded up to the network's 32


def test_the_package_finds_the_same_in_its_own_loop(drawn: RetinaFace, random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for its newest version
    single = pytest.importorskip("retinaface.predict_single")
    model = single.Model(max_size=SIDE)  # of which nothing is padded, neither by the package in the middle nor by us at an end
    model.load_state_dict(torch.load(random_weights, weights_only=True))
    model.eval()
    image = noise(5, SIDE, SIDE)
    theirs = sorted(model.predict_jsons(image, confidence_threshold=MIN_SCORE), key=lambda face: -face["score"])
    (ours,) = drawn([image], [Annotation()])
    assert len(ours) == len(theirs) > 3, len(theirs)
    for face, expected in zip(sorted(ours, key=lambda face: -(face.score or 0)), theirs, strict=True):
        assert face.points is not None
        np.testing.assert_allclose(face.score, expected["score"], atol=1e-4)
        np.testing.assert_allclose(face.box, expected["bbox"], atol=1.05)  # the package cuts the fractions off
        np.testing.assert_allclose(face.points, expected["landmarks"], atol=1.05)


class Known:
    """In the network's place: one face at one anchor of the map of stride 16, all else background."""

    def __init__(self, row: int, column: int, box: list[float], points: list[float]) -> None:
        self.row, self.column, self.box, self.points = row, column, box, points
        self.seen: torch.Tensor | None = None

    def __call__(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        self.seen = batch
        side = batch.shape[-1]
        anchors = [2 * (side // stride) ** 2 for stride in (8, 16, 32)]
        at = anchors[0] + 2 * (self.row * (side // 16) + self.column)  # the smaller of the two there: 64 pixels
        boxes, classes, points = (torch.zeros(len(batch), sum(anchors), values) for values in (4, 2, 10))
        classes[:, :, 0] = 9.0
        classes[:, at] = torch.tensor([0.0, 9.0])
        boxes[:, at], points[:, at] = torch.tensor(self.box), torch.tensor(self.points)
        return boxes, classes, points


def test_an_answer_is_put_back_into_a_reduced_picture_that_is_no_square(drawn: RetinaFace, monkeypatch: pytest.MonkeyPatch) -> None:
    # anchor of 64 pixels about (104, 72): row 4, column 6 of stride 16. Offsets count in tenths of it, sizes in e^0.2.
    offsets = [-2.0, -1.5, 2.0, -1.5, 0.0, 0.5, -1.5, 2.0, 1.5, 2.0]  # eye at the left, eye at the right, nose, corners of the mouth
    known = Known(4, 6, [1.0, -2.0, 0.0, 5 * float(np.log(1.5))], offsets)
    monkeypatch.setattr(drawn, "_network", known)
    picture = noise(0, 3 * 120, 3 * SIDE)  # reduced to 192 x 120, padded to 192 x 192
    (finding,) = Finder(drawn, Detection(max_side=SIDE))([picture], [Annotation()])
    (face,) = finding.faces
    np.testing.assert_allclose(face.box, 3 * np.array([110.4 - 32, 59.2 - 48, 110.4 + 32, 59.2 + 48]), atol=1e-2)
    assert face.points is not None
    np.testing.assert_allclose(face.points, 3 * (np.array([104, 72]) + 6.4 * np.reshape(offsets, (5, 2))), atol=1e-2)
    assert face.points[0, 0] < face.points[1, 0]  # the subject's right eye first, as in the template
    assert face.score == pytest.approx(1 / (1 + np.exp(-9)))


def test_the_network_sees_rgb_normalised_and_the_mean_colour_beyond_the_picture(drawn: RetinaFace, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known(0, 0, [0.0] * 4, [0.0] * 10)
    monkeypatch.setattr(drawn, "_network", known)
    drawn([np.full((100, 200, 3), (255, 128, 0), np.uint8)], [Annotation()])
    assert known.seen is not None
    assert known.seen.shape == (1, 3, 256, 256)
    inside, outside = known.seen[0, :, :100, :200], known.seen[0].clone()
    outside[:, :100, :200] = 0
    np.testing.assert_allclose(inside[:, 50, 50], [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225], rtol=1e-5)
    assert inside.std(dim=(1, 2)).max() < 1e-5
    assert outside.abs().max() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graphics_card_answers_as_the_processor(drawn: RetinaFace, random_weights: Path) -> None:
    images = [noise(0, SIDE, SIDE), noise(1, 150, SIDE), noise(2, SIDE, 100)]
    card = RetinaFace(MIN_SCORE, SIDE, random_weights, "cuda")
    assert card.batch > 1
    precise = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # it rounds to 10 bits, which drawn weights do not forgive
    try:
        answers = card(images, [Annotation()] * 3)
    finally:
        torch.backends.cudnn.allow_tf32 = precise
    for ours, theirs in zip(answers, drawn(images, [Annotation()] * 3), strict=True):
        assert_alike(ours, theirs)


def test_answers_that_are_no_numbers_find_nothing(drawn: RetinaFace, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known(4, 6, [float("nan")] * 4, [0.0] * 10)
    monkeypatch.setattr(drawn, "_network", known)
    (finding,) = Finder(drawn, Detection(max_side=SIDE))([noise(0, SIDE, SIDE)], [Annotation()])
    assert finding.faces == []
    assert finding.unsound is not None


def test_it_is_made_by_its_name_with_the_weights_of_the_mirror(retinaface_mirror: Path) -> None:
    made = detectors.create_detector("retinaface", Detection(min_score=0.71, max_side=SIDE))
    assert isinstance(made, RetinaFace)
    assert made.batch >= 1
    assert made([noise(0, SIDE, SIDE)], [Annotation()])[0]


def test_weights_of_another_checksum_are_refused(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(random_weights.parent))
    with pytest.raises(FaceError, match=r"is not the published file .*its SHA-256 differs from f168fae3c"):
        detectors.create_detector("retinaface", Detection(min_score=0.72))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_zip_with_one_file_of_torch_is_taken_too(random_weights: Path, tmp_path: Path, drawn: RetinaFace, legacy: bool) -> None:
    state = torch.load(random_weights, weights_only=True)
    torch.save(state, tmp_path / "weights.pth", _use_new_zipfile_serialization=not legacy)
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        archive.write(tmp_path / "weights.pth", "weights.pth")
    result = RetinaFace(0.7, SIDE, tmp_path / "weights.zip", "cpu")._network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in result.items())


class Harmful:
    """Runs a command when it is unpickled by a careless reader."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (sys.exit, ("this code must not run",))


@pytest.mark.parametrize("content", [b"", b"no weights", {"weight": torch.zeros(2)}, [1, 2], Harmful()], ids=str)
def test_what_holds_no_weights_is_one_line(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "weights.zip"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(FaceError, match=r"weights\.zip holds no weights of RetinaFace .*fetch https://") as caught:
        RetinaFace(0.7, SIDE, file, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ImportError("No module named 'retinaface'"), RuntimeError("operator torchvision::nms does not exist")])
def test_a_missing_package_is_one_line(error: Exception, random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "retinaface.network":
            raise error
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FaceError, match=r"needs the packages retinaface-pytorch and torchvision .*uv sync --extra retinaface") as caught:
        RetinaFace(MIN_SCORE, SIDE, random_weights, "cpu")
    assert "\n" not in str(caught.value)


def test_the_rest_of_the_package_works_without_it() -> None:
    assert "retinaface" not in vars(retinaface)  # imported where it is used
