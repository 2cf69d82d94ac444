"""Objectives by name: what a network learns of a label, and how a value is read off its outputs."""

from __future__ import annotations

from torch import Tensor

from agecascade.errors import ModelError, unknown_name
from agecascade.methods.base import Method
from agecascade.methods.coral import Coral
from agecascade.methods.corn import Corn
from agecascade.methods.daa import DeltaAge
from agecascade.methods.dex import Dex
from agecascade.methods.dldl import Dldl
from agecascade.methods.dldl_v2 import DldlV2
from agecascade.methods.er import ExpectationRegression
from agecascade.methods.mean_variance import MeanVariance
from agecascade.methods.mr_l1 import MetricRegressionL1
from agecascade.methods.mr_l2 import MetricRegressionL2
from agecascade.methods.ranking import Ranking
from agecascade.methods.smooth_l1 import SmoothL1
from agecascade.methods.sord import SoftOrdinal
from agecascade.methods.unimodal import UnimodalConcentrated

METHODS: dict[str, type[Method]] = {
    "dldl_v2": DldlV2,
    "dldl": Dldl,
    "er": ExpectationRegression,
    "dex": Dex,
    "mr_l1": MetricRegressionL1,
    "mr_l2": MetricRegressionL2,
    "smooth_l1": SmoothL1,
    "ranking": Ranking,
    "mean_variance": MeanVariance,
    "coral": Coral,
    "corn": Corn,
    "sord": SoftOrdinal,
    "unimodal": UnimodalConcentrated,
    "daa": DeltaAge,
}


def create(name: str, grid: Tensor, lambda_er: float = 1.0, kl_reduction: str = "batch", decoding: str = "expectation") -> Method:
    """The objective `name` over a label grid (K,), ascending, in label units; steps may differ.

    lambda_er: weight of the expectation loss (Eq. 12); kl_reduction: how the KL term is averaged, `batch` as printed
    or `batch_and_bins` as in the released code; decoding: how a value is read off a distribution, `expectation`, `median` or
    `mode`, and `count` for methods that ask whether the label is above each grid value. Methods without such a term, or
    without a distribution, ignore these. Raises ModelError for an unknown name, naming the nearest known ones, for a decoding
    that the method has not, and for a grid that is not ascending or has fewer than two values.
    """
    if name not in METHODS:
        raise ModelError(unknown_name("method", name, METHODS))
    method = METHODS[name]
    if decoding not in method.decodings:
        raise ModelError(f"method {name}: {unknown_name('decoding', decoding, method.decodings)}")
    if len(grid) < 2:
        raise ModelError(f"method {name}: a grid of {len(grid)} value leaves nothing to estimate; give it two or more")
    if not (grid.diff() > 0).all():
        raise ModelError(f"method {name}: the values of a grid must ascend, and none may stand twice")
    return method(grid, lambda_er=lambda_er, kl_reduction=kl_reduction, decoding=decoding)
