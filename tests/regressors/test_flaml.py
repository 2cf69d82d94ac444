"""The second AutoML backend: FLAML, by itself and behind an entry of another name."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from agecascade import regressors
from agecascade.errors import RegressorError
from agecascade.regressors import Fold, flaml


def fold(validation: int = 30) -> Fold:
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 69, 240)
    feature = (np.outer(label - 30, rng.normal(size=16)) / 10 + rng.normal(0, 1, (240, 16))).astype(np.float32)
    held = 160 + validation
    return Fold(feature[:160], label[:160], feature[160:held], label[160:held], feature[190:], number=3)


def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 69, 240)[190:]


@pytest.mark.parametrize("validation", [30, 0])
def test_it_finds_something_and_tells_what(validation: int):
    options = {"time_left_for_this_task": 6, "learners": ["lgbm", "kneighbor"]}
    fitted = regressors.create("automl", options, 0, regressor="flaml").fit_predict(fold(validation))
    assert np.abs(fitted.prediction - truth()).mean() < 12  # always the mean would be off by 17
    assert set(fitted.choices["learner"]) <= {"lgbm", "kneighbor"}
    assert fitted.choices["validation_mae"].is_monotonic_increasing
    assert fitted.choices["chosen"].tolist()[0]
    assert set(json.loads(fitted.artifacts["best.json"])) == {"lgbm", "kneighbor"}


def test_a_search_without_a_model_says_which_key_to_raise(monkeypatch: pytest.MonkeyPatch):
    class Nothing:
        model, best_loss = None, np.inf

        def fit(self, **settings) -> None:
            pass

    monkeypatch.setattr(flaml, "_automl", lambda drop: Nothing)
    expected = (
        r"^fold 3: FLAML could not fit anything in 1 s; raise regressors\.automl\.options\.time_left_for_this_task or per_run_time_limit, "
        r"or drop the row, which `evaluate` waits for: remove regressors\.automl from params\.yaml$"
    )
    with pytest.raises(RegressorError, match=expected):
        regressors.create("automl", {"time_left_for_this_task": 1}, 0, regressor="flaml").fit_predict(fold())


def test_where_it_is_missing_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "flaml", None)
    with pytest.raises(
        RegressorError, match=r"FLAML is not installed: .*or drop the row, which `evaluate` waits for: remove regressors\.flaml"
    ):
        regressors.create("flaml", {}, 0).fit_predict(fold())


def test_one_key_changes_the_backend():
    options = {"time_left_for_this_task": 45, "per_run_time_limit": 10, "memory_limit": 2048, "folds": 1}
    for backend in ("flaml", "autosklearn"):
        made = regressors.create("automl", options, 0, regressor=backend)
        assert (made.key, made.folds) == ("automl", 1)
        assert backend in regressors.TIME_BOUNDED
