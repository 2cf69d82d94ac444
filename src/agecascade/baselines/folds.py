"""The loop over folds that all regressors share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from agecascade import schema
from agecascade.errors import RegressorError


@dataclass(frozen=True)
class Fold:
    """What a regressor sees of a fold: everything but the test labels."""

    train: NDArray[np.float32]  # (N, D) features
    train_label: NDArray[np.float64]  # (N,)
    validation: NDArray[np.float32]  # (M, D), M may be 0
    validation_label: NDArray[np.float64]  # (M,)
    test: NDArray[np.float32]  # (T, D)


@dataclass(frozen=True)
class Fitted:
    """What a regressor gives back."""

    prediction: NDArray[np.float64]  # (T,)
    choices: pd.DataFrame  # what was tried and how it did on the validation rows, one line each


class Regressor(Protocol):
    """Fits a fold; `folds` says how many of the first folds it takes, None for all."""

    folds: int | None

    def fit_predict(self, fold: Fold) -> Fitted:
        """Fit on the training rows, choose on the validation rows, predict the test rows."""
        ...


def fit_folds(features: pd.DataFrame, split: pd.DataFrame, regressor: Regressor) -> tuple[pa.Table, pd.DataFrame]:
    """Fit and test fold after fold; returns the predictions (schema.PREDICTIONS) and the choices with their fold.

    features: schema.FEATURES; split: schema.SPLITS. Raises RegressorError where a picture of the split has no feature,
    or a fold nothing to train or to test on.
    """
    rows = split.merge(features, on="sample_id", how="left")
    lost = rows.loc[rows["feature"].isna(), "sample_id"].unique()
    if len(lost):
        raise RegressorError(f"{len(lost)} pictures of the split have no feature, such as {lost[0]!r}; run the features stage again")
    tables, choices = [], []
    for number in tqdm(sorted(rows["fold"].unique())[: regressor.folds], desc="folds", unit="fold"):
        fold = rows[rows["fold"] == number]
        fitted = regressor.fit_predict(_fold(fold, number))
        tested = fold.loc[fold["role"] == "test", ["sample_id", "fold", "label", "label_sigma"]]
        tables.append(tested.assign(prediction=fitted.prediction, distribution=None))
        choices.append(fitted.choices.assign(fold=number))
    return pa.Table.from_pandas(pd.concat(tables), schema=schema.PREDICTIONS, preserve_index=False), pd.concat(choices, ignore_index=True)


def _fold(rows: pd.DataFrame, number: int) -> Fold:
    """The rows of a fold as arrays, by role."""
    parts = {role: rows[rows["role"] == role] for role in ("train", "validation", "test")}
    for role in ("train", "test"):
        if parts[role].empty:
            raise RegressorError(f"fold {number} of the split has no {role} rows; see `protocol` of its data set")
    feature = {role: np.array(part["feature"].tolist(), dtype=np.float32) for role, part in parts.items()}  # (N, D)
    label = {role: part["label"].to_numpy(np.float64) for role, part in parts.items()}
    return Fold(feature["train"], label["train"], feature["validation"], label["validation"], feature["test"])
