"""Objectives by name: what a network learns of a label, and how a value is read off its outputs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from agecascade.errors import ModelError, unknown_name
from agecascade.methods.base import Method
from agecascade.methods.dex import Dex
from agecascade.methods.dldl import Dldl
from agecascade.methods.dldl_v2 import DldlV2
from agecascade.methods.er import ExpectationRegression

METHODS: dict[str, Callable[..., Method]] = {"dldl_v2": DldlV2, "dldl": Dldl, "er": ExpectationRegression, "dex": Dex}


def create(name: str, grid: Tensor, lambda_er: float = 1.0, kl_reduction: str = "batch") -> Method:
    """The objective `name` over a label grid (K,), ascending, in label units.

    lambda_er: weight of the expectation loss (Eq. 12); kl_reduction: how the KL term is averaged, `batch` as printed
    or `batch_and_bins` as in the released code. Methods without such a term ignore both.
    Raises ModelError for an unknown name, naming the nearest known ones.
    """
    if name not in METHODS:
        raise ModelError(unknown_name("method", name, METHODS))
    return METHODS[name](grid, lambda_er=lambda_er, kl_reduction=kl_reduction)
