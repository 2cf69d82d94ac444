"""OHRank: an ordinal hyperplane between every two neighbouring ages, with costs that grow with the distance from it.

Chang, Chen and Hung, "Ordinal hyperplanes ranker with cost sensitivities for age estimation", CVPR 2011.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.utils.validation import check_is_fitted, validate_data

from agecascade.regressors.principal_axes import Matrix, RotatedRegressor, Rotation, rank_labels, rotate
from agecascade.regressors.sklearn_models import GridSearch, Positive

MAX_HALVINGS = 30  # of a Newton step that does not descend
ARMIJO = 1e-4  # share of the descent predicted by the gradient that a step must reach
MAX_CG_STEPS = 50  # steps of conjugate gradients for one Newton step


class OHRank(RotatedRegressor):
    """K - 1 linear SVMs, "older than the k-th age?", whose positive answers are counted: y = low + step * sum_k [w_k x + b_k > 0].

    Each minimises |w_k|^2 / 2 + b_k^2 / 2 + C sum_i cost_k(y_i) max(0, 1 - s_ik (w_k x_i + b_k))^2, s_ik being 1 above the hyperplane and
    -1 below: liblinear's L2-regularised L2-loss SVM with the cost as the picture's weight. All are solved together.

    C: weight of the errors; step: distance of two ranks in the label's unit; cost: "absolute", how many ranks a picture lies behind the
    hyperplane, the nearest being one, or "none"; tol: of the gradient's norm, beside that at zero.
    """

    def __init__(
        self, C: float = 1.0, step: float = 1.0, cost: str = "absolute", tol: float = 1e-4, max_iter: int = 100, warm_start: bool = False
    ) -> None:
        super().__init__(step, tol, max_iter, warm_start)
        self.C = C
        self.cost = cost

    def fit(self, X: ArrayLike, y: ArrayLike) -> OHRank:
        """X: (N, D); y: (N,) in the label's unit. With `warm_start` this fit begins where the last one on the same X ended."""
        feature, label = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        rank, self.grid_ = rank_labels(label.astype(np.float64), self.step)
        side, cost = hyperplane_tasks(rank, len(self.grid_), self.cost)
        warm = self._continues(len(feature))
        rotation: Rotation = self.rotation_ if warm else rotate(np.column_stack([feature, np.ones(len(feature))]))
        shape = len(rotation.spectrum), side.shape[1]
        start = self.rotated_weights_ if warm and self.rotated_weights_.shape == shape else np.zeros(shape)
        self.rotated_weights_, self.n_iter_, self.converged_ = solve_hinge(rotation, side, self.C * cost, start, self.tol, self.max_iter)
        weights = rotation.axes @ self.rotated_weights_  # (D + 1, K - 1)
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


def solve_hinge(rotation: Rotation, side: Matrix, weight: Matrix, start: Matrix, tol: float, max_iter: int) -> tuple[Matrix, int, bool]:
    """Solve K weighted linear SVMs with squared hinge loss on the same features at once, by Newton's method.

    Returns the weights (R, K) in the rotation's axes, the iterations, and whether every gradient fell below `tol` of that at zero.

    Column k minimises |a|^2 / 2 + sum_i weight_ik max(0, 1 - side_ik z_i a)^2. side, weight: (N, K); start: (R, K). The problems are
    separate, but a product with the features is one matrix product for all of them; a problem that has converged leaves.
    """
    weights = start.copy()
    bound = tol * np.linalg.norm(_gradient(rotation.values, side, weight, np.zeros_like(start))[0], axis=0)  # (K,)
    live = np.arange(side.shape[1])
    for iteration in range(max_iter):
        gradient, active = _gradient(rotation.values, side[:, live], weight[:, live], weights[:, live])
        unsolved = np.linalg.norm(gradient, axis=0) > bound[live]
        live = live[unsolved]
        if not len(live):
            return weights, iteration, True
        step = _newton_step(rotation, active[:, unsolved], gradient[:, unsolved], bound[live])
        weights[:, live] += _line_search(rotation.values, side[:, live], weight[:, live], weights[:, live], step, gradient[:, unsolved])
    return weights, max_iter, False


def objective(values: Matrix, side: Matrix, weight: Matrix, weights: Matrix) -> Matrix:
    """What each problem minimises, (K,)."""
    return _loss(side * (values @ weights), weight) + np.square(weights).sum(axis=0) / 2


def _loss(margin: Matrix, weight: Matrix) -> Matrix:
    total: Matrix = np.einsum("ik,ik->k", weight, np.square(np.maximum(1 - margin, 0)))
    return total


def _gradient(values: Matrix, side: Matrix, weight: Matrix, weights: Matrix) -> tuple[Matrix, Matrix]:
    """The gradient (R, K), and the curvature of each picture's loss (N, K), zero beyond the margin."""
    slack = 1 - side * (values @ weights)
    active = 2 * weight * (slack > 0)
    return weights - values.T @ (active * side * slack), active


def _newton_step(rotation: Rotation, active: Matrix, gradient: Matrix, bound: Matrix) -> Matrix:
    """About the solution (R, K) of (1 + Z^T diag(active_k) Z) step_k = -gradient_k, by preconditioned conjugate gradients.

    The preconditioner takes the mean curvature for all pictures: then the matrix is diagonal in these axes.
    """
    values = rotation.values
    diagonal = 1 + rotation.spectrum[:, None] * active.mean(axis=0)  # (R, K)
    length = np.linalg.norm(gradient, axis=0)
    # aims at a next gradient of a tenth of this one, and at no more than `tol` needs
    goal = np.maximum(0.1 * length, 0.3 * bound)
    step, residual = np.zeros_like(gradient), -gradient
    conditioned = residual / diagonal
    direction, along = conditioned, np.einsum("rk,rk->k", residual, conditioned)
    for _ in range(MAX_CG_STEPS):
        curved = direction + values.T @ (active * (values @ direction))
        pace = along / np.maximum(np.einsum("rk,rk->k", direction, curved), np.finfo(np.float64).tiny)
        step, residual = step + pace * direction, residual - pace * curved
        if (np.linalg.norm(residual, axis=0) <= goal).all():
            break
        conditioned = residual / diagonal
        before, along = along, np.einsum("rk,rk->k", residual, conditioned)
        direction = conditioned + along / np.maximum(before, np.finfo(np.float64).tiny) * direction
    return step


def _line_search(values: Matrix, side: Matrix, weight: Matrix, weights: Matrix, step: Matrix, gradient: Matrix) -> Matrix:
    """The step (R, K), halved where it does not descend. Margins are linear in it, so that trying costs no product with the features."""
    margin, change = side * (values @ weights), side * (values @ step)
    slope = np.einsum("rk,rk->k", gradient, step)  # (K,), negative
    squares, mixed, steps = np.square(weights).sum(axis=0) / 2, np.einsum("rk,rk->k", weights, step), np.square(step).sum(axis=0) / 2
    here = _loss(margin, weight) + squares
    pace = np.ones(step.shape[1])
    for _ in range(MAX_HALVINGS):
        there = _loss(margin + pace * change, weight) + squares + pace * mixed + pace**2 * steps
        worse = there > here + ARMIJO * pace * slope + 1e-14 * np.abs(here)
        if not worse.any():
            break
        pace[worse] /= 2
    return pace * step


class OHRankOptions(GridSearch):
    """OHRank with the C of the lowest validation MAE."""

    parameter = "C"

    C: list[Positive] = Field([1e-5, 1e-4, 1e-3, 1e-2], min_length=1)
    step: Positive = 1.0  # distance of two ranks, in the label's unit; the data set's grid's where none is given
    cost: Literal["absolute", "none"] = "absolute"
    max_iter: int = Field(100, ge=1)

    def estimator(self) -> Any:
        return OHRank(step=self.step, cost=self.cost, max_iter=self.max_iter, warm_start=True)
