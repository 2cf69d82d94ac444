"""What of `features` and `regressors` can be known before anything is trained: neither data nor an environment is needed."""

from __future__ import annotations

from agecascade.features.layers import check_features
from agecascade.params import Params
from agecascade.regressors import create


def require(params: Params) -> None:
    """Raise what the stages features and regress would raise of params.yaml alone, with the same line.

    ParamsError for features of a layer that the main row's network lacks, or of a step with several folds; RegressorError for an unknown
    regressor, and for an option that is unknown or has a wrong value.
    """
    check_features(params)
    for name, entry in params.regressors.items():
        grid = params.datasets[params.features[entry.features].dataset].grid
        told = {"sigma": params.sigma, **({"step": grid.step} if grid else {})}  # as the stage tells
        create(name, entry.options, params.seed, entry.regressor, told)
