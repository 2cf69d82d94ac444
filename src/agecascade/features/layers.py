"""Features from the layers of a network: which layers there are, their features batch by batch, and checks before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agecascade import models
from agecascade.errors import ParamsError, unknown_name
from agecascade.inference import batches
from agecascade.loading import Images
from agecascade.models.base import Network
from agecascade.models.shapes import outlines
from agecascade.models.timm_backbone import Timm
from agecascade.params import Normalisation, Params, Training

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh)
REDUCED: dict[str, Callable[[Tensor], Tensor]] = {
    "average": lambda maps: maps.mean((2, 3)),  # (B, C, h, w) -> (B, C)
    "max": lambda maps: maps.amax((2, 3)),
    "flatten": lambda maps: maps.flatten(1),  # (B, C * h * w)
}

Layer = Callable[[Tensor], Tensor]


def layer_names(network: Network) -> list[str]:
    """The values of `layer` that this network allows."""
    inner = ["first", *_blocks(network)] if _blocks(network) else []
    return ["pooled", "global_max", "flattened", *inner]


def layer(network: Network, name: str, reduce: str = "average") -> tuple[Layer, Layer]:
    """Two functions: pictures (B, 3, H, W) -> outputs of the layer -> features (B, D); nothing after the layer is computed.

    pooled: the input (B, C) of the head, or the average of its maps; global_max, flattened: the global maximum of the last
    convolution's maps (B, C, h, w), or all their values; first: the first layer, from convolution to activation; else the block
    of that name. `reduce` applies to the maps of the last two. Raises ParamsError naming the layers of this network.
    """
    blocks = _blocks(network)
    if name == "pooled":
        return network.features, lambda features: REDUCED["average"](features) if features.ndim == 4 else features
    if name in ("global_max", "flattened"):
        return network.backbone, REDUCED["max" if name == "global_max" else "flatten"]
    if name == "first" and blocks:
        return _first(blocks), REDUCED[reduce]
    if name not in blocks:
        known = layer_names(network)
        raise ParamsError(f"layer: {unknown_name('layer', name, known).partition(';')[0]}; this network has {', '.join(known)}")
    return _up_to(blocks, name), REDUCED[reduce]


def _blocks(network: Network) -> Mapping[str, nn.Module]:
    """The blocks that compute maps, each the input of the next; timm does not guarantee that for its networks."""
    return {} if isinstance(network.backbone, Timm) else network.backbone.blocks


def _up_to(blocks: Mapping[str, nn.Module], name: str) -> Layer:
    names = list(blocks)
    return nn.Sequential(*(blocks[each] for each in names[: names.index(name) + 1]))


def _first(blocks: Mapping[str, nn.Module]) -> Layer:
    """The first block as far as its first activation, or its first convolution where it has none."""
    block = next(iter(blocks.values()))
    ends: list[nn.Module] = [module for module in block.modules() if isinstance(module, ACTIVATIONS)]
    ends += [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    if not ends:
        raise ParamsError("layer: the first block of this network has neither convolution nor activation; take a block")

    def first(images: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        handle = ends[0].register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))
        try:
            block(images)
        finally:
            handle.remove()
        return outputs[0]

    return first


def network_features(
    network: Network,
    images: Images,
    image_size: int,
    normalisation: Normalisation,
    name: str = "pooled",
    reduce: str = "average",
    normalise: str = "none",
    half: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Features (b, D) of one batch of pictures (N, S, S, 3) after the other, each the mean over a picture and its mirror image.

    name, reduce: see `layer`; normalise: none or l2; half: float16 on a GPU, bfloat16 elsewhere.
    Raises ParamsError for an unknown layer.
    """
    at_layer, reduced = layer(network, name, reduce)
    device = next(network.parameters()).device
    precision = torch.float16 if device.type == "cuda" else torch.bfloat16
    with torch.autocast(device.type, dtype=precision, enabled=half):
        for batch in batches(network, images, image_size, normalisation):
            yield scale_features(mirror_mean(at_layer, reduced, batch).float(), normalise).cpu().numpy()


def mirror_mean(at_layer: Layer, reduced: Layer, images: Tensor) -> Tensor:
    """Features (B, D), the mean over each picture and its mirror image, whose maps are mirrored back first."""
    straight, mirrored = at_layer(images), at_layer(images.flip(3))
    if mirrored.ndim == 4:
        mirrored = mirrored.flip(3)
    return (reduced(straight) + reduced(mirrored)) / 2


def scale_features(features: Tensor, kind: str) -> Tensor:
    """Features (B, D) scaled to length one with "l2" (zeros stay zero), unchanged with "none"."""
    return torch.nn.functional.normalize(features, dim=1) if kind == "l2" else features


def check_features(params: Params) -> None:
    """Raise ParamsError naming the key where a step has a network per fold, or the main row's backbone lacks the layer.

    The number of folds of published roles is known only after they are read, and is not checked here.
    """
    networks = {name: features for name, features in params.features.items() if features.extractor == "network"}
    if not networks:
        return
    with outlines():  # the layers are those of the backbone, whatever the head
        empty = models.create(params.backbone)
    for name, features in networks.items():
        try:
            if has_several_folds(params, features.step):
                raise several_folds_error(features.step)
            layer(empty, features.layer, features.reduction)
        except ParamsError as error:
            raise ParamsError(f"features.{name}.{error}") from None


def has_several_folds(params: Params, step: str) -> bool:
    """Whether a step certainly has several folds, by the protocol of its data set."""
    steps: dict[str, Training] = {**params.pretrain, **params.cascade}
    if step not in steps:  # scratch, published weights
        return False
    dataset = params.datasets[steps[step].dataset]
    return dataset.protocol in ("subject_kfold", "leave_one_subject_out") or (dataset.protocol == "random" and dataset.folds > 1)


def several_folds_error(step: str) -> ParamsError:
    """The error for a step with several folds; the caller puts `features.<name>.` before it."""
    return ParamsError(f"step: {step} has several folds with a network each, and features are of one network; choose a step with one fold")
