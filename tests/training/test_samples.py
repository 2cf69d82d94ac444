"""Class weights, by hand and in a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agecascade.training.samples import class_weights
from brightness import same_weights, samples, trained

LABEL, GRID = np.array([1.0, 1.2, 0.9, 1.1, 3.0]), np.array([0.0, 1.0, 2.0, 3.0])


def test_weights_by_hand() -> None:
    # four share the class 1, one has the class 3: 1/4 and 1, their mean 2/5
    assert class_weights(LABEL, GRID, "none") is None
    np.testing.assert_allclose(class_weights(LABEL, GRID, "inverse"), [0.625] * 4 + [2.5])
    np.testing.assert_allclose(class_weights(LABEL, GRID, "inverse_sqrt"), [5 / 6] * 4 + [5 / 3], rtol=1e-6)


def test_a_class_is_the_nearest_grid_value() -> None:
    label = np.random.default_rng(0).uniform(0, 70, 500)
    grid = np.array([0.0, 1.0, 5.0, 20.0, 21.5, 69.0])
    nearest = np.abs(label[:, None] - grid).argmin(axis=1)
    shared = np.bincount(nearest)[nearest]
    weights = class_weights(label, grid, "inverse")
    assert weights is not None
    np.testing.assert_allclose(weights * shared, (weights * shared)[0], rtol=1e-5)
    assert weights.mean() == pytest.approx(1)


def test_a_training_weighs() -> None:
    sparse = samples()
    sparse.label[:] = np.where(np.arange(48) < 40, 3, 15)
    assert not same_weights(trained(data=sparse, epochs=1)[0], trained(data=sparse, epochs=1, class_weights="inverse")[0])
    even = samples(42)
    even.label[:] = np.arange(42) % 21
    plain, weighed = (trained(data=even, epochs=1, class_weights=kind)[0] for kind in ("none", "inverse"))
    for one, other in zip(plain.parameters(), weighed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=2e-3)  # weights of one, summed in another order
