"""What all runtimes share: medians and modes without torch."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agecascade.errors import ModelError
from agecascade.methods import base as with_torch
from agecascade.model_card import ModelCard
from agecascade.runtimes.base import ExportedModel, averaged, decoded


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


class Said(ExportedModel):
    """A graph that says always the same."""

    def __init__(self, *outputs: np.ndarray) -> None:
        super().__init__(cast(ModelCard, SimpleNamespace(image_size=8, grid=[0.0, 50.0, 100.0], interval=None)))
        self.outputs = outputs

    def run(self, crops: np.ndarray) -> Sequence[np.ndarray]:
        return self.outputs


CROP = np.zeros((1, 8, 8, 3), np.uint8)


def test_a_graph_whose_outputs_are_no_numbers_says_no_age() -> None:
    """In half precision sums overflow; the mode of a distribution of NaN would be the lowest age."""
    for outputs in ([np.float32([np.nan])], [np.float32([0.0]), np.full((1, 3), np.nan, np.float32)], [np.float32([np.inf])]):
        with pytest.raises(ModelError, match="the exported model's outputs are not finite; export it again in another precision"):
            Said(*outputs).predict(CROP)


def test_a_value_beyond_the_grid_by_rounding_is_its_end() -> None:
    assert Said(np.float32([100.00001])).predict(CROP)[0].tolist() == [100.0]
    assert Said(np.float32([-1e-6])).predict(CROP)[0].tolist() == [0.0]
