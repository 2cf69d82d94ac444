"""What models of head daa have learned of their comparison ages; read without torch, whose import takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


def daa_styles(folder: Path) -> pd.DataFrame | None:
    """Columns age (label units), S and T of a model folder of head daa; None where an age has a style for each channel."""
    from safetensors.numpy import load_file

    ages = json.loads((folder / "model.json").read_text(encoding="utf-8"))["grid"]
    weights = load_file(folder / "model.safetensors")
    std, mean = weights["head.std"], weights["head.mean"]
    return pd.DataFrame({"age": ages, "S": std, "T": mean}) if std.ndim == 1 else None
