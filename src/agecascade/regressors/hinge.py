"""Many weighted linear SVMs with squared hinge loss on the same features, solved at once by Newton's method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agecascade.regressors.rotation import Rotation

Matrix = NDArray[np.float64]
HALVINGS = 30  # of a Newton step that does not descend
SUFFICIENT = 1e-4  # share of the descent promised by the gradient that a step must bring (Armijo)
INNER = 50  # steps of conjugate gradients for one Newton step


def solve(rotation: Rotation, side: Matrix, weight: Matrix, start: Matrix, tol: float, max_iter: int) -> tuple[Matrix, int, bool]:
    """Weights (R, K) in the rotation's axes, the iterations, and whether every problem's gradient came below `tol` of that at zero.

    Column k minimises |a|^2 / 2 + sum_i weight_ik max(0, 1 - side_ik z_i a)^2. side, weight: (N, K); start: (R, K). The problems are
    separate, but a product with the features is one matrix product for all of them, and each leaves when it is done.
    """
    weights = start.copy()
    bound = tol * np.linalg.norm(_gradient(rotation.values, side, weight, np.zeros_like(start))[0], axis=0)  # (K,)
    live = np.arange(side.shape[1])
    for iteration in range(max_iter):
        gradient, active = _gradient(rotation.values, side[:, live], weight[:, live], weights[:, live])
        going = np.linalg.norm(gradient, axis=0) > bound[live]
        live = live[going]
        if not len(live):
            return weights, iteration, True
        step = _newton_step(rotation, active[:, going], gradient[:, going], bound[live])
        weights[:, live] += _shortened(rotation.values, side[:, live], weight[:, live], weights[:, live], step, gradient[:, going])
    return weights, max_iter, False


def objective(values: Matrix, side: Matrix, weight: Matrix, weights: Matrix) -> Matrix:
    """What each problem minimises, (K,)."""
    return _loss(side * (values @ weights), weight) + np.square(weights).sum(axis=0) / 2


def _loss(margin: Matrix, weight: Matrix) -> Matrix:
    total: Matrix = np.einsum("ik,ik->k", weight, np.square(np.maximum(1 - margin, 0)))
    return total


def _gradient(values: Matrix, side: Matrix, weight: Matrix, weights: Matrix) -> tuple[Matrix, Matrix]:
    """The gradient (R, K), and the curvature of each picture's loss (N, K), nothing beyond the margin."""
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
    # exact enough that the next gradient is a tenth of this one, and no more exact than is asked for
    goal = np.maximum(0.1 * length, 0.3 * bound)
    step, residual = np.zeros_like(gradient), -gradient
    conditioned = residual / diagonal
    direction, along = conditioned, np.einsum("rk,rk->k", residual, conditioned)
    for _ in range(INNER):
        curved = direction + values.T @ (active * (values @ direction))
        pace = along / np.maximum(np.einsum("rk,rk->k", direction, curved), np.finfo(np.float64).tiny)
        step, residual = step + pace * direction, residual - pace * curved
        if (np.linalg.norm(residual, axis=0) <= goal).all():
            break
        conditioned = residual / diagonal
        before, along = along, np.einsum("rk,rk->k", residual, conditioned)
        direction = conditioned + along / np.maximum(before, np.finfo(np.float64).tiny) * direction
    return step


def _shortened(values: Matrix, side: Matrix, weight: Matrix, weights: Matrix, step: Matrix, gradient: Matrix) -> Matrix:
    """The step (R, K), halved where it does not descend. Margins are linear in it, so that trying costs no product with the features."""
    margin, change = side * (values @ weights), side * (values @ step)
    slope = np.einsum("rk,rk->k", gradient, step)  # (K,), negative
    squares, mixed, steps = np.square(weights).sum(axis=0) / 2, np.einsum("rk,rk->k", weights, step), np.square(step).sum(axis=0) / 2
    here = _loss(margin, weight) + squares
    pace = np.ones(step.shape[1])
    for _ in range(HALVINGS):
        there = _loss(margin + pace * change, weight) + squares + pace * mixed + pace**2 * steps
        worse = there > here + SUFFICIENT * pace * slope + 1e-14 * np.abs(here)
        if not worse.any():
            break
        pace[worse] /= 2
    return pace * step
