"""Trained weights, run by torch: what training, evaluation and explanations use."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from agecascade import model_folder
from agecascade.errors import ModelError
from agecascade.imaging import Image
from agecascade.inference import predict_values
from agecascade.methods.base import Method
from agecascade.model_card import ModelCard
from agecascade.models.base import Network
from agecascade.runtimes.base import FoldModel, Prediction

BATCH_ROWS = 256  # crops that a GPU sees at once, and the predictions of studies


@dataclass(frozen=True, eq=False)
class TorchModel(FoldModel):
    """One trained network with its method and description."""

    network: Network
    method: Method
    card: ModelCard

    @property
    def mean_decoded(self) -> str | None:
        return self.method.options.decoding if self.method.decodes_mean else None

    @cached_property
    def _in_use(self) -> Network:
        """The network without what training needs; `network` keeps its layers, for explanations and exports."""
        return folded(self.network)

    @property
    def at_once(self) -> int:
        return super().at_once if next(self.network.parameters()).device.type == "cpu" else BATCH_ROWS

    def values(self, crops: Image) -> Prediction:
        card = self.card
        return predict_values(self._in_use, self.method, crops, card.image_size, card.channels, flip=card.flip, batch_size=self.at_once)


def load(folder: Path, device: str | None = None) -> TorchModel:
    """A folder of trained weights; device: torch's name, the default is CUDA where there is one. Raises ModelError."""
    network, method, card = model_folder.load(folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:  # no such device, or torch is built without it
        raise ModelError(f"device {device!r}: torch has none ({' '.join(str(error).split())[:120]}); take cpu") from None
    return TorchModel(network, method.to(device), card)


def folded(network: Network) -> Network:
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
