"""Models with random weights, of any head, method and backbone, as the estimator and explanations take them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from agecascade.faces.crops import TEMPLATE
from agecascade.model_folder import Crop, ModelCard
from agecascade.runtimes.torch_runtime import TorchModel


def random_model(backbone: str = "tinyagenet", size: int = 32, method: str = "dldl_v2", grid: int = 71, **changes: Any) -> TorchModel:
    """A network whose batch norms have seen something; grid: 0, 1, ..., so many values; changes: of the card."""
    crop = Crop(detector="yunet", size=size, margin=0.0, template=[list(point) for point in TEMPLATE])
    content: dict[str, Any] = {
        "study": "test",
        "step": "target",
        "chain": ["target"],
        "backbone": backbone,
        "head": "daa" if method == "daa" else "pooled",
        "pooling": "hybrid",
        "outputs": 0,
        "method": method,
        "method_options": {},
        "grid": [float(age) for age in range(grid)],
        "image_size": size,
        "normalisation": {"mean": [0.6, 0.5, 0.4], "std": [0.25, 0.25, 0.25]},
        "crop": crop,
        "flip": True,
        "seed": 0,
        "fold": 0,
    }
    card = ModelCard(**(content | changes))
    card = replace(card, outputs=card.objective().outputs)
    torch.set_num_threads(1)  # small batches gain nothing from more
    torch.manual_seed(0)
    network = card.network()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return TorchModel(network.eval(), card.objective(), card)
