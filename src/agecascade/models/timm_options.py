"""Options of timm's networks in a backbone's name: timm/mobilenetv1_100:pad_type=same,batch_norm=frozen."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from agecascade.errors import ModelError

Options = dict[str, Any]

FROZEN = "batch_norm"  # our own: `frozen` gives every batch norm fixed statistics, slope and shift
_WEIGHTS_AND_SHAPES = {  # which the project decides itself, or which would read files or the network
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path", "cache_dir"),
    *("num_classes", "in_chans", "features_only", "out_indices", "scriptable", "exportable", "no_jit"),
}
_OPTION = re.compile(r"([a-z][a-z0-9_]*)=([A-Za-z0-9_.+-]+)")
_NUMBER = re.compile(r"-?\d+")
_PLAIN = (bool, int, float, str, tuple)


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
    if options.get(FROZEN, "frozen") != "frozen":
        raise ModelError(f"backbone timm/{name}: {FROZEN} is frozen or not given, not {options[FROZEN]!r}")
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


def freeze_batch_norm(network: nn.Module, name: str) -> nn.Module:
    """The network with its batch norms fixed. Raises ModelError where it has none."""
    from timm.layers import freeze_batch_norm_2d

    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise ModelError(f"backbone timm/{name}: this network has no batch norm to freeze; leave {FROZEN} away")
    return freeze_batch_norm_2d(network)  # type: ignore[return-value]


def outline(network: nn.Module) -> list[object]:
    """What a network is made of: the modules with their plain settings, and the shapes of their weights. Equal ones compute the same."""
    modules: list[object] = []
    for name, module in network.named_modules():
        settings = sorted((key, value) for key, value in vars(module).items() if isinstance(value, _PLAIN) and not key.startswith("_"))
        modules.append((name, type(module), module.extra_repr(), settings))
    return [*modules, *((name, tuple(tensor.shape)) for name, tensor in network.state_dict().items())]
