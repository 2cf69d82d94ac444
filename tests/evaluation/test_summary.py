"""agecascade.evaluation.summary: by hand, against scipy, and for what they promise."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from agecascade.evaluation.summary import bootstrap_interval, digest_of_pictures, fold_maes, summarise, t_interval


def frame(folds: list[list[tuple[float, float]]], sigma: float | None = None) -> pd.DataFrame:
    """Predictions: for every fold its (label, prediction) pairs."""
    rows = [
        {"sample_id": f"{fold}-{i}", "fold": fold, "label": label, "label_sigma": sigma, "prediction": prediction}
        for fold, pairs in enumerate(folds)
        for i, (label, prediction) in enumerate(pairs)
    ]
    return pd.DataFrame(rows).astype({"label_sigma": float})


def test_t_interval_is_scipys():
    values = [2.0, 3.0, 4.0, 7.0]
    expected = scipy.stats.t.interval(0.9, 3, loc=4.0, scale=np.std(values, ddof=1) / 2)
    assert t_interval(values, 0.9) == pytest.approx(expected)


def test_t_interval_by_hand():
    # mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653
    assert t_interval([1.0, 2.0, 3.0], 0.95) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-6)


def test_t_interval_needs_two_values():
    with pytest.raises(ValueError, match="got 1"):
        t_interval([1.0], 0.95)


def test_bootstrap_interval_agrees_with_scipys():
    errors = np.random.default_rng(1).gamma(2, 2, 300)
    expected = scipy.stats.bootstrap((errors,), np.mean, confidence_level=0.95, method="percentile", n_resamples=5000, batch=500)
    interval = bootstrap_interval([errors], 0.95, seed=0)
    assert interval == pytest.approx(tuple(expected.confidence_interval), abs=0.08)
    assert interval == bootstrap_interval([errors], 0.95, seed=0)


def test_bootstrap_weighs_folds_not_pictures():
    # a large fold of errors 0 and a small one of errors 2: the mean over folds is 1, over pictures 0.2
    assert bootstrap_interval([np.zeros(90), np.full(10, 2.0)], 0.95, seed=0) == (1.0, 1.0)


def test_mae_is_the_mean_of_the_fold_maes_and_the_pooled_stands_beside_it():
    predictions = frame([[(10, 11), (20, 21), (30, 31)], [(40, 45)], [(50, 47)]])  # fold MAEs 1, 5, 3
    figures = summarise(predictions, [3, 5], 0.95, seed=0)
    assert fold_maes(predictions).tolist() == [1, 5, 3]
    assert figures["mae"] == 3
    assert figures["pooled_mae"] == pytest.approx(11 / 5)
    assert figures["rmse"] == pytest.approx(math.sqrt((3 + 25 + 9) / 5))
    assert (figures["cs_3"], figures["ca_3"]) == (0.8, 0.6)
    assert (figures["cs_5"], figures["ca_5"]) == (1.0, 0.8)
    assert (figures["fold_mae_median"], figures["fold_mae_quartile_1"], figures["fold_mae_quartile_3"]) == (3, 2, 4)
    assert (figures["pictures"], figures["folds"]) == (5, 3)
    assert figures["interval"] == "t over folds"
    assert (figures["mae_low"], figures["mae_high"]) == pytest.approx(t_interval([1, 5, 3], 0.95))


def test_few_folds_are_bootstrapped_over_pictures():
    rng = np.random.default_rng(0)
    predictions = frame([[(label, label + rng.normal(0, 4)) for label in range(80)]])
    figures = summarise(predictions, [5], 0.95, seed=3)
    assert figures["interval"] == "bootstrap over pictures"
    assert figures["mae_low"] < figures["mae"] < figures["mae_high"]
    assert figures == summarise(predictions.sample(frac=1, random_state=0), [5], 0.95, seed=3)


def test_epsilon_error_stands_only_where_every_picture_has_a_sigma():
    assert summarise(frame([[(20, 23)]], sigma=3.0), [], 0.95, 0)["epsilon_error"] == pytest.approx(1 - math.exp(-0.5))
    partly = frame([[(20, 23), (30, 31)]], sigma=3.0)
    partly.loc[0, "label_sigma"] = math.nan
    assert "epsilon_error" not in summarise(partly, [], 0.95, 0)


def test_what_is_undefined_is_left_out_and_the_rest_is_json():
    figures = summarise(frame([[(20, 25), (30, 25)]]), [2.5], 0.95, 0)  # a constant prediction has no correlation
    assert "pearson" not in figures
    assert figures["cs_2.5"] == 0
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_bad_predictions_are_named():
    with pytest.raises(ValueError, match="prediction: 1 of 2 values are NaN"):
        summarise(frame([[(20, math.nan), (30, 31)]]), [], 0.95, 0)
    twice = pd.concat([frame([[(20, 21)]])] * 2)
    with pytest.raises(ValueError, match="'0-0' stands twice"):
        summarise(twice, [], 0.95, 0)
    with pytest.raises(ValueError, match="empty"):
        summarise(frame([[(20, 21)]]).iloc[:0], [], 0.95, 0)


def test_r2_is_pooled_and_its_mean_over_folds_stands_beside_it():
    # fold 0: squares 1 + 1 of 50, R2 0.96; fold 1: 16 + 0 of 8, R2 -1; fold 2 has one label, so that its R2 is undefined
    predictions = frame([[(10, 11), (20, 19)], [(30, 34), (34, 34)], [(40, 40)]])
    figures = summarise(predictions, [5], 0.95, seed=0)
    assert figures["fold_r2_mean"] == pytest.approx((0.96 - 1) / 2)
    labels = np.array([10, 20, 30, 34, 40])
    assert figures["r2"] == pytest.approx(1 - 18 / np.square(labels - labels.mean()).sum())
    assert "fold_r2_mean" not in summarise(frame([[(10, 11)], [(20, 19)]]), [5], 0.95, seed=0)


def test_the_digest_tells_test_pictures_labels_and_folds_apart_and_nothing_else():
    tested = frame([[(1.0, 2.0), (3.0, 4.0)], [(5.0, 6.0)]])
    same = tested.iloc[::-1].assign(prediction=9.0)
    assert summarise(tested, [], 0.95, 0)["test_set"] == digest_of_pictures(same)
    others = [tested.assign(label=7.0), tested.assign(fold=0), tested.assign(sample_id=[f"q{i}" for i in range(3)]), tested[:2]]
    assert len({digest_of_pictures(each) for each in [tested, *others]}) == 5
