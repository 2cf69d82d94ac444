"""Which ages speak in DAA: what each comparison age says of a face, and how right it is alone.

Each comparison age y_k estimates the age of a face as y_k - delta_k; the prediction is the mean of all (DAA, Eq. 9), so that every age
has the same vote. An age whose estimates are off by less than others' compares well; one whose deltas are the same for all faces only
shifts the mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agecascade.errors import ModelError
from agecascade.explain.maps import normalised_batches
from agecascade.loading import Images
from agecascade.models.daa import DaaHead
from agecascade.runtimes.torch_runtime import TorchModel

Array = NDArray[np.float64]


class ComparisonAges(NamedTuple):
    """ages (K,) and the estimates (N, K) that each gives of each face, label units."""

    ages: Array
    estimates: Array

    @property
    def deltas(self) -> Array:
        """delta_k of each face, (N, K): how much older the comparison age looks than the face."""
        return self.ages - self.estimates

    def errors(self, label: Array) -> Array:
        """The MAE of each age's estimates alone, (K,), for labels (N,)."""
        return np.abs(self.estimates - label[:, None]).mean(0)

    def tells(self) -> Array:
        """How far the deltas of each age vary over faces, (K,): their standard deviation. 0: the age says the same of every face."""
        return self.deltas.std(0)


def lacking(model: TorchModel) -> str | None:
    """One line on why a model has no comparison ages; None where it has them."""
    if isinstance(model.network.head, DaaHead):
        return None
    return f"head {model.card.head} compares with no ages; only head daa does"


def comparison_ages(model: TorchModel, images: Images) -> ComparisonAges:
    """What each comparison age says of pictures (N, S, S, 3) uint8 RGB, the mean over the mirror image where the model uses it.

    Raises ModelError for another head than daa.
    """
    if fault := lacking(model):
        raise ModelError(f"comparison_ages: {fault}")
    head = model.network.head
    assert isinstance(head, DaaHead)
    parts = [_estimates(model, batch) for batch in normalised_batches(model, images)]
    ages = head.ages[:: head.sampling]
    return ComparisonAges(ages.double().cpu().numpy(), torch.cat(parts).double().cpu().numpy())


def _estimates(model: TorchModel, batch: Tensor) -> Tensor:
    straight = model.network(batch)  # (B, K)
    return (straight + model.network(batch.flip(3))) / 2 if model.card.flip else straight
