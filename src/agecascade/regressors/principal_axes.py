"""What OHRank and BFGS-LDL share: labels as ranks of an even grid, features in their principal axes, and warm starts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

Matrix = NDArray[np.float64]
MAX_RANKS = 5000  # more ranks than this mean a step that does not fit the labels' unit


def rank_labels(label: NDArray[np.float64], step: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rank (N,) of each label, and the grid (K,) from the smallest label to the largest; K = 1 where all labels are equal.

    label: (N,), step: in the same unit. Raises ValueError where the grid would have more than MAX_RANKS values.
    """
    low = label.min()
    span = (label.max() - low) / step
    if span >= MAX_RANKS:
        raise ValueError(f"step: {step:g} divides labels from {low:g} to {label.max():g} into {span:.0f} ranks, {MAX_RANKS} are the most")
    rank = np.rint((label - low) / step).astype(np.int64)
    return rank, low + step * np.arange(rank.max() + 1)


class Rotation(NamedTuple):
    """X = values @ axes.T, and values.T @ values is diagonal.

    A penalty on the Euclidean norm of weights is the same before and after, for the axes are orthonormal; and weights beyond the rows'
    span are zero at the optimum, so that 850 pictures need 850 axes, not the 4,616 of their features.
    """

    values: Matrix  # (N, R), R <= min(N, D)
    axes: Matrix  # (D, R), orthonormal columns
    spectrum: Matrix  # (R,) squared lengths of the columns of values


def rotate(feature: Matrix) -> Rotation:
    """Rotate features (N, D), which are not centred, into their principal axes; axes along which every row is zero are left out."""
    basis, inner = None, feature
    if feature.shape[0] < feature.shape[1]:
        basis, upper = scipy.linalg.qr(feature.T, mode="economic")  # (D, N), (N, N)
        inner = upper.T
    squares, axes = scipy.linalg.eigh(inner.T @ inner)
    reached = squares > np.finfo(np.float64).eps * len(squares) * max(squares[-1], np.finfo(np.float64).tiny)
    axes = np.ascontiguousarray(axes[:, reached][:, ::-1])
    values = inner @ axes
    return Rotation(values, axes if basis is None else basis @ axes, np.square(values).sum(axis=0))


class RotatedRegressor(RegressorMixin, BaseEstimator):
    """A linear estimator that is solved in the principal axes of its features, and may start where its last fit ended."""

    rotation_: Rotation
    rotated_weights_: Matrix  # in the rotation's axes

    def __init__(self, step: float, tol: float, max_iter: int, warm_start: bool) -> None:
        self.step = step
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def _continues(self, rows: int) -> bool:
        """Whether this fit starts from the last one: `warm_start` is set, and that one was on as many rows."""
        return self.warm_start and hasattr(self, "rotation_") and len(self.rotation_.values) == rows
