"""What of `features` can be known before anything is trained: that their step has one network, and that it has the layer."""

from __future__ import annotations

import torch

from agecascade import models
from agecascade.errors import ParamsError
from agecascade.features.layers import layer
from agecascade.params import Params, Training


def require(params: Params) -> None:
    """Raise ParamsError naming the key where the step has a network per fold, or the main row's backbone lacks the layer.

    How many folds a publisher's roles make is known only once they are read.
    """
    networks = {name: features for name, features in params.features.items() if features.extractor == "network"}
    if not networks:
        return
    with torch.device("meta"):  # neither memory nor random numbers are used; whatever the head, the layers are the backbone's
        outline = models.create(params.rows[0].backbone)
    for name, features in networks.items():
        try:
            if has_several_folds(params, features.step):
                raise several_folds(features.step)
            layer(outline, features.layer, features.reduce)
        except ParamsError as error:
            raise ParamsError(f"features.{name}.{error}") from None


def has_several_folds(params: Params, step: str) -> bool:
    """Whether a step is sure to have several folds, by the protocol of its data set."""
    steps: dict[str, Training] = {**params.pretrain, **params.cascade}
    if step not in steps:  # scratch, published weights
        return False
    dataset = params.datasets[steps[step].dataset]
    return dataset.protocol in ("subject_kfold", "leave_one_subject_out") or (dataset.protocol == "random" and dataset.folds > 1)


def several_folds(step: str) -> ParamsError:
    """What is said of a step with several folds; `features.<name>.` goes before it."""
    return ParamsError(f"step: {step} has several folds with a network each, and features are of one network; choose a step with one fold")
