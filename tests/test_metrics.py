"""agecascade.metrics against numbers worked out by hand, scikit-learn and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from agecascade import metrics

PREDICTION = [21.0, 35.0, 40.0, 63.0]
LABEL = [20.0, 30.0, 40.0, 60.0]  # errors 1, 5, 0, 3


def test_by_hand():
    assert metrics.mae(PREDICTION, LABEL) == 2.25
    assert metrics.median_absolute_error(PREDICTION, LABEL) == 2.0
    assert metrics.rmse(PREDICTION, LABEL) == pytest.approx(math.sqrt(35 / 4))


def test_cumulative_score_counts_up_to_n_and_cumulative_accuracy_below_n():
    assert metrics.cumulative_score(PREDICTION, LABEL, 3) == 0.75
    assert metrics.cumulative_accuracy(PREDICTION, LABEL, 3) == 0.5
    assert metrics.cumulative_score(PREDICTION, LABEL, 0) == 0.25
    assert metrics.cumulative_accuracy(PREDICTION, LABEL, 0) == 0


def test_cumulative_accuracy_is_per_picture_not_on_the_batch_mean():
    # mean error 5 < 6, but half of the pictures are off by 10
    assert metrics.cumulative_accuracy([0.0, 10.0], [0.0, 0.0], 6) == 0.5


def test_epsilon_error_by_hand():
    # an error of one sigma: 1 - e^-0.5; of two: 1 - e^-2
    expected = (1 - math.exp(-0.5) + 1 - math.exp(-2)) / 2
    assert metrics.epsilon_error([23.0, 28.0], [20.0, 30.0], [3.0, 1.0]) == pytest.approx(expected)


def test_epsilon_error_of_sigma_zero_is_zero_where_right_and_one_where_wrong():
    assert metrics.epsilon_error([20.0, 21.0], [20.0, 20.0], [0.0, 0.0]) == 0.5


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(0.1, 9)), min_size=3, max_size=20))
def test_independent_implementations_agree(rows: list[tuple[float, float, float]]):
    prediction, label, sigma = np.array(rows).T
    assert metrics.mae(prediction, label) == pytest.approx(sklearn.metrics.mean_absolute_error(label, prediction))
    assert metrics.rmse(prediction, label) == pytest.approx(sklearn.metrics.root_mean_squared_error(label, prediction))
    expected = sklearn.metrics.median_absolute_error(label, prediction)
    assert metrics.median_absolute_error(prediction, label) == pytest.approx(expected)
    density = scipy.stats.norm.pdf(prediction, label, sigma) / scipy.stats.norm.pdf(label, label, sigma)
    assert metrics.epsilon_error(prediction, label, sigma) == pytest.approx(np.mean(1 - density), abs=1e-12)


def test_correlation_and_r2_agree_with_scipy_and_scikit_learn():
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 70, 200)
    prediction = label + rng.normal(0, 5, 200)
    assert metrics.pearson(prediction, label) == pytest.approx(scipy.stats.pearsonr(prediction, label).statistic)
    assert metrics.r2(prediction, label) == pytest.approx(sklearn.metrics.r2_score(label, prediction))


PLAIN = [metrics.mae, metrics.rmse, metrics.median_absolute_error, metrics.pearson, metrics.r2]


@pytest.mark.parametrize("metric", PLAIN)
@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([], [], "empty"),
        ([1.0, math.nan], [1.0, 2.0], "prediction: 1 of 2 values are NaN"),
        ([1.0, 2.0], [math.inf, 2.0], "label: 1 of 2 values are NaN or infinite"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "3 predictions for 2 labels"),
        ([[1.0], [2.0]], [1.0, 2.0], r"shape \(2, 1\)"),
    ],
)
def test_bad_input_is_named(metric: Callable, prediction: list, label: list, message: str):
    with pytest.raises(ValueError, match=message):
        metric(prediction, label)


def test_undefined_figures_are_errors_not_nan():
    with pytest.raises(ValueError, match="label: all 2 values are equal"):
        metrics.r2([1.0, 2.0], [5.0, 5.0])
    with pytest.raises(ValueError, match="prediction: all 1 values are equal"):
        metrics.pearson([1.0], [2.0])
    with pytest.raises(ValueError, match="no sigma"):
        metrics.epsilon_error(PREDICTION, LABEL, None)
    with pytest.raises(ValueError, match="sigma: 4 of 4 values are NaN"):
        metrics.epsilon_error(PREDICTION, LABEL, [math.nan] * 4)
    with pytest.raises(ValueError, match="2 sigmas for 4 labels"):
        metrics.epsilon_error(PREDICTION, LABEL, [1.0, 1.0])


def test_accuracy_and_one_off_by_hand():
    groups = [1.0, 5.0, 10.0, 17.5]  # borders 3, 7.5, 13.75
    label = [1.0, 5.0, 5.0, 10.0, 17.5]
    prediction = [2.9, 3.1, 7.6, 40.0, 0.0]  # right, right, one off, one off, three off
    assert metrics.accuracy(prediction, label, groups) == 2 / 5
    assert metrics.one_off(prediction, label, groups) == 4 / 5
    assert metrics.accuracy([3.0], [1.0], groups) == 1  # on a border, the lower group


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=8),
    st.sampled_from([1e-300, 1e-160, 1e-9, 1.0, 1e9, 1e150]),
    st.sampled_from([0.0, 1.0, 50.0]),
)
def test_figures_are_finite_or_told_to_be_undefined(rows: list[tuple[float, float]], scale: float, middle: float):
    """One picture, equal labels, equal predictions, and differences whose squares are no numbers."""
    prediction, label = middle + scale * np.array(rows).T
    for metric in (metrics.mae, metrics.rmse, metrics.median_absolute_error):
        assert math.isfinite(metric(prediction, label))
    for metric, varied in ((metrics.pearson, (prediction, label)), (metrics.r2, (label,))):
        if min(map(np.ptp, varied)) > 0:
            assert math.isfinite(metric(prediction, label)) or metric is metrics.r2
            assert metric(prediction, label) <= 1
        else:
            with pytest.raises(ValueError, match="values are equal, so that the figure is undefined"):
                metric(prediction, label)


def test_a_correlation_of_differences_whose_squares_are_zero():
    assert metrics.pearson([0.0, 1e-200, 3e-200], [0.0, 1e-200, 3e-200]) == pytest.approx(1)
    assert metrics.r2([0.0, 1e-200, 2e-200], [0.0, 1e-200, 3e-200]) == pytest.approx(1 - 9 / 42)
