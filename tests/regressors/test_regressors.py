"""The registry of regressors, the loop over folds, and the cache of finished folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from agecascade import regressors, schema
from agecascade.errors import RegressorError
from agecascade.features import Features
from agecascade.params import Compute
from agecascade.regressors import Fold, FoldCache, automl, folds


def features_and_split(pictures: int = 120, folds: int = 3, validation: bool = True) -> tuple[Features, pd.DataFrame]:
    """Features that are linear in the label, plus noise, and a split."""
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 69, pictures)
    feature = np.outer(label - 30, rng.normal(size=8)) + rng.normal(0, 10, (pictures, 8)) + 5
    ids = [f"{i:03}" for i in range(pictures)]
    features = Features(np.array(ids, object), feature.astype(np.float32), label, np.full(pictures, 2.0))
    parts = []
    for fold in range(folds):
        role = np.where(np.arange(pictures) % 3 == fold, "test", "train").astype(object)
        if validation:
            role[np.flatnonzero(role == "train")[::6]] = "validation"
        parts.append(pd.DataFrame({"sample_id": ids, "protocol": "random", "fold": fold, "role": role}))
    return features, pd.concat(parts, ignore_index=True)


def test_svr_predicts_every_test_row_once_and_accurately():
    features, split = features_and_split()
    predictions, choices, _ = regressors.fit_folds(features, split, regressors.create_regressor("svr", {}, seed=0))
    assert predictions.schema.equals(schema.PREDICTIONS)
    frame = predictions.to_pandas()
    tested = split[split["role"] == "test"]
    assert set(zip(frame["sample_id"], frame["fold"], strict=True)) == set(zip(tested["sample_id"], tested["fold"], strict=True))
    assert len(frame) == len(tested)
    truth = frame["sample_id"].map(dict(zip(features.sample_id, features.label, strict=True)))
    assert (frame["label"] == truth).all()
    # always the mean would be off by 17 years
    assert (frame["prediction"] - frame["label"]).abs().mean() < 4
    assert choices.groupby("fold")["chosen"].sum().tolist() == [1, 1, 1]
    assert choices["converged"].all()


def test_the_c_of_the_lowest_validation_mae_is_selected():
    features, split = features_and_split()
    _, choices, _ = regressors.fit_folds(features, split, regressors.create_regressor("svr", {"C": [1e-6, 0.1, 1e-5]}, seed=0))
    assert choices.loc[choices["chosen"], "C"].tolist() == [0.1] * 3
    best = choices.groupby("fold")["validation_mae"].min()
    assert (choices[choices["chosen"]].set_index("fold")["validation_mae"] == best).all()


def test_test_labels_do_not_change_the_predictions():
    features, split = features_and_split(folds=1)
    regressor = regressors.create_regressor("svr", {}, seed=0)
    first, _, _ = regressors.fit_folds(features, split, regressor)
    tested = pd.Series(features.sample_id).isin(split.loc[split["role"] == "test", "sample_id"])
    changed = replace(features, label=np.where(tested, 1e6, features.label))
    second, _, _ = regressors.fit_folds(changed, split, regressor)
    assert first["prediction"].equals(second["prediction"])


def test_without_validation_rows_the_first_c_is_selected():
    features, split = features_and_split(validation=False)
    _, choices, _ = regressors.fit_folds(features, split, regressors.create_regressor("svr", {"C": [0.1, 1.0]}, seed=0))
    assert choices["C"].tolist() == [0.1] * 3
    assert choices["validation_mae"].isna().all()


def test_the_option_folds_takes_the_first_folds_only():
    features, split = features_and_split()
    predictions, _, _ = regressors.fit_folds(features, split, regressors.create_regressor("svr", {"folds": 2}, seed=0))
    assert set(predictions["fold"].to_pylist()) == {0, 1}


def test_a_solver_that_has_not_converged_is_reported():
    features, split = features_and_split(folds=1)
    regressor = regressors.create_regressor("svr", {"C": [100.0], "max_iter": 1}, seed=0)
    expected = (
        r"C = 100 has not converged in fold 0; raise regressors\.svr\.options\.max_iter, .* take 100 out of regressors\.svr\.options\.C$"
    )
    with pytest.warns(UserWarning, match=expected):
        _, choices, _ = regressors.fit_folds(features, split, regressor)
    assert choices["converged"].tolist() == [False]


REGRESSORS = ["svr", "svr_rbf", "ohrank", "bfgs_ldl", "ridge", "knn"]


@pytest.mark.parametrize("name", REGRESSORS)
def test_every_regressor_is_accurate_and_selects_on_validation(name: str):
    features, split = features_and_split()
    regressor = regressors.create_regressor(name, {}, seed=0)
    predictions, choices, artifacts = regressors.fit_folds(features, split, regressor)
    frame = predictions.to_pandas()
    assert (frame["prediction"] - frame["label"]).abs().mean() < 5
    chosen = choices[choices["chosen"]].set_index("fold")["validation_mae"]
    assert chosen.equals(choices.groupby("fold")["validation_mae"].min().rename("validation_mae"))
    assert artifacts == {}


@pytest.mark.parametrize("name", REGRESSORS)
def test_processes_give_the_same_result(name: str, monkeypatch: pytest.MonkeyPatch):
    features, split = features_and_split(pictures=90)
    regressor = regressors.create_regressor(name, {}, seed=0)
    sequential, choices, _ = regressors.fit_folds(features, split, regressor)
    monkeypatch.setattr(folds, "MIN_PARALLEL_SECONDS", 0.0)
    parallel, parallel_choices, _ = regressors.fit_folds(features, split, regressor, Compute(workers=2))
    assert parallel.equals(sequential)
    pd.testing.assert_frame_equal(choices, parallel_choices)


def test_svr_rbf_of_two_points_by_hand():
    """Two points that lie alike in the kernel: the function is symmetric about their mean, and misses each label by epsilon."""
    # 0 and 8 years, a C that does not bind, epsilon 1: 1 and 7, and 4 between
    train, label = np.array([[-1.0], [1.0]], np.float32), np.array([0.0, 8.0])
    fold = Fold(train, label, train[:0], label[:0], np.array([[-1.0], [0.0], [1.0]], np.float32))
    regressor = regressors.create_regressor("svr_rbf", {"C": [100.0]}, seed=0)
    np.testing.assert_allclose(regressor.fit_predict(fold).prediction, [1.0, 4.0, 7.0], atol=1e-2)


def test_a_fold_with_a_single_label_is_named():
    features, split = features_and_split(folds=2)
    rows = pd.Index(features.sample_id).get_indexer(split.loc[(split["fold"] == 1) & (split["role"] == "train"), "sample_id"])
    features.label[rows] = 21.0
    regressor = regressors.create_regressor("ohrank", {"folds": 2}, seed=0)
    with pytest.raises(RegressorError, match=r"^fold 1: all \d+ training labels are 21, so that there is nothing to learn; see `protocol`"):
        regressors.fit_folds(features, split, regressor)


def test_missing_labels_are_counted():
    features, split = features_and_split(folds=1)
    features.label[:] = np.nan
    with pytest.raises(RegressorError, match=r"^fold 0: (\d+) of \1 training pictures have no label"):
        regressors.fit_folds(features, split, regressors.create_regressor("ridge", {}, seed=0))


def test_features_and_labels_of_different_length():
    features, _ = features_and_split()
    with pytest.raises(RegressorError, match="120 features for 119 labels and 120 pictures; run the features stage again"):
        Features(features.sample_id, features.feature, features.label[1:])
    with pytest.raises(RegressorError, match="30 training features for 29 labels"):
        Fold(features.feature[:30], features.label[:29], features.feature[:0], features.label[:0], features.feature[30:])


def test_errors_of_scikit_learn_become_one_line_with_fold_and_entry():
    features, split = features_and_split(folds=1)
    features.feature[5, 0] = np.nan
    with pytest.raises(RegressorError, match=r"^fold 0: regressors\.ages: Input X contains NaN") as caught:
        regressors.fit_folds(features, split, regressors.create_regressor("ages", {}, seed=0, regressor="ridge"))
    assert len(str(caught.value).splitlines()) == 1


def test_more_neighbours_than_pictures_name_the_key():
    features, split = features_and_split(folds=1)
    with pytest.raises(RegressorError, match=r"regressors\.knn\.options\.n_neighbors: 500, but \d+ training pictures"):
        regressors.fit_folds(features, split, regressors.create_regressor("knn", {"n_neighbors": [500]}, seed=0))


@pytest.mark.parametrize("name", REGRESSORS)
def test_features_are_standardised_unless_told_otherwise(name: str, monkeypatch: pytest.MonkeyPatch):
    features, split = features_and_split(folds=1)
    kind = type(regressors.create_regressor(name, {}, 0))
    seen: list[np.ndarray] = []
    fit = kind.fit

    def watched(self: Any, estimator: Any, feature: np.ndarray, fold: Fold) -> None:
        seen.append(feature)
        fit(self, estimator, feature, fold)

    monkeypatch.setattr(kind, "fit", watched)
    for options in ({}, {"standardise": False}):
        regressors.fit_folds(features, split, regressors.create_regressor(name, options, 0))
    train = (split["role"] == "train").to_numpy()
    np.testing.assert_allclose(seen[0].mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(seen[0].std(axis=0), 1)
    np.testing.assert_array_equal(seen[-1], features.feature[train].astype(np.float64))


def test_options_take_precedence_over_the_data_sets_defaults():
    defaults = {"step": 0.1, "sigma": 0.5}
    regressor: Any = regressors.create_regressor("bfgs_ldl", {"sigma": 0.7}, 0, defaults=defaults)
    assert (regressor.step, regressor.sigma) == (0.1, 0.7)
    regressors.create_regressor("ridge", {}, 0, defaults=defaults)  # has neither option


def test_an_entry_may_have_another_name_than_its_regressor():
    regressor: Any = regressors.create_regressor("ages", {"alpha": [3.0]}, 0, regressor="ridge")
    assert (regressor.key, regressor.alpha) == ("ages", [3.0])
    with pytest.raises(RegressorError, match=r"regressors\.ages\.regressor: unknown regressor 'rigde'; did you mean ridge"):
        regressors.create_regressor("ages", {}, 0, regressor="rigde")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("srv", {}, "regressors: unknown regressor 'srv'; did you mean svr.*; an entry of another name says `regressor: NAME`"),
        ("svr", {"epsilom": 1.0}, "regressors.svr.options: unknown option 'epsilom'; did you mean epsilon"),
        ("svr", {"C": "0.1"}, "regressors.svr.options.C: .* found '0.1'"),
        ("svr", {"C": []}, "regressors.svr.options.C"),
        ("svr", {"C": [0.1, -1.0]}, "regressors.svr.options.C: .*greater than 0"),
        ("svr", {"seed": 3}, "unknown option 'seed'"),
        ("autosklearn", {"time_left_for_this_task": 5}, "regressors.autosklearn.options.time_left_for_this_task: .*30"),
    ],
)
def test_errors_name_what_is_unknown_or_wrong(name: str, options: dict, message: str):
    with pytest.raises(RegressorError, match=message):
        regressors.create_regressor(name, options, seed=0)


def test_a_picture_without_feature_is_named():
    features, split = features_and_split()
    fewer = Features(features.sample_id[1:], features.feature[1:], features.label[1:])
    with pytest.raises(RegressorError, match="1 pictures of the split have no feature, such as '000'"):
        regressors.fit_folds(fewer, split, regressors.create_regressor("svr", {}, seed=0))


def test_a_fold_without_test_rows_is_named():
    features, split = features_and_split(folds=1)
    with pytest.raises(RegressorError, match="fold 0 of the split has no test rows"):
        regressors.fit_folds(features, split[split["role"] != "test"], regressors.create_regressor("svr", {}, seed=0))


class Interrupted(NamedTuple):
    """A regressor that is interrupted at its fold number `end`; `fitted` holds the training rows of each fold before."""

    regressor: regressors.Regressor
    fitted: list[int]
    end: int = 99

    @property
    def key(self) -> str:
        return self.regressor.key

    @property
    def folds(self) -> int | None:
        return self.regressor.folds

    @property
    def scripts(self) -> tuple[Path, ...]:
        return self.regressor.scripts

    def fit_predict(self, fold: Fold) -> regressors.Fitted:
        if len(self.fitted) == self.end:
            raise KeyboardInterrupt
        self.fitted.append(len(fold.train))
        return replace(self.regressor.fit_predict(fold), artifacts={"best.json": '{"\u00e4": 1}\n'})


def cache_of(regressor: regressors.Regressor, folder: Path) -> FoldCache:
    inputs = [folder / "features", folder / "split"]
    for path in inputs:
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    return FoldCache.of(regressor, inputs, folder / "work")


@pytest.mark.parametrize("name", REGRESSORS)
def test_an_interrupted_regressor_resumes_after_its_finished_folds(name: str, tmp_path: Path):
    features, split = features_and_split()
    regressor = regressors.create_regressor(name, {}, seed=0)
    whole = regressors.fit_folds(features, split, Interrupted(regressor, []))
    with pytest.raises(KeyboardInterrupt):
        regressors.fit_folds(features, split, Interrupted(regressor, [], end=2), cache=cache_of(regressor, tmp_path))
    second, cache = Interrupted(regressor, []), cache_of(regressor, tmp_path)
    predictions, choices, artifacts = regressors.fit_folds(features, split, second, cache=cache)
    assert len(second.fitted) == 1
    assert predictions.equals(whole[0])
    pd.testing.assert_frame_equal(choices, whole[1])
    assert artifacts == whole[2] == {f"fold{fold}-best.json": '{"\u00e4": 1}\n' for fold in range(3)}
    cache.clear(range(3))
    assert not list((tmp_path / "work").iterdir())


def test_folds_of_other_settings_are_not_used_and_removed_at_the_end(tmp_path: Path):
    features, split = features_and_split()
    variants = [regressors.create_regressor("svr", options, seed=0) for options in ({}, {"C": [0.1]})]
    with pytest.raises(KeyboardInterrupt):
        regressors.fit_folds(features, split, Interrupted(variants[0], [], end=2), cache=cache_of(variants[0], tmp_path))
    second, cache = Interrupted(variants[1], []), cache_of(variants[1], tmp_path)
    regressors.fit_folds(features, split, second, cache=cache)
    assert len(second.fitted) == 3
    cache.clear(range(3))
    assert not list((tmp_path / "work").iterdir())


def test_a_changed_script_invalidates_finished_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = tmp_path / "search.py"
    monkeypatch.setattr(automl.AutoSklearn, "scripts", (script,))
    stamps = {}
    for content in ("first", "second"):
        script.write_text(content)
        stamps[content] = [cache_of(regressors.create_regressor(name, {}, seed=0), tmp_path).stamp for name in ("autosklearn", "svr")]
    assert stamps["first"][0] != stamps["second"][0]
    assert stamps["first"][1] == stamps["second"][1]


def test_changed_features_invalidate_finished_folds(tmp_path: Path):
    regressor = regressors.create_regressor("svr", {}, seed=0)
    before = cache_of(regressor, tmp_path)
    (tmp_path / "features").write_text("others")
    after = FoldCache.of(regressor, [tmp_path / "features", tmp_path / "split"], tmp_path / "work")
    assert before.stamp != after.stamp
