"""Comparison ages of DAA: their mean is the prediction, errors by hand, other heads."""

from __future__ import annotations

import numpy as np
import pytest

from agecascade.errors import ModelError
from agecascade.explain.comparison_ages import ComparisonAges, comparison_ages
from agecascade.inference import predict_values
from fold_models import random_model

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_the_mean_of_all_estimates_is_the_prediction() -> None:
    model = random_model(size=64, method="daa")
    ages = comparison_ages(model, PICTURES)
    value, _ = predict_values(model.network, model.method, PICTURES, 64, model.card.channels)
    assert ages.estimates.shape == (3, 71)
    assert ages.estimates.mean(1) == pytest.approx(value, abs=1e-3)
    assert ages.ages - ages.deltas == pytest.approx(ages.estimates)


def test_sampled_ages_alone_speak() -> None:
    model = random_model(size=64, method="daa", head_options={"sampling": 10})
    assert comparison_ages(model, PICTURES).ages.tolist() == [0, 10, 20, 30, 40, 50, 60, 70]


def test_errors_and_deviations_by_hand() -> None:
    ages = ComparisonAges(np.array([10.0, 50.0]), np.array([[20.0, 30.0], [24.0, 30.0]]))
    assert ages.deltas.tolist() == [[-10, 20], [-14, 20]]
    assert ages.errors(np.array([21.0, 21.0])).tolist() == [2.0, 9.0]
    assert ages.tells().tolist() == [2.0, 0.0]


def test_another_head_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"^comparison_ages: head pooled compares with no ages; only head daa does$"):
        comparison_ages(random_model(), PICTURES)
