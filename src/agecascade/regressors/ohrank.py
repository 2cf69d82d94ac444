"""OHRank: an ordinal hyperplane between every two neighbouring ages, with costs that grow with the distance from it.

Chang, Chen and Hung, "Ordinal hyperplanes ranker with cost sensitivities for age estimation", CVPR 2011.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from agecascade.regressors.choosing import Choosing, Positive
from agecascade.regressors.hinge import solve
from agecascade.regressors.ranks import rank_labels
from agecascade.regressors.rotation import Rotation, rotate

Matrix = NDArray[np.float64]


class OHRank(RegressorMixin, BaseEstimator):
    """K - 1 linear SVMs, "older than the k-th age?", whose yeses are counted: y = low + step * sum_k [w_k x + b_k > 0].

    Each minimises |w_k|^2 / 2 + b_k^2 / 2 + C sum_i cost_k(y_i) max(0, 1 - s_ik (w_k x_i + b_k))^2, s_ik being 1 above the hyperplane and
    -1 below: liblinear's L2-regularised L2-loss SVM with the cost as the picture's weight. All are solved together.

    C: weight of the errors; step: distance of two ranks in the label's unit; cost: "absolute", how many ranks a picture lies behind the
    hyperplane, the nearest being one, or "none"; tol: of the gradient's norm, beside that at zero.
    """

    rotation_: Rotation
    turned_: Matrix  # the weights in the rotation's axes

    def __init__(
        self, C: float = 1.0, step: float = 1.0, cost: str = "absolute", tol: float = 1e-4, max_iter: int = 100, warm_start: bool = False
    ) -> None:
        self.C = C
        self.step = step
        self.cost = cost
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def fit(self, X: ArrayLike, y: ArrayLike) -> OHRank:
        """X: (N, D); y: (N,) in the label's unit. With `warm_start` this fit begins where the last one on the same X ended."""
        feature, label = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        rank, self.grid_ = rank_labels(label.astype(np.float64), self.step)
        side, cost = hyperplane_tasks(rank, len(self.grid_), self.cost)
        again = self.warm_start and hasattr(self, "rotation_") and len(self.rotation_.values) == len(feature)
        rotation: Rotation = self.rotation_ if again else rotate(np.column_stack([feature, np.ones(len(feature))]))
        shape = len(rotation.spectrum), side.shape[1]
        start = self.turned_ if again and self.turned_.shape == shape else np.zeros(shape)
        self.turned_, self.n_iter_, self.converged_ = solve(rotation, side, self.C * cost, start, self.tol, self.max_iter)
        weights = rotation.axes @ self.turned_  # (D + 1, K - 1)
        self.rotation_, self.coef_, self.intercept_ = rotation, weights[:-1].T, weights[-1]
        return self

    def distances(self, X: ArrayLike) -> Matrix:
        """Signed distances (N, K - 1), positive where the picture looks older."""
        check_is_fitted(self)
        distance: Matrix = validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_.T + self.intercept_
        return distance

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """The age (N,) whose rank is the number of hyperplanes that the picture lies above."""
        above = (self.distances(X) > 0).sum(axis=1)
        age: NDArray[np.float64] = self.grid_[above]
        return age


def hyperplane_tasks(rank: NDArray[np.int64], ranks: int, cost: str) -> tuple[Matrix, Matrix]:
    """Side, 1 or -1, and cost (N, K - 1) of each picture at each hyperplane; rank: (N,), 0 to K - 1."""
    if cost not in ("absolute", "none"):
        raise ValueError(f"cost: absolute or none, not {cost!r}")
    beyond = rank[:, None] - np.arange(ranks - 1)  # (N, K - 1), positive above the hyperplane
    side = np.where(beyond > 0, 1.0, -1.0)
    return side, np.where(beyond > 0, beyond, 1 - beyond).astype(np.float64) if cost == "absolute" else np.ones_like(side)


class OHRankOptions(Choosing):
    """OHRank with the C of the lowest validation MAE."""

    parameter = "C"

    C: list[Positive] = Field([1e-5, 1e-4, 1e-3, 1e-2], min_length=1)
    step: Positive = 1.0  # distance of two ranks, in the label's unit; the data set's grid's where none is given
    cost: Literal["absolute", "none"] = "absolute"
    max_iter: int = Field(100, ge=1)

    def estimator(self) -> Any:
        return OHRank(step=self.step, cost=self.cost, max_iter=self.max_iter, warm_start=True)
