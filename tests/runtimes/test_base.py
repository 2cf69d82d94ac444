"""What all runtimes share: medians and modes without torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agecascade.methods import base as with_torch
from agecascade.runtimes.base import averaged, decoded


def test_the_median_and_mode_of_a_mean_distribution_by_hand() -> None:
    one = np.array([[0.6, 0.0, 0.4, 0.0]], np.float32)
    other = np.array([[0.0, 0.1, 0.4, 0.5]], np.float32)
    folds = [(np.array([0.0]), one), (np.array([30.0]), other)]  # their mean: 0.3, 0.05, 0.4, 0.25
    for decoding, expected in (("mode", 20.0), ("median", 20.0)):
        value, distribution = averaged(folds, [0.0, 10.0, 20.0, 30.0], decoding)
        assert value.tolist() == [expected]
        np.testing.assert_allclose(distribution, [[0.3, 0.05, 0.4, 0.25]], atol=1e-6)


@pytest.mark.parametrize("decoding", ["median", "mode"])
@given(masses=arrays(np.float32, (3, 7), elements=st.floats(0.0078125, 1.0, width=32)))
def test_they_are_decoded_as_torch_does(decoding: str, masses: np.ndarray) -> None:
    distribution = masses / masses.sum(axis=1, keepdims=True)
    halves = np.abs(distribution.cumsum(axis=1, dtype=np.float64) - 0.5)
    if halves.min() < 1e-6:  # a sum that rounds to either side of a half
        return
    grid = [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0]
    theirs = with_torch.decoded(torch.from_numpy(distribution), torch.tensor(grid), decoding).numpy()
    np.testing.assert_array_equal(decoded(distribution, grid, decoding), theirs)
