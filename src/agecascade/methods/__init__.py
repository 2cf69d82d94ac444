"""Methods by name: the loss that a network is trained with, and how a value is computed from its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from agecascade.errors import ModelError, unknown_name
from agecascade.methods.base import SHARED, Method, MethodOptions, checked
from agecascade.methods.classification import Dex
from agecascade.methods.daa import DeltaAge
from agecascade.methods.dldl import Dldl, DldlV2, ExpectationRegression, SoftOrdinal
from agecascade.methods.moments import MeanVariance, UnimodalConcentrated
from agecascade.methods.ranking import Coral, Corn, Ranking
from agecascade.methods.regression import MetricRegressionL1, MetricRegressionL2, SmoothL1

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


def create(name: str, grid: Tensor, **options: Any) -> Method:
    """The method `name` over a label grid (K,), ascending, in label units; steps may differ.

    options: the method's own, those of its `Options`. Three are for all methods, and those without such a term, or without a
    distribution, ignore them: lambda_er, weight of the expectation loss (Eq. 12); kl_reduction, how the KL term is averaged, `batch`
    as printed or `batch_and_bins` as in the released code; decoding, how a value is computed from a distribution, `expectation`,
    `median` or `mode`, and `count` for ranking, coral and corn.

    Raises ModelError for an unknown method or option, naming the nearest known ones, for a decoding that the method lacks, and
    for a grid that is not ascending or has fewer than two values.
    """
    block = options_of(name, options)
    if len(grid) < 2:
        raise ModelError(f"method {name}: a grid of {len(grid)} value leaves nothing to estimate; give it two or more")
    if not (grid.diff() > 0).all():
        raise ModelError(f"method {name}: the values of a grid must ascend, and none may stand twice")
    return METHODS[name](grid, block)


def options_of(name: str, options: Mapping[str, Any]) -> MethodOptions:
    """The checked options of the method `name`; those in SHARED that it lacks are left out. Raises ModelError as `create`."""
    if name not in METHODS:
        raise ModelError(unknown_name("method", name, METHODS))
    method = METHODS[name]
    known = {option: value for option, value in options.items() if option not in SHARED or option in method.Options.model_fields}
    block = checked(name, method.Options, known)
    if block.decoding not in method.decodings:
        raise ModelError(f"method {name}: {unknown_name('decoding', block.decoding, method.decodings)}")
    return block


def merged_options(name: str, shared: Mapping[str, Any], blocks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """All options of the method `name` in a study: its own block of `method_options`, and else the values of `shared`.

    shared: those in SHARED, under their Python names; blocks: {method: options} of params.yaml, all of which are checked. Raises
    ModelError naming the key and the nearest known one.
    """
    for method, given in blocks.items():
        if method not in METHODS:
            raise ModelError(f"method_options: {unknown_name('method', method, METHODS)}")
        block = checked(method, METHODS[method].Options, given, key=f"method_options.{method}")
        if method == name:
            shared = {**shared, **block.model_dump(exclude_unset=True)}
    known = options_of(name, shared).model_dump()
    return {option: known[option] for option in [*SHARED, *known] if option in known}
