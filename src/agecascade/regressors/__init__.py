"""Regressors on features: each fits the training rows of a fold, chooses on its validation rows, predicts its test rows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from agecascade.errors import RegressorError, unknown_name
from agecascade.features import load_features
from agecascade.io.files import write_csv, write_table, written_beside
from agecascade.params import Params
from agecascade.regressors.folds import Fitted, Fold, FoldCache, Options, Regressor, fit_folds

REGRESSORS = {
    "svr": "agecascade.regressors.sklearn_models:SvrOptions",
    "svr_rbf": "agecascade.regressors.sklearn_models:SvrRbfOptions",
    "ohrank": "agecascade.regressors.ohrank:OHRankOptions",
    "bfgs_ldl": "agecascade.regressors.bfgs_ldl:BfgsLdlOptions",
    "ridge": "agecascade.regressors.sklearn_models:RidgeOptions",
    "knn": "agecascade.regressors.sklearn_models:KnnOptions",
    "autosklearn": "agecascade.regressors.automl:AutoSklearn",
    "flaml": "agecascade.regressors.automl:Flaml",
}
TIME_BOUNDED = {"autosklearn", "flaml"}  # no two runs agree: their figures are reported separately

__all__ = [
    "REGRESSORS",
    "TIME_BOUNDED",
    "Fitted",
    "Fold",
    "FoldCache",
    "Options",
    "Regressor",
    "check_regressors",
    "create_regressor",
    "fit_folds",
    "regress",
]


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


def regress(study: Params, name: str, features_file: Path, split_file: Path, outputs: Path, work: Path) -> None:
    """Fit and test the regressor `name` on all folds.

    Writes the predictions (schema.PREDICTIONS) to outputs/<name>.parquet, and to the folder outputs/<name> what was tried, as choices.csv,
    and the artifacts of the folds. work: the folder where finished folds are cached until the outputs are complete.
    """
    features, split = load_features(features_file), pd.read_parquet(split_file)
    regressor = _create(study, name, features.step)
    cache = FoldCache.of(regressor, [features_file, split_file], work)
    predictions, choices, artifacts = fit_folds(features, split, regressor, study.compute, cache)
    write_table(outputs / f"{name}.parquet", predictions)
    with written_beside(outputs / name) as folder:
        folder.mkdir()
        write_csv(folder / "choices.csv", choices)
        for file, text in artifacts.items():
            (folder / file).write_text(text, encoding="utf-8")
    cache.clear(choices["fold"].unique())


def check_regressors(params: Params) -> None:
    """Raise RegressorError for an unknown regressor and for an unknown or wrong option, as the stage would, but without any data."""
    for name, entry in params.regressors.items():
        grid = params.datasets[params.features[entry.features].dataset].grid
        _create(params, name, grid.step if grid else None)


def _create(study: Params, name: str, step: float | None) -> Regressor:
    """The regressor `name` of params.yaml; step: of the labels' grid, None where they have none."""
    defaults: dict[str, Any] = {"sigma": study.sigma, **({} if step is None else {"step": step})}
    entry = study.regressors[name]
    return create_regressor(name, entry.options, study.seed, entry.regressor, defaults)
