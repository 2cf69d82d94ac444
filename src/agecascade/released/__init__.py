"""The model that comes with the package: a model folder with its licence, which `agecascade predict` uses where no other is named."""

from __future__ import annotations

from pathlib import Path

from agecascade.errors import ModelError


def folder() -> Path:
    """The released model's folder: model.json, model.onnx, README.md. Raises ModelError where this copy of the package has none."""
    place = Path(__file__).parent
    if not (place / "model.json").is_file():
        raise ModelError("this copy of the package has no released model; name a trained one (--model models/<step>/<row>)")
    return place
