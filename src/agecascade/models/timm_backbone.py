"""Any network of timm as a backbone, by timm's name and options."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from agecascade.errors import ModelError, unknown_name
from agecascade.models.base import Backbone
from agecascade.models.timm_options import FROZEN, Options, freeze_batch_norm, outline, parse

_STACKS = ("blocks", "stages", "layers", "features")  # timm's names of stacks of blocks; each block gets a name here


class Timm(Backbone):
    """(B, 3, H, W) -> (B, channels, h, w); the tokens of a transformer are laid out as its patches lie in the picture."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network: Any = _created(name)
        self.channels = int(self.network.num_features)
        self.used = _used(name)
        for part in [part for part, _ in self.network.named_children() if part not in self.used]:
            setattr(self.network, part, nn.Identity())  # pooling and classes of the network's own task

    @property
    def blocks(self) -> dict[str, nn.Module]:
        """timm's own names: conv1, layer1, ... of a ResNet; patch_embed, blocks.0, blocks.1, ... of a transformer."""
        blocks: dict[str, nn.Module] = {}
        for name, module in self.network.named_children():
            if name in _STACKS:
                blocks |= {f"{name}.{part}": block for part, block in module.named_children()}
            elif name in self.used:
                blocks[name] = module
        return blocks

    def forward(self, images: Tensor) -> Tensor:
        maps = self.network.forward_features(images)
        if maps.ndim == 3:
            return _laid_out(maps[:, getattr(self.network, "num_prefix_tokens", 0) :])  # (B, C, h, w)
        if maps.ndim == 4 and maps.shape[1] != self.channels:
            return maps.permute(0, 3, 1, 2)  # (B, C, h, w) from (B, h, w, C)
        return maps  # (B, C, h, w)


def _created(name: str) -> Any:
    """timm's network of a name and options. Raises ModelError where timm does not know one of them, or an option changes nothing."""
    bare, options = parse(name)
    frozen = options.pop(FROZEN, None) is not None
    network = _made(bare, options, name)
    for option, value in options.items():
        with torch.device("meta"):
            differs = outline(_made(bare, options, name)) != outline(_made(bare, {**options, option: None}, name))  # None: timm's default
        if not differs:
            raise ModelError(f"backbone timm/{name}: {option}={value} changes nothing in this network; correct it or leave it away")
    return freeze_batch_norm(network, name) if frozen else network


def _made(bare: str, options: Options, name: str) -> Any:
    import timm

    if not timm.is_model(bare.partition(".")[0]):
        raise ModelError(f"backbone timm/{name}: {unknown_name('network of timm', bare, timm.list_models())}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            network = timm.create_model(bare, pretrained=False, num_classes=0, **options)
        except LookupError as error:
            raise ModelError(f"backbone timm/{name}: timm does not know {error}") from None
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # an unknown tag or option, or a wrong value
            raise ModelError(f"backbone timm/{name}: {' '.join(str(error).split())}") from None
    if not hasattr(network, "forward_features"):
        raise ModelError(f"backbone timm/{name}: this network of timm's has no forward_features; choose another")
    return network


def _used(name: str) -> set[str]:
    """The modules of a timm network that compute its features."""
    with torch.device("meta"):  # neither memory nor random numbers are used
        shape = _created(name).eval()
        used: set[str] = set()
        for part, module in shape.named_children():
            for inner in module.modules():
                inner.register_forward_hook(lambda *_, part=part: used.add(part))
        with torch.no_grad():
            shape.forward_features(torch.empty(1, *shape.default_cfg["input_size"]))
    return used


def _laid_out(tokens: Tensor) -> Tensor:
    """(B, N, C) -> (B, C, h, w), h = w where N is a square."""
    batch, count, channels = tokens.shape
    side = math.isqrt(count)
    height = side if side * side == count else 1
    return tokens.transpose(1, 2).reshape(batch, channels, height, count // height)
