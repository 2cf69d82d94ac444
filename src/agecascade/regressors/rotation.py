"""Features turned into their principal axes, without loss: what solvers of penalised linear models need of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class Rotation(NamedTuple):
    """X = values @ axes.T, and values.T @ values is diagonal.

    A penalty on the Euclidean norm of weights is the same before and after, for the axes are orthonormal; and weights beyond the rows'
    span are zero at the optimum, so that 850 pictures need 850 axes, not the 4,616 of their features.
    """

    values: Matrix  # (N, R), R <= min(N, D)
    axes: Matrix  # (D, R), orthonormal columns
    spectrum: Matrix  # (R,) squared lengths of the columns of values


def rotate(feature: Matrix) -> Rotation:
    """The principal axes of features (N, D), not centred; those that the rows do not reach are left out."""
    basis, inner = None, feature
    if feature.shape[0] < feature.shape[1]:
        basis, upper = scipy.linalg.qr(feature.T, mode="economic")  # (D, N), (N, N)
        inner = upper.T
    squares, axes = scipy.linalg.eigh(inner.T @ inner)
    kept = squares > np.finfo(np.float64).eps * len(squares) * max(squares[-1], np.finfo(np.float64).tiny)
    axes = np.ascontiguousarray(axes[:, kept][:, ::-1])
    values = inner @ axes
    return Rotation(values, axes if basis is None else basis @ axes, np.square(values).sum(axis=0))
