"""What computes a model's values: torch for trained weights; ONNX Runtime, OpenVINO or TorchScript for an exported file.

The card of a folder says which; torch is imported for its own two alone.
"""

from __future__ import annotations

from pathlib import Path

from agecascade.errors import ModelError
from agecascade.extras import NotInstalledError, not_installed
from agecascade.model_card import FILES, IDENTITY, sealed_card
from agecascade.runtimes.base import FoldModel, Prediction, averaged

__all__ = ["FoldModel", "Prediction", "averaged", "exported_without_card", "load_fold"]


def load_fold(folder: Path, device: str | None = None) -> FoldModel:
    """The model of a folder that holds model.json; device: as its library names it, the default is the library's.

    Raises ModelError where something is missing, changed or does not fit, and NotInstalledError without the library.
    """
    card, digest = sealed_card(folder)
    if card.method == IDENTITY:
        raise ModelError(f"{folder} recognises identities and estimates nothing; give a model of a cascade step, models/<step>/...")
    kind = "trained" if card.exported is None else card.exported.format
    try:
        if kind in ("onnx", "int8"):
            from agecascade.runtimes import onnx_runtime

            return onnx_runtime.load(folder, card, digest, device)
        if kind == "openvino":
            from agecascade.runtimes import openvino_runtime

            return openvino_runtime.load(folder, card, digest, device)
        if kind == "torchscript":
            from agecascade.runtimes import torchscript_runtime

            return torchscript_runtime.load(folder, card, digest, device)
        from agecascade.runtimes import torch_runtime

        return torch_runtime.load(folder, device)
    except ModuleNotFoundError as error:
        missing = not_installed(error, f"{folder / card.files[0]}")
        if kind == "trained":  # in an installation for prediction alone, such as the image of Dockerfile
            missing = NotInstalledError(f"{missing}; to predict and to serve, export it where that is installed (`agecascade export`)")
        raise missing from None


def exported_without_card(folder: Path) -> str | None:
    """The name of an exported file in a folder without model.json."""
    names = (name for kind, names in FILES.items() if kind != "trained" for name in names)
    return next((name for name in names if (folder / name).is_file()), None)
