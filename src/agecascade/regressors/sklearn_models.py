"""scikit-learn's regressors, each with a grid search over one hyper-parameter: the lowest validation MAE selects its value."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from math import nan
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, LinearSVR

from agecascade import metrics
from agecascade.errors import RegressorError
from agecascade.regressors.folds import Fitted, Fold, Options

Positive = Annotated[float, Field(gt=0)]


class GridSearch(Options, ABC):
    """A scikit-learn regressor on features, standardised or not; the option that `parameter` names lists the values to try.

    The value of the lowest validation MAE is selected; without validation rows it is the first value.
    """

    parameter: ClassVar[str]
    prefix: ClassVar[str] = ""  # of the parameter's name in the estimator

    standardise: bool = True  # each feature to mean zero and deviation one over the training pictures

    @abstractmethod
    def estimator(self) -> Any:
        """The scikit-learn regressor; the value to select is set later."""

    def fit(self, estimator: Any, feature: NDArray[np.float64], fold: Fold) -> None:
        """Fit to the training rows; feature: (N, D), standardised where the option says so."""
        estimator.fit(feature, fold.train_label)

    def fit_predict(self, fold: Fold) -> Fitted:
        """See agecascade.regressors.Regressor; the choices are the value, validation_mae, converged, chosen."""
        scaler = StandardScaler(with_mean=self.standardise, with_std=self.standardise).fit(fold.train.astype(np.float64))
        train, validation, test = (_scaled(scaler, part) for part in (fold.train, fold.validation, fold.test))
        values = getattr(self, self.parameter) if len(validation) else getattr(self, self.parameter)[:1]
        estimator, tried, predictions = self.estimator(), [], []
        for value in values:
            estimator.set_params(**{self.prefix + self.parameter: value})
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                self.fit(estimator, train, fold)
            converged = getattr(estimator, "converged_", not any(issubclass(each.category, ConvergenceWarning) for each in caught))
            error = metrics.mae(estimator.predict(validation), fold.validation_label) if len(validation) else nan
            tried.append({self.parameter: value, "validation_mae": error, "converged": converged})
            predictions.append(np.asarray(estimator.predict(test), dtype=np.float64))
        best = int(np.argmin([each["validation_mae"] for each in tried]))
        choices = pd.DataFrame(tried)
        return Fitted(predictions[best], choices.assign(chosen=choices.index == best))


def _scaled(scaler: StandardScaler, feature: NDArray[np.float32]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = scaler.transform(feature.astype(np.float64)) if len(feature) else feature.astype(np.float64)
    return scaled


class SvrOptions(GridSearch):
    """scikit-learn's LinearSVR with the C of the lowest validation MAE."""

    parameter = "C"
    prefix = "regressor__"

    C: list[Positive] = Field([0.0001, 0.001, 0.01, 0.1], min_length=1)  # above, liblinear takes its time
    epsilon: float = Field(0.0, ge=0)  # half the width of the loss's flat part, in the label's unit
    max_iter: int = Field(20_000, ge=1)

    def estimator(self) -> Any:
        svr = LinearSVR(epsilon=self.epsilon, dual="auto", max_iter=self.max_iter, random_state=self.seed)
        # the label is centred, for liblinear shrinks the intercept too, but not scaled, so that epsilon keeps its unit
        return TransformedTargetRegressor(svr, transformer=StandardScaler(with_std=False))


class SvrRbfOptions(GridSearch):
    """scikit-learn's SVR with a radial basis function as kernel, and the C of the lowest validation MAE.

    The kernel is exp(-|a - b|^2 gamma / (D Var(feature))), where Var is 1 for standardised features. scikit-learn's own gamma is 1.
    """

    parameter = "C"

    C: list[Positive] = Field([1.0, 3.0, 10.0, 30.0, 100.0], min_length=1)
    gamma: float = Field(0.3, gt=0)
    epsilon: float = Field(1.0, ge=0)  # half the width of the loss's flat part, in the label's unit

    def estimator(self) -> Any:
        return SVR(kernel="rbf", epsilon=self.epsilon, cache_size=500)

    def fit(self, estimator: Any, feature: NDArray[np.float64], fold: Fold) -> None:
        estimator.set_params(gamma=self.gamma / (feature.shape[1] * feature.var() or 1.0))
        estimator.fit(feature, fold.train_label)


class RidgeOptions(GridSearch):
    """Ridge regression with the alpha of the lowest validation MAE."""

    parameter = "alpha"

    alpha: list[Positive] = Field([1.0, 10.0, 100.0, 1000.0, 10000.0], min_length=1)

    def estimator(self) -> Any:
        return Ridge()


class KnnOptions(GridSearch):
    """The mean of the k nearest training pictures, k being that of the lowest validation MAE."""

    parameter = "n_neighbors"

    n_neighbors: list[Annotated[int, Field(ge=1)]] = Field([5, 10, 20, 40], min_length=1)
    weights: Literal["uniform", "distance"] = "uniform"

    def estimator(self) -> Any:
        return KNeighborsRegressor(weights=self.weights)

    def fit(self, estimator: Any, feature: Any, fold: Fold) -> None:
        if estimator.n_neighbors > len(fold.train):
            raise RegressorError(
                f"regressors.{self.key}.options.n_neighbors: {estimator.n_neighbors}, but {len(fold.train)} training pictures; take fewer"
            )
        estimator.fit(feature, fold.train_label)
