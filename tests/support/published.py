"""Fabricated files of published weights: the publishers' keys and shapes, written down from the networks, and drawn numbers."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agecascade import models
from agecascade.models.base import Network
from agecascade.params import Normalisation

FACES = Normalisation(mean=[129.1863 / 255, 104.7624 / 255, 93.5940 / 255], std=[1 / 255] * 3)
FACES2 = Normalisation(mean=[131.0912 / 255, 103.8827 / 255, 91.4953 / 255], std=[1 / 255] * 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)  # RGB

STAGES = (3, 4, 6, 3)
State = dict[str, Tensor]


def vggface2(squeeze: bool, seed: int = 0) -> State:
    """ResNet-50 or SENet-50 as VGGFace2's `_weight.pkl` names them; squeeze and excitation are conv4 and conv5."""
    made = torch.Generator().manual_seed(seed)
    state: State = {}

    def conv(name: str, outputs: int, inputs: int, side: int, bias: bool = False) -> None:
        state[f"{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=made) * (2 / (inputs * side * side)) ** 0.5
        if bias:
            state[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=made)

    def norm(name: str, width: int) -> None:
        for what in ("weight", "running_var"):
            state[f"{name}.{what}"] = 0.5 + torch.rand(width, generator=made)
        for what in ("bias", "running_mean"):
            state[f"{name}.{what}"] = 0.1 * torch.randn(width, generator=made)

    conv("conv1", 64, 3, 7)
    state["conv1.weight"] /= 64  # its pictures have values of 0..255
    norm("bn1", 64)
    inputs = 64
    for stage, blocks in enumerate(STAGES, 1):
        width = 32 * 2**stage
        for index in range(blocks):
            name = f"layer{stage}.{index}"
            for number, (outputs, taken, side) in enumerate([(width, inputs, 1), (width, width, 3), (4 * width, width, 1)], 1):
                conv(f"{name}.conv{number}", outputs, taken, side)
                norm(f"{name}.bn{number}", outputs)
            state[f"{name}.bn3.weight"] *= 0.2  # so that no sum over blocks grows large, and no sigmoid turns a rounding into a step
            if squeeze:
                conv(f"{name}.conv4", width // 4, 4 * width, 1, bias=True)
                conv(f"{name}.conv5", 4 * width, width // 4, 1, bias=True)
            if index == 0:
                conv(f"{name}.downsample.0", 4 * width, inputs, 1)
                norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    state["fc.weight"], state["fc.bias"] = torch.zeros(1).expand(8631, 2048), torch.zeros(8631)
    return state


def caffe_names(state: State) -> State:
    """The same weights as VGGFace2's `.pth` names them."""
    parts = {
        "conv1": "1x1_reduce",
        "bn1": "1x1_reduce_bn",
        "conv2": "3x3",
        "bn2": "3x3_bn",
        "conv3": "1x1_increase",
        "bn3": "1x1_increase_bn",
        "conv4": "1x1_down",
        "conv5": "1x1_up",
        "downsample.0": "1x1_proj",
        "downsample.1": "1x1_proj_bn",
    }
    renamed: State = {}
    for name, tensor in state.items():
        layer, _, what = name.rpartition(".")
        if layer.startswith("layer"):
            stage, index, part = layer.removeprefix("layer").split(".", 2)
            layer = f"conv{int(stage) + 1}_{int(index) + 1}_{parts[part]}"
        else:
            layer = {"conv1": "conv1_7x7_s2", "bn1": "conv1_7x7_s2_bn", "fc": "classifier"}[layer]
        renamed[f"{layer}.{what}"] = tensor[:, :, None, None] if name == "fc.weight" else tensor
    return renamed


def vggface2_maps(state: State, pictures: Tensor) -> Tensor:
    """The network of VGGFace2, written out: Caffe's pictures (B, 3, H, W), BGR in 0..255 without their mean -> (B, 2048, h, w)."""

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return functional.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)

    def norm(x: Tensor, name: str) -> Tensor:
        found = [state[f"{name}.{what}"] for what in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *found)

    x = functional.relu(norm(conv(pictures, "conv1", 2, 3), "bn1"))
    x = functional.max_pool2d(x, 3, 2, 0, ceil_mode=True)
    for stage, blocks in enumerate(STAGES, 1):
        for index in range(blocks):
            name, stride = f"layer{stage}.{index}", 2 if index == 0 and stage > 1 else 1
            y = functional.relu(norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1"))
            y = functional.relu(norm(conv(y, f"{name}.conv2", 1, 1), f"{name}.bn2"))
            y = norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
            if f"{name}.conv4.weight" in state:
                squeezed = functional.relu(conv(y.mean((2, 3), keepdim=True), f"{name}.conv4"))
                y = y * torch.sigmoid(conv(squeezed, f"{name}.conv5"))
            if index == 0:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = functional.relu(y + x)
    return x


VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vggface(underscore: str = "", seed: int = 0) -> State:
    """VGG-16 as vgg_face_dag.pth names it, or with conv_1_1 for conv1_1; the fully connected layers are one number, repeated."""
    made = torch.Generator().manual_seed(seed)
    state: State = {}
    inputs = 3
    for block, widths in enumerate(VGG, 1):
        for number, width in enumerate(widths, 1):
            name = f"conv{underscore}{block}_{number}"
            state[f"{name}.weight"] = torch.randn(width, inputs, 3, 3, generator=made) * (2 / (9 * inputs)) ** 0.5
            state[f"{name}.bias"] = 0.1 * torch.randn(width, generator=made)
            inputs = width
    for name, outputs, taken in (("fc6", 4096, 25088), ("fc7", 4096, 4096), ("fc8", 2622, 4096)):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.full((1,), 1e-4).expand(outputs, taken), torch.zeros(outputs)
    return state


def vggface_maps(state: State, pictures: Tensor, underscore: str = "") -> Tensor:
    """(B, 3, H, W) -> (B, 512, H/32, W/32)."""
    for block, widths in enumerate(VGG, 1):
        for number in range(1, len(widths) + 1):
            name = f"conv{underscore}{block}_{number}"
            pictures = functional.relu(functional.conv2d(pictures, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
        pictures = functional.max_pool2d(pictures, 2)
    return pictures


def write_pickle(path: Path, state: State, protocol: int = 2) -> None:
    """As the `.pkl` files are written: a dict of arrays."""
    content = {name: np.array(tensor.numpy(), order="C") for name, tensor in state.items()}
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def network(backbone: str) -> Network:
    torch.manual_seed(1)
    return models.create(backbone, outputs=3, pooling="average").eval()


def caffe_pictures(mean: list[float], bgr: bool = True) -> torch.Tensor:
    """What Caffe's networks are given: 0..255 in blue, green, red, less their mean."""
    pictures = torch.from_numpy(PICTURES[..., ::-1].copy() if bgr else PICTURES)
    return (pictures.float() - torch.tensor(mean)).permute(0, 3, 1, 2)
