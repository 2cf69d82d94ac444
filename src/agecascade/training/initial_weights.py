"""The He-initialised networks that every chain starts from; a check of the rows that they are made for."""

from __future__ import annotations

from pathlib import Path

import torch

from agecascade import model_folder
from agecascade.model_folder import IDENTITY, describe
from agecascade.models import require_size
from agecascade.params import SCRATCH, Params


def require_rows(params: Params) -> None:
    """Raise ModelError where a row's method, head or backbone, or an option, is unknown, or a network cannot take the study's pictures."""
    ages = [float(age) for age in range(params.daa.sampling + 1)]  # no data set is known yet: so few that every n-th are two
    for row in {(row.method, row.backbone): row for row in params.rows}.values():
        require_size(describe(params, SCRATCH, row, ages, fold=0).outline(), row.backbone, params.image_size)


def initialise(params: Params, folder: Path) -> None:
    """Write the He-initialised networks that every chain starts from, one per backbone and seed, into `folder`.

    Raises ModelError for an unknown backbone, and where a network of identities cannot take the study's pictures; the methods and heads of
    rows are no concern of it (see `require_rows`).
    """
    for row in params.networks(SCRATCH):
        torch.manual_seed(row.seed)
        card = describe(params, SCRATCH, row._replace(method=IDENTITY), [0.0, 1.0], fold=0)
        require_size(card.outline(), row.backbone, params.image_size)
        model_folder.save(folder / row.name / "fold0", card.network(), card, [])
