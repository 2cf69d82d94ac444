"""The stage regress, and what can be checked of it before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from agecascade.features import load_features
from agecascade.io.files import write_csv, write_table, written_beside
from agecascade.params import Params
from agecascade.regressors import create_regressor
from agecascade.regressors.fold_cache import FoldCache
from agecascade.regressors.folds import Regressor, fit_folds


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
