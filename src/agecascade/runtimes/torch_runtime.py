"""Trained weights, run by torch: what training, evaluation and explanations use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from agecascade import model_folder
from agecascade.errors import ModelError
from agecascade.imaging import Image
from agecascade.inference import predict_values
from agecascade.methods.base import Method
from agecascade.model_card import ModelCard
from agecascade.models.base import Network
from agecascade.runtimes.base import FoldModel, Prediction

BATCH_ROWS = 256


@dataclass(frozen=True, eq=False)
class TorchModel(FoldModel):
    """One trained network with its method and description."""

    network: Network
    method: Method
    card: ModelCard

    @property
    def mean_decoded(self) -> str | None:
        return self.method.options.decoding if self.method.decodes_mean else None

    def values(self, crops: Image) -> Prediction:
        card = self.card
        return predict_values(self.network, self.method, crops, card.image_size, card.channels, flip=card.flip, batch_size=BATCH_ROWS)


def load(folder: Path, device: str | None = None) -> TorchModel:
    """A folder of trained weights; device: torch's name, the default is CUDA where there is one. Raises ModelError."""
    network, method, card = model_folder.load(folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:  # no such device, or torch is built without it
        raise ModelError(f"device {device!r}: torch has none ({' '.join(str(error).split())[:120]}); take cpu") from None
    return TorchModel(network, method.to(device), card)
