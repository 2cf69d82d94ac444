"""Regressors on features: each fits the training rows of a fold, chooses on its validation rows, predicts its test rows."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pydantic import ValidationError

from agecascade.baselines.folds import Fitted, Fold, Regressor, fit_folds
from agecascade.errors import RegressorError, unknown_name

REGRESSORS = {
    "svr": "agecascade.baselines.svr:LinearSvr",
    "autosklearn": "agecascade.baselines.autosklearn:AutoSklearn",
}
TIME_BOUNDED = {"autosklearn"}  # no two runs agree: their figures stand apart

__all__ = ["REGRESSORS", "TIME_BOUNDED", "Fitted", "Fold", "Regressor", "create", "fit_folds"]


def create(name: str, options: dict[str, Any], seed: int) -> Regressor:
    """The regressor called `name`; raises RegressorError on an unknown name, an unknown option or a wrong type."""
    if name not in REGRESSORS:
        raise RegressorError(f"regressors: {unknown_name('regressor', name, REGRESSORS)}")
    module, _, kind = REGRESSORS[name].partition(":")
    regressor = getattr(import_module(module), kind)
    known = regressor.model_fields.keys() - {"seed"}
    for key in options:
        if key not in known:
            raise RegressorError(f"regressors.{name}.options: {unknown_name('option', key, known)}")
    try:
        made: Regressor = regressor(seed=seed, **options)
    except ValidationError as error:
        fault = error.errors()[0]
        raise RegressorError(f"regressors.{name}.options.{fault['loc'][0]}: {fault['msg']}, found {fault['input']!r}") from None
    return made
