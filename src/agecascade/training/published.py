"""Published weights as the models that a chain starts from, in place of freshly initialised ones."""

from __future__ import annotations

from pathlib import Path

import torch

from agecascade import model_folder
from agecascade.errors import ModelError
from agecascade.models import require_size
from agecascade.params import Params
from agecascade.pretrained import load_weights
from agecascade.training.cascade import distinct
from agecascade.training.fold import IDENTITY, describe


def write_published(params: Params, name: str, folder: Path) -> None:
    """Write the networks of `weights.<name>`, one per backbone and seed of the study, into `folder`.

    What the weights do not give, such as the head, is initialised by the seed. Raises ModelError where a backbone has no entry,
    and with one line for each fault of a file.
    """
    entries = params.weights[name]
    for row in distinct(params.rows, IDENTITY):
        key = f"weights.{name}.{row.backbone}"
        if row.backbone not in entries:
            raise ModelError(f"{key} is missing; weights.{name} has {', '.join(entries)} alone: add it, or let no step start from {name}")
        card = describe(params, name, row, [0.0, 1.0], fold=0)
        require_size(card.outline(), row.backbone, params.image_size)
        torch.manual_seed(row.seed)
        network = card.network()
        load_weights(network, row.backbone, entries[row.backbone], card.channels, key)
        model_folder.save(folder / row.name / "fold0", network, card, [])
