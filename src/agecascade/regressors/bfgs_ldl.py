"""BFGS-LDL: label distributions from a maximum entropy model, fitted by L-BFGS.

Geng, "Label distribution learning", IEEE TKDE 2016. The distributions to learn are those of DLDL-v2, Eq. 1, and the prediction is the
expected value, as in its Table 10.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.special import log_softmax, softmax
from sklearn.utils.validation import check_is_fitted, validate_data

from agecascade.regressors.folds import Fold
from agecascade.regressors.principal_axes import Matrix, RotatedRegressor, Rotation, rank_labels, rotate
from agecascade.regressors.sklearn_models import GridSearch, Positive

MIN_SIGMA = 0.01  # grid steps: a deviation of zero would give 0/0


class BfgsLdl(RotatedRegressor):
    """p(y_k | x) proportional to exp(w_k x + b_k); minimises the mean KL divergence from the label distributions plus penalty |W|^2 / 2.

    penalty: on the weights, not the intercepts, zero as published; sigma: deviation of the label distributions in the label's unit,
    where `fit` is given none; step: of the label grid, which reaches from the smallest label to the largest; tol: of the gradient, per
    picture.
    """

    def __init__(
        self,
        penalty: float = 0.01,
        sigma: float = 2.0,
        step: float = 1.0,
        tol: float = 3e-4,
        max_iter: int = 2000,
        warm_start: bool = False,
    ) -> None:
        super().__init__(step, tol, max_iter, warm_start)
        self.penalty = penalty
        self.sigma = sigma

    def fit(self, X: ArrayLike, y: ArrayLike, label_sigma: ArrayLike | None = None) -> BfgsLdl:
        """X: (N, D); y: (N,); label_sigma: (N,) deviation of each label, NaN for `sigma`.

        With `warm_start` this fit begins where the last one on the same X ended.
        """
        feature, label = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        label = label.astype(np.float64)
        _, self.grid_ = rank_labels(label, self.step)
        target = distributions(label, self._deviations(label_sigma, len(label)), self.grid_)
        warm = self._continues(len(feature))
        self.mean_ = feature.mean(axis=0)
        # centred: otherwise intercepts and weights are coupled and convergence is slow
        rotation: Rotation = self.rotation_ if warm else rotate(feature - self.mean_)
        shape = 1 + len(rotation.spectrum), len(self.grid_)
        start = self.rotated_weights_ if warm and self.rotated_weights_.shape == shape else first_guess(target, shape)
        self.rotated_weights_ = self._minimise(rotation, target, start)
        self.rotation_, self.coef_ = rotation, (rotation.axes @ self.rotated_weights_[1:]).T  # (K, D)
        self.intercept_ = self.rotated_weights_[0] - self.coef_ @ self.mean_
        return self

    def predict_distribution(self, X: ArrayLike) -> Matrix:
        """Distributions (N, K) over `grid_`, rows summing to one."""
        check_is_fitted(self)
        feature = validate_data(self, X, dtype=np.float64, reset=False)
        distribution: Matrix = softmax(feature @ self.coef_.T + self.intercept_, axis=1)
        return distribution

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """The expected value (N,)."""
        value: NDArray[np.float64] = self.predict_distribution(X) @ self.grid_
        return value

    def _deviations(self, label_sigma: ArrayLike | None, count: int) -> Matrix:
        given = np.full(count, np.nan) if label_sigma is None else np.asarray(label_sigma, dtype=np.float64)
        if given.shape != (count,):
            raise ValueError(f"label_sigma: {given.shape} for {count} labels")
        return np.where(np.isnan(given), self.sigma, given)

    def _minimise(self, rotation: Rotation, target: Matrix, start: Matrix) -> Matrix:
        """Intercepts (row 0) and weights in the principal axes, (1 + R, K)."""
        rows, ranks = target.shape
        values = np.column_stack([np.ones(rows), rotation.values])  # (N, 1 + R)
        penalty = np.concatenate([[0.0], np.full(len(rotation.spectrum), self.penalty)])[:, None]
        # unknowns scaled by the curvature that even distributions would give: L-BFGS then takes a fifth of the iterations
        curvature = np.concatenate([[rows], rotation.spectrum])[:, None] / (rows * ranks)  # (1 + R, 1)
        scale = 1 / np.sqrt(curvature + penalty)

        def scaled(unknowns: Matrix) -> tuple[float, Matrix]:
            loss, gradient = divergence(values, target, penalty, unknowns.reshape(start.shape) * scale)
            return loss, (gradient * scale).ravel()

        options = {"maxiter": self.max_iter, "maxcor": 10, "gtol": self.tol, "ftol": 1e-14, "maxfun": 2 * self.max_iter}
        result = scipy.optimize.minimize(scaled, (start / scale).ravel(), jac=True, method="L-BFGS-B", options=options)
        # as scipy reports: gradient below tol, or no descent left. `maxfun` and a failed line search end before max_iter, too
        self.n_iter_, self.converged_ = int(result.nit), bool(result.success)
        weights: Matrix = result.x.reshape(start.shape) * scale
        return weights


def first_guess(target: Matrix, shape: tuple[int, int]) -> Matrix:
    """Intercepts and weights (1 + R, K) that give every picture the mean distribution: the best without weights."""
    start = np.zeros(shape)
    start[0] = np.log(np.maximum(target.mean(axis=0), 1e-12))
    return start


def distributions(label: Matrix, sigma: Matrix, grid: Matrix) -> Matrix:
    """Discretised normal distributions (N, K) of labels (N,) over a grid (K,), rows summing to one (DLDL-v2, Eq. 1)."""
    step = grid[1] - grid[0] if len(grid) > 1 else 1.0
    distance = (grid - label[:, None]) / np.maximum(sigma, MIN_SIGMA * step)[:, None]
    spread: Matrix = softmax(-0.5 * np.square(distance), axis=1)
    return spread


def divergence(values: Matrix, target: Matrix, penalty: Matrix, weights: Matrix) -> tuple[float, Matrix]:
    """Mean cross-entropy plus penalty, and its gradient (R, K): Z^T (p - d) / N + penalty W.

    values: (N, R); target: (N, K), rows summing to one; penalty: (R, 1); weights: (R, K). The KL divergence is this less the entropy of the
    targets, which no weight changes.
    """
    logarithm = log_softmax(values @ weights, axis=1)  # (N, K)
    loss = -np.vdot(target, logarithm) / len(values) + 0.5 * np.vdot(penalty * weights, weights)
    return float(loss), values.T @ (np.exp(logarithm) - target) / len(values) + penalty * weights


class BfgsLdlOptions(GridSearch):
    """BFGS-LDL with the penalty of the lowest validation MAE."""

    parameter = "penalty"

    penalty: list[Annotated[float, Field(ge=0)]] = Field([0.1, 0.01, 0.001], min_length=1)  # 0: none, as published
    sigma: Positive = 2.0  # in the label's unit; the study's where none is given. Pictures whose labels have a deviation keep it
    step: Positive = 1.0  # of the label grid; the data set's where none is given
    max_iter: int = Field(2000, ge=1)

    def estimator(self) -> Any:
        return BfgsLdl(sigma=self.sigma, step=self.step, max_iter=self.max_iter, warm_start=True)

    def fit(self, estimator: Any, feature: Matrix, fold: Fold) -> None:
        estimator.fit(feature, fold.train_label, label_sigma=fold.train_sigma)
