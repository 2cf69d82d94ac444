"""scikit-learn's regressors: linear support vector regression, and ridge regression and nearest neighbours as sanity rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from agecascade.errors import RegressorError
from agecascade.regressors.folds import Fold
from agecascade.regressors.selection import GridSearch, Positive


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
