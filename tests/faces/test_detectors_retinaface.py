"""RetinaFace with drawn weights: published ones cannot be had everywhere, so what is tested is all but what it has learned.

What its MobileNet has learned is tested where the mirror has its weights and FG-NET.
"""

from __future__ import annotations

import builtins
import sys
import threading
import tomllib
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agecascade.archives import open_archives
from agecascade.dataset_report.quality import landmark_errors
from agecascade.datasets import reader
from agecascade.datasets.base import ManifestRow
from agecascade.errors import FaceError
from agecascade.faces import detectors
from agecascade.faces.detection import Finder
from agecascade.faces.detectors import Annotation, Face, retinaface
from agecascade.faces.detectors.retinaface import DESIGNS, RetinaFace
from agecascade.imaging import decode_image
from agecascade.io import fetch as fetching
from agecascade.io.files import checksum
from agecascade.params import Detection
from images import noise
from places import ROOT

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


@pytest.mark.parametrize(
    "content", [b"", b"no weights", {"weight": torch.zeros(2)}, [1, 2], Harmful()], ids=["empty", "text", "one", "list", "code"]
)
def test_what_holds_no_weights_is_one_line(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "weights.zip"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(FaceError, match=r"weights\.zip holds no weights of RetinaFace with resnet50 .*fetch https://") as caught:
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
    with pytest.raises(FaceError, match=r"needs the packages retinaface-pytorch and torchvision .*uv sync") as caught:
        RetinaFace(MIN_SCORE, SIDE, random_weights, "cpu")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def drawn_mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn weights of the MobileNet as its publisher writes them: of a network in DataParallel, whose names begin with module."""
    network = retinaface._empty_network("mobilenet0.25").to_empty(device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    file = tmp_path_factory.mktemp("mobilenet") / DESIGNS["mobilenet0.25"].source.file
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, file)
    return file


def test_the_mobilenet_has_a_hundredth_of_the_weights_and_the_names_of_the_published_file() -> None:
    counts = {name: sum(weight.numel() for weight in retinaface._empty_network(name).parameters()) for name in DESIGNS}
    assert counts == {"resnet50": 27_293_600, "mobilenet0.25": 426_608}
    names = list(retinaface._empty_network("mobilenet0.25").state_dict())
    assert len(names) == 300
    assert (names[0], names[-1]) == ("body.stage1.0.0.weight", "LandmarkHead.2.conv1x1.bias")


def test_the_mobilenet_has_no_leaks_which_its_weights_were_not_trained_with() -> None:
    slopes = {
        name: {module.negative_slope for module in retinaface._empty_network(name).modules() if isinstance(module, torch.nn.LeakyReLU)}
        for name in DESIGNS
    }
    assert slopes == {"resnet50": {0}, "mobilenet0.25": {0}}


def test_other_published_weights_of_the_mobilenet_are_refused(drawn_mobilenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have the same names and shapes, and find little in a network that was trained otherwise."""
    monkeypatch.setenv("AGECASCADE_MIRROR", str(drawn_mobilenet.parent))
    with pytest.raises(FaceError, match=r"retinaface_mobilenet0\.25\.pth is not the published file .its SHA-256 differs from ed6fa7d4"):
        detectors.create_detector("retinaface", Detection(network="mobilenet0.25", min_score=0.33))


def test_names_of_a_parallel_network_are_those_of_the_network(drawn_mobilenet: Path) -> None:
    state = torch.load(drawn_mobilenet, weights_only=True)
    loaded = RetinaFace(0.5, SIDE, drawn_mobilenet, "cpu", "mobilenet0.25")._network.state_dict()
    assert all(torch.equal(value, state[f"module.{name}"]) for name, value in loaded.items())


def test_weights_of_the_other_network_are_named(drawn_mobilenet: Path, random_weights: Path) -> None:
    for file, name in ((drawn_mobilenet, "resnet50"), (random_weights, "mobilenet0.25")):
        with pytest.raises(FaceError, match=rf"holds no weights of RetinaFace with {name} \(.*; fetch https://.*"):
            RetinaFace(0.5, SIDE, file, "cpu", name)


def test_the_mobilenet_sees_bgr_less_its_means_and_has_smaller_anchors(drawn_mobilenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = RetinaFace(0.5, SIDE, drawn_mobilenet, "cpu", "mobilenet0.25")
    known = Known(4, 6, [0.0] * 4, [0.0] * 10)
    monkeypatch.setattr(made, "_network", known)
    (faces,) = made([np.full((SIDE, SIDE, 3), (255, 128, 1), np.uint8)], [Annotation()])
    assert known.seen is not None
    assert known.seen[0, :, 50, 50].tolist() == [1 - 104, 128 - 117, 255 - 123]
    np.testing.assert_allclose(faces[0].box, [104 - 16, 72 - 16, 104 + 16, 72 + 16], atol=1e-3)  # 32 pixels about (104, 72)


def test_a_batch_of_the_mobilenet_is_answered_as_its_pictures_one_by_one(drawn_mobilenet: Path) -> None:
    made = RetinaFace(0.3, SIDE, drawn_mobilenet, "cpu", "mobilenet0.25")
    images = [noise(0, SIDE, SIDE), noise(1, 150, SIDE), noise(2, SIDE, 100)]
    together = made(images, [Annotation()] * 3)
    for image, faces in zip(images, together, strict=True):
        assert_alike(made([image], [Annotation()])[0], faces)


def test_the_params_choose_the_network_and_its_weights_come_once_from_their_address(
    drawn_mobilenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = DESIGNS["mobilenet0.25"]
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    monkeypatch.setattr(fetching, "user_cache_folder", lambda: tmp_path / "cache")
    handler = partial(SimpleHTTPRequestHandler, directory=str(drawn_mobilenet.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{drawn_mobilenet.name}"
        other = replace(design.source, url=url)  # whose checksum is that of the published file
        monkeypatch.setitem(DESIGNS, "mobilenet0.25", replace(design, source=other))
        with pytest.raises(FaceError, match=rf"from {url} \(it is not the published file: its SHA-256 differs from {other.sha256}"):
            detectors.create_detector("retinaface", Detection(network="mobilenet0.25", min_score=0.31))
        monkeypatch.setitem(DESIGNS, "mobilenet0.25", replace(design, source=replace(other, sha256=checksum(drawn_mobilenet))))
        made = detectors.create_detector("retinaface", Detection(network="mobilenet0.25", min_score=0.31))
        server.shutdown()
    assert isinstance(made, RetinaFace)
    assert made._design.features == 64
    again = detectors.create_detector("retinaface", Detection(network="mobilenet0.25", min_score=0.32))  # the server is gone
    assert again is not made
    assert [path.name for path in (tmp_path / "cache").glob("*.pth")] == [drawn_mobilenet.name]


def test_the_mobilenet_finds_the_eyes_of_fgnet(mirror: Path) -> None:
    """Real weights on every fiftieth picture: the eyes are nearer to the published ones than a tenth of their distance."""
    weights = mirror / DESIGNS["mobilenet0.25"].source.file
    if not weights.is_file():
        pytest.skip("the mirror has no weights of RetinaFace")
    detection = Detection(network="mobilenet0.25")
    find = Finder(RetinaFace(detection.min_score, detection.max_side, weights, "cpu", detection.network), detection)
    errors, missed = [], []
    with open_archives(mirror / "FGNET.zip") as archive:
        rows = [row for row in reader("fgnet").rows(archive, {}) if isinstance(row, ManifestRow)]
        selected = {row.member: row for row in sorted(rows, key=lambda row: row.member)[::50]}
        for member in archive.members():
            if row := selected.get(member.name):
                (finding,) = find([decode_image(member.read())], [Annotation()])
                if not finding.faces:
                    missed.append(member.name)
                    continue
                assert finding.faces[0].points is not None
                errors.append(landmark_errors(finding.faces[0].points[None], np.reshape(row.landmarks, (-1, 2))[None, :5])[0, 0])
    assert missed == []
    assert len(errors) == 21
    assert np.median(errors) < 0.1


def test_the_package_comes_with_the_project_and_without_what_it_asks_for_in_vain() -> None:
    """opencv-python writes into the folder of opencv-python-headless, and needs libGL."""
    names = {str(each.metadata["Name"]).lower() for each in distributions()}
    assert {"retinaface-pytorch", "opencv-python-headless"} <= names
    assert not names & {"opencv-python", "streamlit", "scikit-image", "imagecorruptions"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert any(each.startswith("retinaface-pytorch") for each in project["project"]["optional-dependencies"]["pipeline"])


def test_the_rest_of_the_package_works_without_it() -> None:
    assert "retinaface" not in vars(retinaface)  # imported where it is used
