# /// script
# requires-python = ">=3.9,<3.10"
# dependencies = [
#     "auto-sklearn==0.15.0",
#     "numpy==1.22.4",
#     "pandas>=1.5,<2",
#     "pyarrow>=14,<18",
#     "scikit-learn==0.24.2",
#     "scipy==1.8.1",
#     "setuptools<60",
# ]
# ///
"""One auto-sklearn search, in the Python 3.9 that auto-sklearn 0.15 needs; `agecascade.regressors.automl` runs it.

    uv run --script pipeline/autosklearn_fit.py FOLDER

FOLDER holds train.parquet (feature, label, validation), test.parquet (feature) and options.json; the script adds
predictions.parquet (prediction), leaderboard.csv and ensemble.json (weight and pipeline of each member).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from autosklearn.metrics import mean_absolute_error
from autosklearn.regression import AutoSklearnRegressor


def fit(folder: Path) -> None:
    """Search on train.parquet, scored on its validation rows, and predict test.parquet."""
    # The validation rows come last, so that a holdout without shuffling is those rows: a random one would share subjects
    # with the training rows, and with a splitter of ours auto-sklearn predicts only after a refit beyond the time limit.
    train = pd.read_parquet(folder / "train.parquet").sort_values("validation", kind="stable")
    test = pd.read_parquet(folder / "test.parquet")
    regressor = AutoSklearnRegressor(
        metric=mean_absolute_error,
        resampling_strategy="holdout",
        resampling_strategy_arguments=_holdout(train["validation"].to_numpy()),
        dataset_compression=False,  # it drops rows
        tmp_folder=str(folder / "search"),
        **json.loads((folder / "options.json").read_text()),
    )
    regressor.fit(np.stack(train["feature"]), train["label"].to_numpy())
    if "Success" not in regressor.cv_results_["status"]:
        sys.exit("no pipeline could be fitted in this time")
    regressor.leaderboard(ensemble_only=False).to_csv(folder / "leaderboard.csv")
    (folder / "ensemble.json").write_text(json.dumps(_members(regressor), indent=2) + "\n")
    prediction = np.asarray(regressor.predict(np.stack(test["feature"])), dtype=np.float64).ravel()
    pd.DataFrame({"prediction": prediction}).to_parquet(folder / "predictions.parquet")


def _members(regressor: AutoSklearnRegressor) -> list[dict[str, object]]:
    """The ensemble, heaviest member first."""
    members = sorted(regressor.get_models_with_weights(), key=lambda member: -member[0])
    return [{"weight": float(weight), "pipeline": " ".join(str(pipeline).split())} for weight, pipeline in members]


def _holdout(validation: np.ndarray) -> dict[str, object]:
    """auto-sklearn's settings for a holdout of the last rows, or of a random third where the split has no validation."""
    fitted = int((~validation).sum())
    if fitted == len(validation):
        return {"shuffle": True, "train_size": 0.67}
    # half a row more, because auto-sklearn rounds down
    return {"shuffle": False, "train_size": (fitted + 0.5) / len(validation)}


# without this guard the search hangs for ever where n_jobs is above 1
if __name__ == "__main__":
    fit(Path(sys.argv[1]))
