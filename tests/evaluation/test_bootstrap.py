"""agecascade.evaluation.bootstrap: by hand, against scipy, and whether the intervals hold what they promise."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.evaluation import bootstrap
from agecascade.evaluation.bootstrap import Units, fold_weights, p_value, percentile_interval, resampled_means, units_of
from agecascade.evaluation.summary import bootstrap_interval, summarise


def ids(*names: str) -> pd.Series:
    return pd.Series(names)


def by_picture(**subjects: str | None) -> pd.Series:
    return pd.Series(subjects, dtype=object)


def test_subjects_are_drawn_where_one_has_several_pictures():
    units = units_of(ids("a", "b", "c", "d"), pd.Series([0, 0, 0, 0]), by_picture(a="x", b="x", c="y", d=None))
    assert (units.kind, len(units.strata)) == ("subjects", 3)  # d is of nobody known, and a unit of its own
    assert units.of[0] == units.of[1]
    assert len({int(unit) for unit in units.of}) == 3


@pytest.mark.parametrize("subjects", [None, by_picture(a="x", b="y"), by_picture(a=None, b=None)])
def test_pictures_are_drawn_where_no_subject_repeats(subjects: pd.Series | None):
    assert units_of(ids("a", "b"), pd.Series([0, 0]), subjects).kind == "pictures"


def test_units_are_drawn_within_folds_where_each_has_two_and_none_is_in_two():
    subjects = by_picture(a="x", b="y", c="z", d="w", e="w")
    assert units_of(ids("a", "b", "c", "d", "e"), pd.Series([0, 0, 1, 1, 1]), subjects).strata.tolist().count(1) == 2
    # w is tested in both folds, and then one stratum holds all
    assert set(units_of(ids("a", "b", "c", "d", "e"), pd.Series([0, 0, 1, 1, 0]), subjects).strata) == {0}
    # leave one subject out: folds of one unit could not be drawn from
    assert set(units_of(ids("a", "d", "e"), pd.Series([0, 1, 1]), subjects).strata) == {0}


def test_weights_make_the_mean_of_the_fold_means():
    folds = pd.Series([0, 0, 0, 1])
    assert fold_weights(folds).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert fold_weights(folds) @ [1, 2, 3, 10] == pytest.approx((2 + 10) / 2)


def test_draws_have_the_standard_error_of_ratio_estimates():
    """The linearised variance of a mean over clusters of unequal size: sum of (S_u - mean C_u)^2 / C^2."""
    random = np.random.default_rng(0)
    of = np.sort(random.integers(0, 200, 1000))
    of = np.unique(of, return_inverse=True)[1]
    errors = random.gamma(2, 2, 1000) + random.normal(0, 1, 200)[of]
    units = Units("subjects", of, np.zeros(of.max() + 1, dtype=int))
    draws = resampled_means(errors[:, None], np.ones((1000, 1)), units, 0)[:, 0]
    residuals = np.bincount(of, weights=errors - errors.mean())
    assert draws.mean() == pytest.approx(errors.mean(), abs=0.01)
    assert draws.std() == pytest.approx(np.sqrt(np.square(residuals).sum()) / 1000, rel=0.05)


def test_sums_by_gathering_and_by_a_product_are_the_same():
    random = np.random.default_rng(0)
    values = random.normal(5, 1, (50, 4))
    units = Units("pictures", np.arange(50), np.zeros(50, dtype=int))
    weights = random.uniform(1, 2, (50, 4))
    together = resampled_means(values, weights, units, 3)  # eight columns that vary: a product of matrices
    one = resampled_means(values[:, :1], weights[:, :1], units, 3)
    np.testing.assert_allclose(together[:, :1], one, rtol=1e-12)


def test_interval_is_wider_than_the_percentiles_and_that_of_t_for_normal_draws():
    """Hesterberg: the half width is t(n - 1) times the standard error, where the bootstrap's own is smaller by sqrt((n - 1) / n)."""
    n = 8
    draws = np.random.default_rng(0).normal(0, np.sqrt((n - 1) / n), 400_000)  # as the bootstrap of a mean with standard error 1 has them
    half = scipy.stats.t.ppf(0.975, n - 1)
    assert percentile_interval(draws, 0.95, n, n - 1) == pytest.approx((-half, half), abs=0.04)
    low, high = percentile_interval(draws, 0.95, 10**6, 10**6 - 1)
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-3)


def test_one_unit_has_no_interval():
    with pytest.raises(ValueError, match="1 units leave 0 degrees of freedom"):
        percentile_interval(np.zeros(10), 0.95, 1, 0)


@given(shift=st.floats(-3, 3), confidence=st.sampled_from([0.8, 0.9, 0.95]))
@settings(max_examples=40, deadline=None)
def test_p_value_and_interval_agree(shift: float, confidence: float):
    draws = np.random.default_rng(0).normal(shift, 1, 5000)
    low, high = percentile_interval(draws, confidence, 20, 19)
    excluded = low > 0 or high < 0
    p = p_value(draws, 20, 19)
    assert excluded == (p < 1 - confidence) or abs(p - (1 - confidence)) < 3e-3


def test_p_value_is_that_of_the_t_test_for_a_mean():
    values = np.random.default_rng(4).normal(0.5, 1, 60)
    units = Units("pictures", np.arange(60), np.zeros(60, dtype=int))
    draws = resampled_means(values[:, None], np.ones((60, 1)), units, 0)[:, 0]
    assert p_value(draws, 60, 59) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    assert p_value(np.zeros(100), 60, 59) == 1
    assert p_value(np.ones(10_000), 60, 59) < 1e-3


def test_memory_does_not_grow_with_the_draws(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "MOST_DRAWN", 2**18)
    errors = np.random.default_rng(0).gamma(2, 2, 2000)
    tracemalloc.start()
    bootstrap_interval([errors], 0.95, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20  # all draws at once would be 160 MB


def test_intervals_hold_what_they_promise_where_pictures_of_a_subject_are_alike():
    """300 test sets of 40 subjects with 10 pictures each, whose true mean error is known: subjects cover 95 %, pictures far less.

    Errors are normal, of a deviation that half is the subject's own, so that the mean absolute one is sqrt(18) sqrt(2 / pi).
    """
    random = np.random.default_rng(1)
    covered = {"subjects": 0, "pictures": 0}
    of = np.repeat(np.arange(40), 10)
    names = pd.Series([f"p{i}" for i in range(400)])
    subjects = pd.Series([f"s{i}" for i in of], index=names)
    trials = 300
    for trial in range(trials):
        errors = np.abs(random.normal(0, 3, 40)[of] + random.normal(0, 3, 400))
        for kind, known in (("subjects", subjects), ("pictures", None)):
            units = units_of(names, pd.Series(np.zeros(400, dtype=int)), known)
            assert units.kind == kind
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(bootstrap, "RESAMPLES", 500)
                draws = resampled_means(errors[:, None], np.full((400, 1), 1 / 400), units, trial)[:, 0]
            low, high = percentile_interval(draws, 0.95, len(units.strata), units.freedom)
            covered[kind] += low <= 6 / np.sqrt(np.pi) <= high
    assert 0.92 <= covered["subjects"] / trials <= 0.98  # binomial deviation 0.013
    assert covered["pictures"] / trials < 0.8


def test_a_row_of_few_folds_whose_subjects_repeat_is_drawn_over_subjects():
    random = np.random.default_rng(0)
    of = np.repeat(np.arange(10), 8)
    frame = pd.DataFrame({"sample_id": [f"p{i}" for i in range(80)], "fold": 0, "label": 30.0, "label_sigma": np.nan})
    frame["prediction"] = 30 + random.gamma(2, 2, 10)[of]
    subjects = pd.Series([f"s{i}" for i in of], index=frame["sample_id"])
    figures = summarise(frame, [5], 0.95, 0, subjects=subjects)
    over_pictures = summarise(frame, [5], 0.95, 0)
    assert (figures["interval"], over_pictures["interval"]) == ("bootstrap over subjects", "bootstrap over pictures")
    width, narrow = (float(row["mae_high"]) - float(row["mae_low"]) for row in (figures, over_pictures))
    assert width > 2 * narrow
    assert figures["mae"] == over_pictures["mae"]


def test_one_subject_alone_has_no_interval():
    frame = pd.DataFrame({"sample_id": ["a", "b"], "fold": 0, "label": [3.0, 4.0], "label_sigma": np.nan, "prediction": [4.0, 6.0]})
    figures = summarise(frame, [5], 0.95, 0, subjects=pd.Series({"a": "x", "b": "x"}))
    assert figures["interval"] == "none: one subject"
    assert "mae_low" not in figures
    assert figures["mae"] == 1.5


def test_folds_of_one_subject_have_no_interval_either():
    """Its interval over folds would say nothing of anybody else."""
    frame = pd.DataFrame({"sample_id": list("abcdef"), "fold": [0, 0, 1, 1, 2, 2], "label": 3.0, "label_sigma": np.nan})
    frame["prediction"] = [4.0, 5.0, 4.0, 3.0, 3.5, 6.0]
    figures = summarise(frame, [5], 0.95, 0, subjects=pd.Series("x", index=list("abcdef")))
    assert figures["interval"] == "none: one subject"
    assert "mae_low" not in figures
    assert summarise(frame, [5], 0.95, 0)["interval"] == "t over folds"
