"""Trained weights, run by torch: what training, evaluation and explanations use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from agecascade import model_folder
from agecascade.errors import ModelError
from agecascade.imaging import Image
from agecascade.inference import predict_values
from agecascade.methods.base import Method
from agecascade.model_card import ModelCard
from agecascade.models.base import Network
from agecascade.models.folding import folded
from agecascade.runtimes.base import FoldModel, Prediction

ON_GPU = 256  # crops at once


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
        return super().at_once if next(self.network.parameters()).device.type == "cpu" else ON_GPU

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
