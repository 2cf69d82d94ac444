"""Networks by name: a backbone and a head. A network maps (B, 3, H, W) normalised pictures to (B, outputs)."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import torch

from agecascade.errors import ModelError, unknown_name
from agecascade.models.base import Backbone, Network
from agecascade.models.c3ae import C3AE
from agecascade.models.daa import DaaNetwork
from agecascade.models.dlib_resnet29 import DlibResNet29
from agecascade.models.heads import LAYERS, POOLINGS, PooledNetwork
from agecascade.models.resnet import MobileNetV2, ResNet, SENet50
from agecascade.models.shapes import outlines
from agecascade.models.thinagenet import thin_vgg16
from agecascade.models.timm_backbone import Timm
from agecascade.models.vgg16 import VGG16

SMALL = 30_000_000  # parameters

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "thinagenet": lambda: thin_vgg16(0.5),
    "tinyagenet": lambda: thin_vgg16(0.25),
    "thinattnet": lambda: thin_vgg16(0.5),
    "tinyattnet": lambda: thin_vgg16(0.25),
    "vgg16": lambda: VGG16([4096, 4096]),
    "vgg16_nofc": lambda: VGG16([]),
    "vgg16_512_256": lambda: VGG16([512, 256]),
    "resnet18": lambda: ResNet(18),
    "resnet34": lambda: ResNet(34),
    "resnet50": lambda: ResNet(50),
    "resnet50_caffe": lambda: ResNet(50, "caffe"),
    "resnet18_daa": lambda: ResNet(18, "daa"),
    "resnet34_daa": lambda: ResNet(34, "daa"),
    "resnet50_daa": lambda: ResNet(50, "daa"),
    "senet50": SENet50,
    "mobilenet_v2": MobileNetV2,
    "dlib_resnet29": DlibResNet29,
    "c3ae": C3AE,
    "c3ae_hswish": lambda: C3AE(hswish=True),
    "c3ae_se": lambda: C3AE(excitation=True),
    "c3ae_se_hswish": lambda: C3AE(hswish=True, excitation=True),
}
WIDE = "thinagenet:"  # followed by the share of VGG-16's channels: thinagenet:0.375
TIMM = "timm/"  # followed by timm's name, and its options: timm/mobilenetv1_100:pad_type=same

HEADS: dict[str, Callable[..., Network]] = {  # arguments: backbone, outputs, pooling, layer, then options of its own
    "pooled": PooledNetwork,
    "daa": DaaNetwork,
}
_SHARED = 4  # leading arguments of every head, which are no options

SIZES = (16, 32, 48, 64, 96, 112, 128, 150, 160, 192, 224, 256, 299, 320, 384, 448, 512)  # pixels; usual sizes, suggested in errors


def create(
    backbone: str,
    head: str = "pooled",
    outputs: int = 101,
    pooling: str = "hybrid",
    layer: str = "linear",
    head_options: Mapping[str, Any] | None = None,
    grid: Sequence[float] | None = None,
) -> Network:
    """A freshly initialised network; torch's global random state decides the weights.

    `pooling`: of the pooled head, for backbones without fully connected layers of their own; `layer`: the last layer of that head, which
    the method chooses: linear, or shared_slope; `grid`: the label values that a head of comparisons, such as daa, compares with. Raises
    ModelError for an unknown backbone, head, pooling, layer or option of the head, naming the nearest known ones.
    """
    if head not in HEADS:
        raise ModelError(unknown_name("head", head, HEADS))
    if pooling not in POOLINGS:
        raise ModelError(unknown_name("pooling", pooling, POOLINGS))
    if layer not in LAYERS:
        raise ModelError(unknown_name("layer", layer, LAYERS))
    parameters = inspect.signature(HEADS[head]).parameters
    known = [name for name in list(parameters)[_SHARED:] if name != "grid"]
    for option in head_options or {}:
        if option not in known:
            hint = unknown_name(f"option of head {head}", option, known) if known else f"head {head} has no options, not {option!r}"
            raise ModelError(f"head_options: {hint}")
    compared = {"grid": grid} if "grid" in parameters else {}
    return HEADS[head](_backbone(backbone), outputs, pooling, layer, **compared, **(head_options or {}))


def require_backbone(name: str) -> None:
    """Raise ModelError for an unknown backbone, naming the nearest known ones."""
    with outlines():
        _backbone(name)


def block_names(backbone: str, head: str = "pooled", head_options: Mapping[str, Any] | None = None) -> list[str]:
    """The names of a network's blocks in order, for `trainable: from:<block>`. Raises ModelError as `create`."""
    with outlines():
        return list(create(backbone, head, head_options=head_options).blocks)


def frozen_blocks(blocks: Iterable[str], trainable: str) -> list[str]:
    """The names of the blocks before the head that keep their weights under `trainable`: head, all, or from:<block>.

    Raises ModelError for an unknown block, naming the nearest known ones.
    """
    names = list(blocks)
    if trainable == "all":
        return []
    if trainable == "head":
        return names
    first = trainable.removeprefix("from:")
    if first not in names:
        raise ModelError(f"trainable: {unknown_name('block', first, names)}")
    return names[: names.index(first)]


def require_size(network: Network, name: str, size: int) -> None:
    """Raise ModelError where a network cannot take pictures of `size` pixels; it names usual sizes that fit.

    One in use is asked for one picture, and so is a small one on the device "meta", in memory that holds anything: torch imports for
    seconds what computing on "meta" needs.
    """
    if next(network.parameters()).is_meta and sum(weight.numel() for weight in network.parameters()) < SMALL:
        network = copy.deepcopy(network).to_empty(device="cpu")
    fault = _fault(network, size)
    if fault is None:
        return
    fit = list(islice((str(other) for other in SIZES if _fault(network, other) is None), 3))
    advice = f"set image_size to {' or '.join(fit)}" if fit else "choose another backbone"
    raise ModelError(f"{name} cannot take pictures of {size} pixels ({fault}); {advice}")


def _backbone(name: str) -> Backbone:
    if name in BACKBONES:
        return BACKBONES[name]()
    if name.startswith(TIMM):
        return Timm(name.removeprefix(TIMM))
    if name.startswith(WIDE):
        return thin_vgg16(_width(name))
    raise ModelError(unknown_name("backbone", name, [*BACKBONES, f"{WIDE}<width>", f"{TIMM}<name>"]))


def _width(name: str) -> float:
    try:
        width = float(name.removeprefix(WIDE))
    except ValueError:
        width = math.nan
    if not 0 < width <= 4:
        raise ModelError(f"backbone {name!r}: {WIDE} wants a share of VGG-16's channels, above 0 and at most 4; say {WIDE}0.375")
    return width


def _fault(network: Network, size: int) -> str | None:
    """Why a network cannot take pictures of this size; None where it can."""
    was_training, device = network.training, next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, size, size, device=device))
    except (RuntimeError, AssertionError, ValueError, ModelError) as error:
        return " ".join(str(error).split())
    finally:
        network.train(was_training)
    return None
