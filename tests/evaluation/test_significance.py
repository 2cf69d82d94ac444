"""agecascade.evaluation.significance: by hand, against scipy, against the example of Demsar's paper, and for what they promise."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from agecascade.evaluation import bootstrap
from agecascade.evaluation.significance import UNDECIDED, NotComparable, Ranks, holm, paired_difference, rank_test


def frame(errors: list[list[float]]) -> pd.DataFrame:
    """Predictions that are wrong by these errors: a list for each fold."""
    rows = [
        {"sample_id": f"{fold}-{i}", "fold": fold, "label": 30.0, "label_sigma": math.nan, "prediction": 30.0 + error}
        for fold, values in enumerate(errors)
        for i, error in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_over_folds_it_is_scipys_paired_t_test():
    random = np.random.default_rng(0)
    first, second = (random.gamma(2, 2, (6, 9)) for _ in range(2))
    difference = paired_difference([frame(first.tolist())], [frame(second.tolist())], 0.95, 0)
    expected = scipy.stats.ttest_rel(first.mean(axis=1), second.mean(axis=1))
    folds, pictures = difference.tests
    assert (folds.over, pictures.over) == ("folds", "pictures")
    assert folds.p == pytest.approx(expected.pvalue)
    assert (folds.low, folds.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert difference.value == pytest.approx(first.mean() - second.mean())
    assert difference.deviation is None


def test_with_one_fold_the_paired_bootstrap_agrees_with_scipys():
    random = np.random.default_rng(1)
    second = random.gamma(2, 2, 200)
    first = np.abs(second + random.normal(0.4, 1, 200))
    (test,) = paired_difference([frame([first.tolist()])], [frame([second.tolist()])], 0.95, 0).tests
    expected = scipy.stats.bootstrap((first - second,), np.mean, method="percentile", n_resamples=9999, batch=500).confidence_interval
    assert (test.low, test.high) == pytest.approx(tuple(expected), abs=0.03)
    assert test.p == pytest.approx(scipy.stats.ttest_1samp(first - second, 0).pvalue, abs=0.01)


def test_pairing_finds_what_two_intervals_do_not():
    random = np.random.default_rng(2)
    hard = random.gamma(2, 4, 150)
    difference = paired_difference([frame([(hard + 0.3 + random.uniform(0, 0.1, 150)).tolist()])], [frame([hard.tolist()])], 0.95, 0)
    assert difference.verdict(0.95) == "worse"
    assert difference.tests[0].low > 0.3
    assert difference.value < hard.std() / math.sqrt(150)  # far inside the interval of either


def test_equal_predictions_are_not_distinguishable():
    for folds in ([[1.0, 2.0]], [[1.0, 2.0], [3.0, 1.0], [2.0, 2.0]]):
        difference = paired_difference([frame(folds)], [frame(folds)], 0.95, 0)
        assert difference.value == 0
        assert {test.p for test in difference.tests} == {1.0}
        assert difference.verdict(0.95) == UNDECIDED


def test_seeds_by_hand():
    """Seeds with MAEs 1 and 3 against 4 and 4: difference -2, pooled deviation sqrt(2 / 2) = 1, its error sqrt(1/2 + 1/2) = 1.

    Every fold has the same difference, so that nothing but seeds is uncertain: -2 +- t(0.975, 2) = -2 +- 4.303.
    """
    runs = [frame([[error] * 2] * 3) for error in (1.0, 3.0)]
    reference = [frame([[4.0] * 2] * 3)] * 2
    difference = paired_difference(runs, reference, 0.95, 0)
    assert (difference.value, difference.deviation, difference.seeds) == (-2, 1, (2, 2))
    folds, pictures = difference.tests
    assert (folds.low, folds.high) == pytest.approx((-2 - 4.302653, -2 + 4.302653), abs=1e-5)
    assert folds.p == pytest.approx(2 * scipy.stats.t.sf(2, 2))
    assert (pictures.low, pictures.high, pictures.p) == pytest.approx((folds.low, folds.high, folds.p))
    assert difference.verdict(0.95) == UNDECIDED


def test_satterthwaite_joins_folds_and_seeds():
    """Against scipy's Welch test: its second sample plays the part of the seeds."""
    folds = np.array([1.0, 2.0, 4.0, 5.0])
    runs = [frame([[fold + shift] for fold in folds]) for shift in (0.0, 1.0, 3.5)]
    reference = [frame([[0.0]] * 4)]
    first = paired_difference(runs, reference, 0.95, 0).tests[0]
    seeds = np.array([0.0, 1.0, 3.5])
    variance = [folds.var(ddof=1) / 4, seeds.var(ddof=1) * (1 / 3 + 1)]
    freedom = sum(variance) ** 2 / (variance[0] ** 2 / 3 + variance[1] ** 2 / 2)
    mean = folds.mean() + seeds.mean()
    assert (first.low, first.high) == pytest.approx(scipy.stats.t.interval(0.95, freedom, mean, math.sqrt(sum(variance))))


def test_the_interval_covers_seeds_and_subjects(monkeypatch: pytest.MonkeyPatch):
    """Two methods of equal error: with seeds that move the MAE by 0.5, an interval of test pictures alone misses 0 far too often."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 400)
    random = np.random.default_rng(5)
    subjects = pd.Series({f"0-{i}": f"s{i // 5}" for i in range(150)})
    covered = {3: 0, 1: 0}
    trials = 60
    for trial in range(trials):
        hard = 4 + np.repeat(random.normal(0, 1, 30), 5)
        runs = [[frame([(hard + random.normal(0, 0.5) + random.normal(0, 1, 150)).tolist()]) for _ in range(3)] for _ in range(2)]
        for seeds in covered:
            test = paired_difference(runs[0][:seeds], runs[1][:seeds], 0.95, trial, subjects).tests[0]
            covered[seeds] += test.low <= 0 <= test.high
    assert covered[3] / trials >= 0.86  # binomial deviation 0.03
    assert covered[1] / trials < 0.6


def test_other_pictures_folds_and_labels_are_not_comparable():
    good = frame([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(NotComparable, match="not comparable: of 3 test pictures here and 4 there, 3 are the same ones in the same fold"):
        paired_difference([good.iloc[:3]], [good], 0.95, 0)
    with pytest.raises(NotComparable, match="of 4 test pictures here and 4 there, 3 are the same"):
        paired_difference([good.assign(fold=[0, 1, 1, 1])], [good], 0.95, 0)
    with pytest.raises(NotComparable, match="1 of 4 test pictures have other labels"):
        paired_difference([good.assign(label=[30, 30, 30, 31])], [good], 0.95, 0)
    with pytest.raises(NotComparable):
        paired_difference([good, good.iloc[1:]], [good, good], 0.95, 0)  # of two seeds


def test_the_order_of_the_pictures_does_not_matter():
    first, second = frame([[1.0, 5.0, 2.0]]), frame([[2.0, 3.0, 3.0]])
    shuffled = paired_difference([first.sample(frac=1, random_state=1)], [second.sample(frac=1, random_state=2)], 0.95, 0)
    assert shuffled == paired_difference([first], [second], 0.95, 0)


def test_one_subject_alone_cannot_be_compared():
    subjects = pd.Series({"0-0": "x", "0-1": "x"})
    difference = paired_difference([frame([[1.0, 2.0]])], [frame([[2.0, 3.0]])], 0.95, 0, subjects)
    assert difference.tests == ()
    assert difference.verdict(0.95) == "not comparable: all test pictures are of one subject"


def test_nor_can_one_subject_in_several_folds():
    errors = [[1.0, 2.0], [1.5, 2.5], [3.0, 1.0]]
    subjects = pd.Series("x", index=frame(errors)["sample_id"])
    difference = paired_difference([frame(errors)], [frame([[5.0, 6.0]] * 3)], 0.95, 0, subjects)
    assert difference.tests == ()
    assert difference.verdict(0.95).startswith("not comparable")


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2 = 0.06 as the one before, 0.2 x 1
    assert holm([0.03, 0.01, 0.2, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_value_and_is_milder_than_bonferroni(p: list[float]):
    adjusted = holm(p)
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


# Demsar 2006, Table 6: AUC of C4.5 and three variants on 14 data sets; here as errors, 1 - AUC
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_ranks_and_critical_difference_of_demsars_example():
    """He has mean ranks 3.143, 2.000, 2.893, 1.964, chi-square 9.28 without a correction for ties, and a critical difference of 1.25."""
    ranks = rank_test(pd.DataFrame(1 - DEMSAR, columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]), 0.95)
    assert list(ranks.means.values()) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=1e-3)
    assert ranks.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert ranks.chi_square == pytest.approx(scipy.stats.friedmanchisquare(*(1 - DEMSAR).T).statistic)
    assert 12 * 14 / (4 * 5) * (sum(mean**2 for mean in ranks.means.values()) - 4 * 5**2 / 4) == pytest.approx(9.28, abs=0.01)
    assert ranks.p < 0.05


@pytest.mark.parametrize(("rows", "q"), [(3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_values_are_those_of_demsars_table(rows: int, q: float):
    errors = pd.DataFrame(np.random.default_rng(0).normal(size=(20, rows)))
    assert rank_test(errors, 0.95).critical_difference == pytest.approx(q * math.sqrt(rows * (rows + 1) / 120), abs=1e-3)


def test_groups_are_the_largest_runs_within_the_critical_difference():
    means = {"a": 1.0, "b": 1.8, "c": 2.5, "d": 4.5}
    assert Ranks(means, 10, 9.0, 0.01, 1.0).groups() == [(1.0, 1.8), (1.8, 2.5)]
    assert Ranks(means, 10, 9.0, 0.01, 0.1).groups() == []
    assert Ranks(means, 10, 9.0, 0.01, 5.0).groups() == [(1.0, 4.5)]


def test_rows_that_are_equal_everywhere_do_not_differ():
    ranks = rank_test(pd.DataFrame(np.ones((6, 3)), columns=list("abc")), 0.95)
    assert (ranks.p, set(ranks.means.values())) == (1.0, {2.0})


@pytest.mark.parametrize("errors", [np.ones((5, 2)), np.ones((1, 3)), np.full((5, 3), np.nan)])
def test_too_little_for_ranks_is_an_error(errors: np.ndarray):
    with pytest.raises(ValueError, match="three rows and two blocks"):
        rank_test(pd.DataFrame(errors), 0.95)
