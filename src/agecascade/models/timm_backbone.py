"""Any network of timm as a backbone, by timm's name and options: timm/mobilenetv1_100:pad_type=same,batch_norm=frozen."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from agecascade.errors import ModelError, unknown_name
from agecascade.models.base import Backbone
from agecascade.models.shapes import outlines

_STACKS = ("blocks", "stages", "layers", "features")  # timm's names of stacks of blocks; each block gets a name here
Options = dict[str, Any]

_FROZEN = "batch_norm"  # our own: `frozen` gives every batch norm fixed statistics, slope and shift
_WEIGHTS_AND_SHAPES = {  # which the project decides itself, or which would read files or the network
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path", "cache_dir"),
    *("num_classes", "in_chans", "features_only", "out_indices", "scriptable", "exportable", "no_jit"),
}
_OPTION = re.compile(r"([a-z][a-z0-9_]*)=([A-Za-z0-9_.+-]+)")
_NUMBER = re.compile(r"-?\d+")
_PLAIN = (bool, int, float, str, tuple)


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
    frozen = options.pop(_FROZEN, None) is not None
    network = _made(bare, options, name)
    for option, value in options.items():
        with outlines():
            differs = _outline(_made(bare, options, name)) != _outline(_made(bare, {**options, option: None}, name))  # None: timm's default
        if not differs:
            raise ModelError(f"backbone timm/{name}: {option}={value} changes nothing in this network; correct it or leave it away")
    return _frozen_batch_norm(network, name) if frozen else network


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
    with outlines():
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


def parse(name: str) -> tuple[str, Options]:
    """timm's own name, and the options after the colon: whole numbers, numbers, true and false, else text.

    Raises ModelError for what is no option, for one that is given twice, and for those that are not a study's to set.
    """
    bare, colon, listed = name.partition(":")
    options: Options = {}
    for part in listed.split(",") if colon else []:
        match = _OPTION.fullmatch(part)
        if match is None or match[1] in options:
            fault = "given twice" if match else "no option"
            raise ModelError(f"backbone timm/{name}: {part!r} is {fault}; write timm/<name>:<option>=<value>,<option>=<value>")
        if match[1] in _WEIGHTS_AND_SHAPES:
            raise ModelError(f"backbone timm/{name}: {match[1]} is not set here; published weights are those of `weights` in params.yaml")
        options[match[1]] = _value(match[2])
    if options.get(_FROZEN, "frozen") != "frozen":
        raise ModelError(f"backbone timm/{name}: {_FROZEN} is frozen or not given, not {options[_FROZEN]!r}")
    return bare, options


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _frozen_batch_norm(network: nn.Module, name: str) -> nn.Module:
    """The network with its batch norms fixed. Raises ModelError where it has none."""
    from timm.layers import freeze_batch_norm_2d

    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise ModelError(f"backbone timm/{name}: this network has no batch norm to freeze; leave {_FROZEN} away")
    return freeze_batch_norm_2d(network)


def _outline(network: nn.Module) -> list[object]:
    """What a network is made of: the modules with their plain settings, and the shapes of their weights. Equal ones compute the same."""
    modules: list[object] = []
    for name, module in network.named_modules():
        settings = sorted((key, value) for key, value in vars(module).items() if isinstance(value, _PLAIN) and not key.startswith("_"))
        modules.append((name, type(module), module.extra_repr(), settings))
    return [*modules, *((name, tuple(tensor.shape)) for name, tensor in network.state_dict().items())]
