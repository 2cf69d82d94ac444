"""model.pt: TorchScript, run by torch alone, without this package's networks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agecascade.imaging import Image
from agecascade.model_card import ModelCard
from agecascade.runtimes.base import ExportedModel, refused, sealed_file


class TorchScriptModel(ExportedModel):
    """A frozen graph of torch's."""

    def __init__(self, card: ModelCard, module: Any, device: str) -> None:
        super().__init__(card)
        self._module, self._device = module, device

    def run(self, crops: Image) -> Sequence[NDArray[np.float32]]:
        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(crops).to(self._device))
        return [output.cpu().numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def load(folder: Path, card: ModelCard, digest: str | None, device: str | None = None) -> TorchScriptModel:
    """An exported folder; device: torch's name, cpu by default: the graph was traced there. Raises ModelError."""
    path, name = sealed_file(folder, card, digest), device or "cpu"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # since 2.15, torch points to torch.export, which other programs do not read yet
            return TorchScriptModel(card, torch.jit.load(str(path), map_location=name).eval(), name)
    except RuntimeError as error:
        refused(path, "torch", error)
