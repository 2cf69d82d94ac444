"""A model folder whose answers are known, for tests of what reads one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from agecascade import models
from agecascade.faces.crops import TEMPLATE

SIZE = 32
GRID = [float(age) for age in range(0, 71, 10)]
CROP = {"detector": "yunet", "size": SIZE, "margin": 0.0, "template": [list(point) for point in TEMPLATE]}


def write_model(folder: Path, peak: int, **changes: Any) -> Path:
    """A model folder whose network answers GRID[peak] to every picture, with low and high two years off."""
    network = models.create("tinyagenet", outputs=len(GRID))
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    bias = next(name for name in reversed(weights) if weights[name].shape == (len(GRID),))
    weight = next(name for name in reversed(weights) if weights[name].ndim == 2)
    weights[weight].zero_()
    weights[bias].zero_()[peak] = 100.0
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors")
    content = {
        "format": 1,
        "study": "test",
        "step": "target",
        "chain": ["target"],
        "backbone": "tinyagenet",
        "head": "pooled",
        "pooling": "hybrid",
        "outputs": len(GRID),
        "method": "dldl_v2",
        "method_options": {"lambda_er": 1.0, "kl_reduction": "batch"},
        "grid": GRID,
        "image_size": SIZE,
        "normalisation": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        "crop": CROP,
        "flip": True,
        "seed": 0,
        "fold": 0,
        "interval": {"coverage": 0.8, "quantile": 2.0, "scaled": False},
    }
    (folder / "model.json").write_text(json.dumps(content | changes))
    return folder
