"""Batch norm folded into the convolutions before it: a network in use needs neither its passes over the maps nor their memory."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)


def folded(network: Module) -> Module:
    """A copy in evaluation mode without the batch norms that follow a convolution in a `Sequential`; all other weights are shared.

    Its outputs differ by rounding. A batch norm elsewhere, as in residual blocks, stays: their forward pass alone tells what it follows.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared).eval()
    uses = Counter(id(module) for _, module in twin.named_modules(remove_duplicate=False))
    for parent in [module for module in twin.modules() if isinstance(module, nn.Sequential)]:
        for at, (layer, norm) in enumerate(pairwise(list(parent))):
            if type(layer) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None and uses[id(layer)] == 1:
                parent[at], parent[at + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()  # blocks are counted by their places
    return twin
