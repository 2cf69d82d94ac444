"""The layers of a network that features can be taken from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from agecascade.errors import ParamsError, unknown_name
from agecascade.models.base import Network
from agecascade.models.timm_backbone import Timm

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh)
REDUCED: dict[str, Callable[[Tensor], Tensor]] = {
    "average": lambda maps: maps.mean((2, 3)),  # (B, C, h, w) -> (B, C)
    "max": lambda maps: maps.amax((2, 3)),
    "flatten": lambda maps: maps.flatten(1),  # (B, C * h * w)
}
Layer = Callable[[Tensor], Tensor]


def layer_names(network: Network) -> list[str]:
    """What `layer` may be for this network."""
    inner = ["first", *_blocks(network)] if _blocks(network) else []
    return ["pooled", "global_max", "flattened", *inner]


def layer(network: Network, name: str, reduce: str = "average") -> tuple[Layer, Layer]:
    """(pictures (B, 3, H, W) -> what the layer gives, that -> features (B, D)); nothing behind the layer is computed.

    pooled: what the head sees (B, C), or the average of the maps that it sees; global_max, flattened: the last convolution's maps
    (B, C, h, w), of which the global maximum or every value is kept; first: the first layer, convolution to activation; else the
    block of that name. `reduce` says what becomes of the maps of the last two. Raises ParamsError naming the layers that there are.
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
    """The blocks that give maps, each the next one's input; timm's networks do not promise that of theirs."""
    return {} if isinstance(network.backbone, Timm) else network.backbone.blocks


def _up_to(blocks: Mapping[str, nn.Module], name: str) -> Layer:
    names = list(blocks)
    return nn.Sequential(*(blocks[each] for each in names[: names.index(name) + 1]))


def _first(blocks: Mapping[str, nn.Module]) -> Layer:
    """The first block as far as its first activation, or its first convolution where it has none."""
    block = next(iter(blocks.values()))
    found: list[nn.Module] = [module for module in block.modules() if isinstance(module, ACTIVATIONS)]
    found += [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    if not found:
        raise ParamsError("layer: the first block of this network has neither convolution nor activation; take a block")

    def first(images: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        handle = found[0].register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))
        try:
            block(images)
        finally:
            handle.remove()
        return outputs[0]

    return first


def both_views(at_layer: Layer, reduced: Layer, images: Tensor) -> Tensor:
    """Features (B, D), the mean over each picture and its mirror image, whose maps are turned back first."""
    straight, mirrored = at_layer(images), at_layer(images.flip(3))
    if mirrored.ndim == 4:
        mirrored = mirrored.flip(3)
    return (reduced(straight) + reduced(mirrored)) / 2


def normalised(features: Tensor, kind: str) -> Tensor:
    """Features (B, D) of length one with "l2" (zeros stay), as they are with "none"."""
    return torch.nn.functional.normalize(features, dim=1) if kind == "l2" else features
