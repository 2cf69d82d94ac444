"""The He-initialised networks that every chain starts from; a check of the rows that they are made for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from agecascade import model_folder
from agecascade.errors import ModelError, unknown_name
from agecascade.methods import options_of
from agecascade.model_folder import IDENTITY, describe
from agecascade.models import HEADS, frozen_blocks, require_backbone, require_size
from agecascade.params import SCRATCH, Params, Row


def require_rows(params: Params) -> None:
    """Raise ModelError where a row's method, head or backbone, or an option, is unknown, or a network cannot take the study's pictures."""
    for key, methods in _methods(params).items():
        for method in methods:
            _named(key, options_of, method, {})
    for key, backbones in _by_backbone(params).items():
        for backbone in backbones:
            _named(key, require_backbone, backbone)
    if params.head not in HEADS:
        raise ModelError(f"head: {unknown_name('head', params.head, HEADS)}")
    ages = [float(age) for age in range(params.daa.sampling + 1)]  # no data set is known yet: so few that every n-th are two
    rows = {(row.method, row.backbone): row for row in params.rows}
    for row in rows.values():
        require_size(describe(params, SCRATCH, row, ages, fold=0).outline(), row.backbone, params.image_size)
    for step in params.cascade:
        for row in rows.values():
            _named(f"cascade.{step}", _require_step, params, step, row, ages)
    for step, pretraining in params.pretrain.items():
        for row in params.networks(IDENTITY):
            blocks = describe(params, step, row, [0.0, 1.0], fold=0).outline().blocks
            _named(f"pretrain.{step}", frozen_blocks, blocks, pretraining.trainable)


def _methods(params: Params) -> dict[str, Iterable[str]]:
    """{key: the methods that it names}, of rows and of steps."""
    steps = {f"cascade.{name}.method": [step.method] for name, step in params.cascade.items() if step.method is not None}
    return {"method": [params.method], "compare.methods": params.compare.methods, **steps}


def _by_backbone(params: Params) -> dict[str, Iterable[str]]:
    """{key: the backbones that it names}, of rows and of the blocks that give backbones something of their own."""
    rows = {"backbone": [params.backbone], "compare.backbones": params.compare.backbones}
    steps = {f"cascade.{name}.by_backbone": step.by_backbone for name, step in params.cascade.items()}
    weights = {f"weights.{name}": entry for name, entry in params.weights.items()}
    return {**rows, "normalisation.by_backbone": params.normalisation.by_backbone, **steps, **weights}


def _require_step(params: Params, step: str, row: Row, ages: list[float]) -> None:
    """Raise ModelError for an unknown method of a step or an unknown block in its `trainable`."""
    outline = describe(params, step, row, ages, fold=0).outline()
    frozen_blocks(outline.blocks, params.cascade[step].recipe(row.backbone).trainable)


def _named(key: str, check: Callable[..., object], *arguments: Any) -> None:
    try:
        check(*arguments)
    except ModelError as error:
        raise ModelError(f"{key}: {error}") from None


def initialise(params: Params, folder: Path) -> None:
    """Write the He-initialised networks that every chain starts from, one per backbone and seed, into `folder`.

    Raises ModelError for an unknown backbone, and where a network of identities cannot take the study's pictures; the methods and heads of
    rows are no concern of it (see `require_rows`).
    """
    for row in params.networks(SCRATCH):
        torch.manual_seed(row.seed)
        card = replace(describe(params, SCRATCH, row._replace(method=IDENTITY), [0.0, 1.0], fold=0), trained_on=[])
        require_size(card.outline(), row.backbone, params.image_size)
        model_folder.save(folder / row.name / "fold0", card.network(), card, [])
