"""Regressors on features: each fits the training rows of a fold, chooses on its validation rows, predicts its test rows."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pydantic import ValidationError

from agecascade.errors import RegressorError, unknown_name
from agecascade.regressors.fold_cache import FoldCache
from agecascade.regressors.folds import Fitted, Fold, Options, Regressor, fit_folds

REGRESSORS = {
    "svr": "agecascade.regressors.sklearn_models:SvrOptions",
    "ohrank": "agecascade.regressors.ohrank:OHRankOptions",
    "bfgs_ldl": "agecascade.regressors.bfgs_ldl:BfgsLdlOptions",
    "ridge": "agecascade.regressors.sklearn_models:RidgeOptions",
    "knn": "agecascade.regressors.sklearn_models:KnnOptions",
    "autosklearn": "agecascade.regressors.automl:AutoSklearn",
    "flaml": "agecascade.regressors.automl:Flaml",
}
TIME_BOUNDED = {"autosklearn", "flaml"}  # no two runs agree: their figures are reported separately

__all__ = ["REGRESSORS", "TIME_BOUNDED", "Fitted", "Fold", "FoldCache", "Options", "Regressor", "create_regressor", "fit_folds"]


def create_regressor(
    name: str, options: dict[str, Any], seed: int, regressor: str | None = None, defaults: dict[str, Any] | None = None
) -> Regressor:
    """The regressor of the entry `name` of params.yaml; without `regressor`, the entry is named after its regressor.

    defaults: values of the data set for regressors that have such an option: `step` of its grid, `sigma` of its labels. Raises
    RegressorError on an unknown name, an unknown option or a wrong type.
    """
    kind = regressor or name
    if kind not in REGRESSORS:
        key = f"regressors.{name}.regressor" if regressor else "regressors"
        hint = "" if regressor else "; an entry of another name says `regressor: NAME`"
        raise RegressorError(f"{key}: {unknown_name('regressor', kind, REGRESSORS)}{hint}")
    module, _, attribute = REGRESSORS[kind].partition(":")
    block: type[Options] = getattr(import_module(module), attribute)
    known = block.model_fields.keys() - {"seed", "key"}
    for key in options:
        if key not in known:
            raise RegressorError(f"regressors.{name}.options: {unknown_name('option', key, known)}")
    applicable = {key: value for key, value in (defaults or {}).items() if key in known}
    try:
        created: Any = block(key=name, seed=seed, **{**applicable, **options})
    except ValidationError as error:
        fault = error.errors()[0]
        raise RegressorError(f"regressors.{name}.options.{fault['loc'][0]}: {fault['msg']}, found {fault['input']!r}") from None
    regressor_of_entry: Regressor = created
    return regressor_of_entry
