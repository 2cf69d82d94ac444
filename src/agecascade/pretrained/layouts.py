"""Layouts of published weights: their names, the networks that they fit, and the normalisation of their pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agecascade.params import Normalisation
from agecascade.pretrained.packaged import dlib_file, face_api, mobilenet_v1
from agecascade.pretrained.reading import State

VGGFACE2_CLASSES = 8631

_IMAGENET = Normalisation(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Layout:
    """A publisher's naming of weights.

    renamed: a published name as ours below `backbone.` or `pool.` for one of `backbones`; None for what no backbone has, such as
    the classes that the network was trained for. bgr: whether the first convolution wants blue first. prepared: the published
    tensors in torch's order of axes, before they are renamed.
    """

    name: str
    backbones: tuple[str, ...]
    normalisation: Normalisation
    bgr: bool
    renamed: Callable[[str, str], str | None]
    prepared: Callable[[State], State] = dict


def by_means(mean: tuple[float, float, float], divisor: float = 1.0) -> Normalisation:
    """Normalisation of RGB pictures in 0..255 by their means, and by a divisor."""
    return Normalisation(mean=[round(value / 255, 8) for value in mean], std=[round(divisor / 255, 10)] * 3)


def layout_of(state: State) -> Layout | None:
    """The layout of a published state dict, or None for an unknown one."""
    if "conv1_7x7_s2.weight" in state:
        return VGGFACE2_CAFFE
    if "conv1_1.weight" in state:
        return VGGFACE
    if "conv_1_1.weight" in state:
        return VGGFACE_BGR
    if "layer1.0.conv4.weight" in state or ("fc.weight" in state and len(state["fc.weight"]) == VGGFACE2_CLASSES):
        return VGGFACE2
    if any(name in state for name in ("layer1.0.conv1.weight", "features.0.weight", "features.0.0.weight")):
        return TORCHVISION
    return _packaged_layout_of(state)


def _packaged_layout_of(state: State) -> Layout | None:
    if "con0.filters" in state:
        return DLIB
    if "conv32_down/conv/filters" in state:
        return FACE_API
    if "conv_dw_1/depthwise_kernel" in state and "age_pred/kernel" in state:
        return FACERES
    return None


def _torchvision(name: str, backbone: str) -> str | None:
    layers = {"classifier.0.": "pool.fc6.0.", "classifier.3.": "pool.fc7.0."} if backbone.startswith("vgg16") else {}
    for theirs, ours in layers.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return None if name.startswith(("fc.", "classifier.")) else f"backbone.{name}"


def _vggface2(name: str, backbone: str) -> str | None:
    """As torchvision, with squeeze and excitation as a fourth and a fifth convolution."""
    if name.startswith("fc."):
        return None
    if backbone == "senet50":
        name = re.sub(r"^(conv1|bn1)\.", r"layer0.\1.", name)
        name = name.replace(".conv4.", ".se_module.fc1.").replace(".conv5.", ".se_module.fc2.")
    return f"backbone.{name}"


_CAFFE_LAYERS = {
    "1x1_reduce": "conv1",
    "1x1_reduce_bn": "bn1",
    "3x3": "conv2",
    "3x3_bn": "bn2",
    "1x1_increase": "conv3",
    "1x1_increase_bn": "bn3",
    "1x1_down": "conv4",
    "1x1_up": "conv5",
    "1x1_proj": "downsample.0",
    "1x1_proj_bn": "downsample.1",
}


def _vggface2_caffe(name: str, backbone: str) -> str | None:
    """Caffe's names: conv2_1_1x1_reduce_bn.weight is layer1.0.bn1.weight."""
    layer, _, what = name.rpartition(".")
    if layer.startswith(("classifier", "feat_extract")):
        return None
    stem = {"conv1_7x7_s2": "conv1", "conv1_7x7_s2_bn": "bn1"}.get(layer)
    match = re.fullmatch(r"conv(\d)_(\d)_(\w+)", layer)
    if stem is None and match and match[3] in _CAFFE_LAYERS:
        stem = f"layer{int(match[1]) - 1}.{int(match[2]) - 1}.{_CAFFE_LAYERS[match[3]]}"
    return _vggface2(f"{stem or layer}.{what}", backbone)


def _vggface(name: str, backbone: str) -> str | None:
    """conv1_1 or conv_1_1, ..., fc6, fc7; fc8 holds the identities."""
    layer, _, what = name.rpartition(".")
    if layer in ("fc6", "fc7"):
        return f"pool.{layer}.0.{what}"
    match = re.fullmatch(r"conv_?(\d)_(\d)", layer)
    if match is None:
        return None if layer == "fc8" else f"backbone.{name}"
    block, number = int(match[1]), int(match[2])
    before = sum((2, 2, 3, 3, 3)[: block - 1])  # convolutions; each has a ReLU behind it, and each block a max-pool
    return f"backbone.features.{2 * (before + number - 1) + block - 1}.{what}"


_VGGS = ("vgg16", "vgg16_512_256", "vgg16_nofc")
_RESNETS = ("resnet50_caffe", "senet50")
_FACES, _FACES2 = by_means((129.1863, 104.7624, 93.5940)), by_means((131.0912, 103.8827, 91.4953))
TORCHVISION = Layout("torchvision", ("resnet18", "resnet34", "resnet50", *_VGGS, "mobilenet_v2"), _IMAGENET, False, _torchvision)
VGGFACE2 = Layout("VGGFace2", _RESNETS, _FACES2, True, _vggface2)
VGGFACE2_CAFFE = Layout("VGGFace2", _RESNETS, _FACES2, True, _vggface2_caffe)
VGGFACE = Layout("VGGFace", _VGGS, _FACES, False, _vggface)
VGGFACE_BGR = Layout("VGGFace", _VGGS, _FACES, True, _vggface)


def _prepared(name: str, backbone: str) -> str:
    """What `packaged` prepares has the backbone's names."""
    return f"backbone.{name}"


_MOBILENETS = ("timm/mobilenetv1_100:pad_type=same,batch_norm=frozen", "timm/mobilenetv1_100:pad_type=same")
_DLIB = by_means((122.782, 117.001, 104.298), divisor=256)
DLIB = Layout("dlib", ("dlib_resnet29",), _DLIB, False, _prepared, dlib_file)
FACE_API = Layout("dlib", ("dlib_resnet29",), _DLIB, False, _prepared, face_api)
FACERES = Layout("FaceRes", _MOBILENETS, by_means((123.68, 116.779, 103.939)), True, _prepared, mobilenet_v1)
