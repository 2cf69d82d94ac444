"""Tensors out of packages under the names of our backbones, in torch's order of axes.

dlib's face recognition from its own file and from face-api's, and MobileNets of faces from TensorFlow. What is missing is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agecascade.models.dlib_resnet29 import LAYERS

State = dict[str, Tensor]

_BATCH_NORM_EPSILON = 1e-5  # timm's, of MobileNet-v1
_MOBILENET_V1 = (1, 2, 2, 6, 2)  # blocks of each of timm's stages


def _residuals() -> list[tuple[str, str]]:
    """(face-api's name, ours) of all residuals in the order of the forward pass: conv64_down is layer2.0, conv64_1 layer2.1."""
    names = []
    for number, (channels, count, halves) in enumerate(LAYERS, 1):
        last = number == len(LAYERS)  # both of the last layers have 256 channels
        theirs = [f"conv{channels}_down{'_out' if last else ''}", *(f"conv{channels}_{index}" for index in range(1, count))]
        if not halves:
            theirs = [f"conv{channels}_{index}" for index in range(1, count + 1)]
        names += [(name, f"layer{number}.{index}") for index, name in enumerate(theirs)]
    return names


def _dlib(filters: Tensor, biases: Tensor, gamma: Tensor, beta: Tensor, convolution: str, affine: str) -> State:
    """A convolution and the affine layer behind it, which takes up the convolution's biases."""
    return {f"{convolution}.weight": filters, f"{affine}.weight": gamma, f"{affine}.bias": beta + gamma * biases}


def dlib_file(state: State) -> State:
    """Of dlib's own file: convolutions and affine layers numbered in the order of the forward pass."""
    places = [("stem.0", "stem.1")]
    places += [(f"{ours}.conv{part}", f"{ours}.norm{part}") for _, ours in _residuals() for part in (1, 2)]
    prepared: State = {}
    for number, (convolution, affine) in enumerate(places):
        parts = (f"con{number}.filters", f"con{number}.biases", f"affine{number}.gamma", f"affine{number}.beta")
        if set(parts) <= state.keys():
            filters, biases, gamma, beta = (state[part] for part in parts)
            prepared |= _dlib(filters, biases, gamma, beta, convolution, affine)
    return prepared


def face_api(state: State) -> State:
    """Of face-api's manifest: filters (h, w, inputs, outputs)."""
    places = {"conv32_down": ("stem.0", "stem.1")}
    places |= {f"{theirs}/conv{part}": (f"{ours}.conv{part}", f"{ours}.norm{part}") for theirs, ours in _residuals() for part in (1, 2)}
    prepared: State = {}
    for theirs, (convolution, affine) in places.items():
        parts = [f"{theirs}/{part}" for part in ("conv/filters", "conv/bias", "scale/weights", "scale/biases")]
        if set(parts) <= state.keys():
            filters, biases, gamma, beta = (state[part] for part in parts)
            prepared |= _dlib(filters.permute(3, 2, 0, 1), biases, gamma, beta, convolution, affine)
    return prepared


def mobilenet_v1(state: State) -> State:
    """Of TensorFlow's MobileNet-v1 with its batch norms merged: a scale that stays, if any, and a shift; the statistics are 0 and 1."""
    stages = [(stage, index) for stage, count in enumerate(_MOBILENET_V1) for index in range(count)]
    layers = {"conv1": ("conv_stem", "bn1")}
    for number, (stage, index) in enumerate(stages, 1):
        block = f"blocks.{stage}.{index}"
        layers |= {f"conv_dw_{number}": (f"{block}.conv_dw", f"{block}.bn1"), f"conv_pw_{number}": (f"{block}.conv_pw", f"{block}.bn2")}
    prepared: State = {}
    for theirs, (convolution, norm) in layers.items():
        depthwise = "_dw_" in theirs
        kernel = state.get(f"{theirs}/{'depthwise_kernel' if depthwise else 'convolution/merged_input'}")
        shift = state.get(f"{theirs}_bn/batchnorm_1/sub")
        scale = state.get(f"{theirs}_bn/batchnorm_1/mul") if depthwise else torch.ones(()) if shift is None else torch.ones_like(shift)
        if kernel is None or shift is None or scale is None:
            continue
        # (h, w, inputs, outputs) -> (outputs, inputs, h, w); of a depthwise one (h, w, channels, 1) -> (channels, 1, h, w)
        prepared[f"network.{convolution}.weight"] = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
        statistics = {"running_mean": torch.zeros_like(shift), "running_var": torch.full_like(shift, 1 - _BATCH_NORM_EPSILON)}
        prepared |= {f"network.{norm}.{part}": tensor for part, tensor in {"weight": scale, "bias": shift, **statistics}.items()}
    return prepared
