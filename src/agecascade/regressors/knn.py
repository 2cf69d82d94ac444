"""Nearest neighbours (scikit-learn's), a sanity row."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from sklearn.neighbors import KNeighborsRegressor

from agecascade.errors import RegressorError
from agecascade.regressors.choosing import Choosing
from agecascade.regressors.folds import Fold


class KnnOptions(Choosing):
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
