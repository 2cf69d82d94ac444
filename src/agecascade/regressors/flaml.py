"""FLAML: a search over gradient boosting and forests that spends its time on cheap fits first; maintained today."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from agecascade.errors import RegressorError
from agecascade.regressors.automl import AutoMl
from agecascade.regressors.folds import Fitted, Fold

if TYPE_CHECKING:
    from flaml import AutoML

LEARNERS = ["lgbm", "xgboost", "extra_tree", "rf", "kneighbor"]


class Flaml(AutoMl):
    """FLAML's search, judged by the MAE of the validation rows, or of a holdout of its own where there are none.

    The best pipeline is not fitted again on the validation rows: no other regressor has them either.
    """

    learners: list[str] = Field(LEARNERS, min_length=1)  # FLAML's names

    def fit_predict(self, fold: Fold) -> Fitted:
        """See agecascade.regressors.Regressor; the choices are the best of each learner, whose settings are an artifact.

        Raises RegressorError where FLAML is not installed or finds nothing in its time.
        """
        search = _automl(self.drop)()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each learner's own
            logging.getLogger("flaml").setLevel(logging.ERROR)
            self._search(search, fold)
            if search.model is None or not np.isfinite(search.best_loss):
                raise RegressorError(f"fold {fold.number}: FLAML could not fit anything in {self.time_left_for_this_task} s; {self.longer}")
            prediction = np.asarray(search.predict(fold.test), dtype=np.float64).ravel()
        return Fitted(prediction, _leaderboard(search), {"best.json": json.dumps(search.best_config_per_estimator, indent=2) + "\n"})

    def _search(self, search: AutoML, fold: Fold) -> None:
        judged = {"X_val": fold.validation, "y_val": fold.validation_label} if len(fold.validation) else {}
        search.fit(
            X_train=fold.train,
            y_train=fold.train_label,
            **judged,
            task="regression",
            metric="mae",
            eval_method="holdout",
            estimator_list=self.learners,
            time_budget=self.time_left_for_this_task,
            train_time_limit=self.per_run_time_limit,
            mem_thres=self.memory_limit * 2**20,
            n_jobs=self.n_jobs,
            seed=self.seed,
            retrain_full=False,
            mlflow_logging=False,
            verbose=0,
        )


def _automl(drop: str) -> type[AutoML]:
    """FLAML's search, imported without MLflow: that would take five seconds more, and runs are tracked elsewhere."""
    hidden = sys.modules.setdefault("mlflow", None) is None  # type: ignore[arg-type]
    try:
        from flaml import AutoML
    except ImportError:
        raise RegressorError(f"FLAML is not installed: `uv pip install 'flaml[automl]'`, {drop}") from None
    finally:
        if hidden:
            del sys.modules["mlflow"]
    return AutoML


def _leaderboard(search: AutoML) -> pd.DataFrame:
    """The best of each learner that was tried, the best first."""
    losses = {name: loss for name, loss in search.best_loss_per_estimator.items() if np.isfinite(loss)}
    table = pd.DataFrame({"learner": list(losses), "validation_mae": list(losses.values())}).sort_values(
        "validation_mae", ignore_index=True
    )
    return table.assign(chosen=table["learner"] == search.best_estimator)
