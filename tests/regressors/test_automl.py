"""Searches over learners: FLAML; and auto-sklearn, in quick tests with a stand-in for uv, and in a slow one with the real uv."""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agecascade import regressors
from agecascade.errors import RegressorError
from agecascade.regressors import Fold, automl

# a stand-in for uv and the script: writes the script's outputs with the standard library and pandas of this environment
STAND_IN = """
import json, os, sys
import pandas as pd
if sys.argv[1] == "run":
    folder = sys.argv[-1]
    options = json.load(open(folder + "/options.json"))
    train, test = pd.read_parquet(folder + "/train.parquet"), pd.read_parquet(folder + "/test.parquet")
    first = [float(feature[0]) for feature in test["feature"]]
    pd.DataFrame({"prediction": first}).to_parquet(folder + "/predictions.parquet")
    line = {"model_id": 2, "rank": 1, "ensemble_weight": 1.0, "type": "liblinear_svr"}
    line |= {"cost": train["validation"].sum(), "duration": options["seed"]}
    pd.DataFrame([line]).to_csv(folder + "/leaderboard.csv", index=False)
    json.dump([{"weight": 1.0, "pipeline": str(options)}], open(folder + "/ensemble.json", "w"))
"""


def small_fold(validation: int = 30) -> Fold:
    """Fold 3: 160 training and up to 30 validation rows, and 50 test rows whose labels are `label_of_test_rows()`."""
    rng = np.random.default_rng(0)
    label = rng.uniform(0, 69, 240)
    feature = (np.outer(label - 30, rng.normal(size=16)) / 10 + rng.normal(0, 1, (240, 16))).astype(np.float32)
    end = 160 + validation
    return Fold(feature[:160], label[:160], feature[160:end], label[160:end], feature[190:], number=3)


def label_of_test_rows() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 69, 240)[190:]


@pytest.fixture
def fold() -> Fold:
    return small_fold()


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that puts a Python program in the place of `uv`."""

    def make(program: str) -> None:
        path = tmp_path / "uv"
        path.write_text(f"#!{sys.executable}\n{program}")
        path.chmod(0o755)
        monkeypatch.setenv("UV", str(path))

    return make


def fit(fold: Fold, **options: int) -> regressors.Fitted:
    return regressors.create_regressor("autosklearn", options, seed=7).fit_predict(fold)


def test_auto_sklearn_exchanges_files_with_its_script(fold: Fold, uv):
    uv(STAND_IN)
    fitted = fit(fold, time_left_for_this_task=60, per_run_time_limit=9, memory_limit=1024)
    assert fitted.prediction.tolist() == fold.test[:, 0].astype(float).tolist()
    assert fitted.choices["validation_mae"].tolist() == [30]  # the stand-in counts the validation rows
    assert fitted.choices["duration"].tolist() == [7]  # and reports the seed
    member = json.loads(fitted.artifacts["ensemble.json"])[0]
    options = {"seed": 7, "time_left_for_this_task": 60, "per_run_time_limit": 9, "memory_limit": 1024, "n_jobs": 1}
    assert (member["weight"], ast.literal_eval(member["pipeline"])) == (1.0, options)


def test_auto_sklearn_runs_without_our_environment(fold: Fold, uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON", "3.12")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    python = tmp_path / "pyenv" / "versions" / "3.9.18" / "bin"
    python.mkdir(parents=True)
    clean = "assert not {'VIRTUAL_ENV', 'PYTHONPATH', 'UV_PYTHON'} & set(os.environ)"
    uv(f"import os\n{clean}\nassert '{python}:' in os.environ['PATH']\n{STAND_IN}")
    assert len(fit(fold).prediction) == 50
    assert os.environ["VIRTUAL_ENV"] == "/ours"


def test_an_environment_that_cannot_be_made_raises(fold: Fold, uv):
    uv("import sys\nif sys.argv[1] == 'sync': sys.exit('error: No interpreter found for Python >=3.9, <3.10')")
    with pytest.raises(
        RegressorError, match=r"environment cannot be made: error: No interpreter .*uv python install 3.9.*remove regressors.autosklearn"
    ):
        fit(fold)


def test_a_failed_search_raises(fold: Fold, uv):
    uv("import sys\nif sys.argv[1] == 'run': sys.exit('no pipeline could be fitted in this time')")
    with pytest.raises(
        RegressorError, match=r"^fold 3: auto-sklearn failed: no pipeline could be fitted in this time; raise .*time_left_for_this_task"
    ):
        fit(fold)


def test_a_search_beyond_its_time_limit_is_killed_with_its_children(fold: Fold, uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(automl, "SEARCH_LIMIT", (0.0, 4.0))
    child = f"import subprocess; print(subprocess.Popen(['sleep', '60']).pid, file=open('{tmp_path}/pid', 'w'), flush=True)"
    uv(f"import sys, time\nif sys.argv[1] == 'run':\n    {child}\n    time.sleep(60)")
    with pytest.raises(RegressorError, match=r"^fold 3: auto-sklearn was stopped after 4 s"):
        fit(fold)
    time.sleep(0.2)
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_missing_uv_raises(fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RegressorError, match=r"needs uv .*pip install uv.*remove regressors.autosklearn"):
        fit(fold)


@pytest.mark.slow
def test_real_auto_sklearn(fold: Fold):
    fitted = fit(fold, time_left_for_this_task=45, per_run_time_limit=10)
    assert np.abs(fitted.prediction - label_of_test_rows()).mean() < 8  # always the mean would be off by 17
    assert fitted.choices["validation_mae"].notna().all()
    members = json.loads(fitted.artifacts["ensemble.json"])
    assert sum(member["weight"] for member in members) == pytest.approx(1)


def test_the_error_names_the_entry(fold: Fold, uv):
    uv("import sys\nsys.exit('error: No interpreter found')")
    with pytest.raises(RegressorError, match=r"or drop the row, which `evaluate` waits for: remove regressors\.automl from params\.yaml"):
        regressors.create_regressor("automl", {}, seed=7, regressor="autosklearn").fit_predict(fold)


@pytest.mark.parametrize("validation", [30, 0])
def test_flaml_predicts_and_reports_its_learners(validation: int):
    options = {"time_left_for_this_task": 6, "learners": ["lgbm", "kneighbor"]}
    fitted = regressors.create_regressor("automl", options, 0, regressor="flaml").fit_predict(small_fold(validation))
    assert np.abs(fitted.prediction - label_of_test_rows()).mean() < 12  # always the mean would be off by 17
    assert set(fitted.choices["learner"]) <= {"lgbm", "kneighbor"}
    assert fitted.choices["validation_mae"].is_monotonic_increasing
    assert fitted.choices["chosen"].tolist()[0]
    assert set(json.loads(fitted.artifacts["best.json"])) == {"lgbm", "kneighbor"}


def test_flaml_without_a_model_names_the_option_to_raise(monkeypatch: pytest.MonkeyPatch):
    class Nothing:
        model, best_loss = None, np.inf

        def fit(self, **settings) -> None:
            pass

    monkeypatch.setattr(automl, "_import_flaml", lambda drop: Nothing)
    expected = (
        r"^fold 3: FLAML could not fit anything in 1 s; raise regressors\.automl\.options\.time_left_for_this_task or per_run_time_limit, "
        r"or drop the row, which `evaluate` waits for: remove regressors\.automl from params\.yaml$"
    )
    with pytest.raises(RegressorError, match=expected):
        regressors.create_regressor("automl", {"time_left_for_this_task": 1}, 0, regressor="flaml").fit_predict(small_fold())


def test_missing_flaml_raises(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "flaml", None)
    with pytest.raises(
        RegressorError, match=r"FLAML is not installed: .*or drop the row, which `evaluate` waits for: remove regressors\.flaml"
    ):
        regressors.create_regressor("flaml", {}, 0).fit_predict(small_fold())


def test_the_key_regressor_alone_changes_the_backend():
    options = {"time_left_for_this_task": 45, "per_run_time_limit": 10, "memory_limit": 2048, "folds": 1}
    for backend in ("flaml", "autosklearn"):
        regressor = regressors.create_regressor("automl", options, 0, regressor=backend)
        assert (regressor.key, regressor.folds) == ("automl", 1)
        assert backend in regressors.TIME_BOUNDED
