"""agecascade.baselines: the SVR, the loop over folds, and what may be asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agecascade import baselines, schema
from agecascade.errors import RegressorError


def study(pictures: int = 120, folds: int = 3, validation: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features from which the label can be read off, up to noise, and a split."""
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 69, pictures)
    feature = np.outer(label - 30, rng.normal(size=8)) + rng.normal(0, 10, (pictures, 8)) + 5
    ids = [f"{i:03}" for i in range(pictures)]
    features = pd.DataFrame({"sample_id": ids, "feature": list(feature.astype(np.float32)), "label": label, "label_sigma": 2.0})
    parts = []
    for fold in range(folds):
        role = np.where(np.arange(pictures) % 3 == fold, "test", "train").astype(object)
        if validation:
            role[np.flatnonzero(role == "train")[::6]] = "validation"
        parts.append(pd.DataFrame({"sample_id": ids, "protocol": "random", "fold": fold, "role": role}))
    return features, pd.concat(parts, ignore_index=True)


def test_svr_predicts_every_test_row_once_and_well():
    features, split = study()
    predictions, choices = baselines.fit_folds(features, split, baselines.create("svr", {}, seed=0))
    assert predictions.schema.equals(schema.PREDICTIONS)
    frame = predictions.to_pandas()
    tested = split[split["role"] == "test"]
    assert set(zip(frame["sample_id"], frame["fold"], strict=True)) == set(zip(tested["sample_id"], tested["fold"], strict=True))
    assert len(frame) == len(tested)
    truth = frame["sample_id"].map(features.set_index("sample_id")["label"])
    assert (frame["label"] == truth).all()
    # always the mean would be off by 17 years
    assert (frame["prediction"] - frame["label"]).abs().mean() < 4
    assert choices.groupby("fold")["chosen"].sum().tolist() == [1, 1, 1]
    assert choices["converged"].all()


def test_the_c_of_the_lowest_validation_mae_is_taken():
    features, split = study()
    _, choices = baselines.fit_folds(features, split, baselines.create("svr", {"C": [1e-6, 0.1, 1e-5]}, seed=0))
    assert choices.loc[choices["chosen"], "C"].tolist() == [0.1] * 3
    best = choices.groupby("fold")["validation_mae"].min()
    assert (choices[choices["chosen"]].set_index("fold")["validation_mae"] == best).all()


def test_test_labels_are_never_seen():
    features, split = study(folds=1)
    regressor = baselines.create("svr", {}, seed=0)
    first, _ = baselines.fit_folds(features, split, regressor)
    tested = features["sample_id"].isin(split.loc[split["role"] == "test", "sample_id"])
    second, _ = baselines.fit_folds(features.assign(label=features["label"].where(~tested, 1e6)), split, regressor)
    assert first["prediction"].equals(second["prediction"])


def test_without_validation_rows_the_first_c_is_taken():
    features, split = study(validation=False)
    _, choices = baselines.fit_folds(features, split, baselines.create("svr", {"C": [0.1, 1.0]}, seed=0))
    assert choices["C"].tolist() == [0.1] * 3
    assert choices["validation_mae"].isna().all()


def test_only_the_first_folds_where_so_many_are_asked_for():
    features, split = study()
    predictions, _ = baselines.fit_folds(features, split, baselines.create("svr", {"folds": 2}, seed=0))
    assert set(predictions["fold"].to_pylist()) == {0, 1}


def test_a_solver_that_has_not_converged_is_reported():
    features, split = study(folds=1)
    regressor = baselines.create("svr", {"C": [100.0], "max_iter": 1}, seed=0)
    with pytest.warns(UserWarning, match="C = 100 has not converged; raise regressors.svr.options.max_iter"):
        _, choices = baselines.fit_folds(features, split, regressor)
    assert choices["converged"].tolist() == [False]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("srv", {}, "unknown regressor 'srv'; did you mean svr"),
        ("svr", {"epsilom": 1.0}, "regressors.svr.options: unknown option 'epsilom'; did you mean epsilon"),
        ("svr", {"C": "0.1"}, "regressors.svr.options.C: .* found '0.1'"),
        ("svr", {"C": []}, "regressors.svr.options.C"),
        ("svr", {"C": [0.1, -1.0]}, "regressors.svr.options.C: .*greater than 0"),
        ("svr", {"seed": 3}, "unknown option 'seed'"),
        ("autosklearn", {"time_left_for_this_task": 5}, "regressors.autosklearn.options.time_left_for_this_task: .*30"),
    ],
)
def test_what_cannot_be_asked_for_is_named(name: str, options: dict, message: str):
    with pytest.raises(RegressorError, match=message):
        baselines.create(name, options, seed=0)


def test_a_picture_without_feature_is_named():
    features, split = study()
    with pytest.raises(RegressorError, match="1 pictures of the split have no feature, such as '000'"):
        baselines.fit_folds(features.iloc[1:], split, baselines.create("svr", {}, seed=0))


def test_a_fold_without_test_rows_is_named():
    features, split = study(folds=1)
    with pytest.raises(RegressorError, match="fold 0 of the split has no test rows"):
        baselines.fit_folds(features, split[split["role"] != "test"], baselines.create("svr", {}, seed=0))
