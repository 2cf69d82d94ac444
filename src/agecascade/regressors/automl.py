"""Searches over learners: FLAML, and auto-sklearn in an environment of its own. Time bounds them, so that no two runs agree.

FLAML, which is maintained, searches over gradient boosting and forests, cheap fits first. auto-sklearn 0.15 needs Python 3.9: it runs as
a script whose environment `uv` makes from the script's inline metadata; it reads and writes files, and has a hard time limit.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from agecascade.errors import RegressorError
from agecascade.io.files import temporary_folder, write_json
from agecascade.regressors.folds import Fitted, Fold, Options

if TYPE_CHECKING:
    from flaml import AutoML

LEARNERS = ["lgbm", "xgboost", "extra_tree", "rf", "kneighbor"]
SCRIPT = Path(__file__).resolve().parents[3] / "pipeline" / "autosklearn_fit.py"
INSTALL_LIMIT = 1200.0  # seconds, for 150 MB of wheels and perhaps a Python
# factor of the search's own limit, and seconds on top: for starting, loading and predicting, on a busy machine
SEARCH_LIMIT = (1.5, 60.0)
# variables that would make uv use our own environment, or keep it from making another
FOREIGN_VARIABLES = {
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYENV_VERSION",
    "UV_PYTHON",
    "UV_NO_SYNC",
    "UV_FROZEN",
    "UV_LOCKED",
    "UV_PROJECT_ENVIRONMENT",
}


class AutoMl(Options):
    """Options that all backends share, so that another value of `regressor` is enough to change the backend."""

    time_left_for_this_task: int = Field(300, ge=1)  # seconds of search per fold
    per_run_time_limit: int = Field(30, ge=1)  # seconds of one fit
    memory_limit: int = Field(3072, ge=256)  # MiB of one fit
    n_jobs: int = Field(1, ge=1)

    @property
    def search_options(self) -> dict[str, Any]:
        """The options that are passed to auto-sklearn."""
        return self.model_dump(exclude={"key", "folds"})

    @property
    def drop(self) -> str:
        """How to go on without this regressor, for messages."""
        return f"or drop the row, which `evaluate` waits for: remove regressors.{self.key} from params.yaml"

    @property
    def remedy(self) -> str:
        """The remedy where a search fitted nothing, for messages."""
        return f"raise regressors.{self.key}.options.time_left_for_this_task or per_run_time_limit, {self.drop}"


class Flaml(AutoMl):
    """FLAML's search, scored by the MAE of the validation rows, or of a holdout of its own where there are none.

    The best pipeline is not fitted again on the validation rows: no other regressor has them either.
    """

    learners: list[str] = Field(LEARNERS, min_length=1)  # FLAML's names

    def fit_predict(self, fold: Fold) -> Fitted:
        """See agecascade.regressors.Regressor; the choices are the best of each learner, whose settings are an artifact.

        Raises RegressorError where FLAML is not installed or fits nothing in its time.
        """
        search = _import_flaml(self.drop)()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the learners
            logging.getLogger("flaml").setLevel(logging.ERROR)
            self._search(search, fold)
            if search.model is None or not np.isfinite(search.best_loss):
                raise RegressorError(f"fold {fold.number}: FLAML could not fit anything in {self.time_left_for_this_task} s; {self.remedy}")
            prediction = np.asarray(search.predict(fold.test), dtype=np.float64).ravel()
        return Fitted(prediction, _leaderboard(search), {"best.json": json.dumps(search.best_config_per_estimator, indent=2) + "\n"})

    def _search(self, search: AutoML, fold: Fold) -> None:
        validation = {"X_val": fold.validation, "y_val": fold.validation_label} if len(fold.validation) else {}
        search.fit(
            X_train=fold.train,
            y_train=fold.train_label,
            **validation,
            task="regression",
            metric="mae",
            eval_method="holdout",
            estimator_list=self.learners,
            time_budget=self.time_left_for_this_task,
            train_time_limit=self.per_run_time_limit,
            mem_thres=self.memory_limit * 2**20,
            n_jobs=self.n_jobs,
            seed=self.seed,
            retrain_full=False,
            mlflow_logging=False,
            verbose=0,
        )


def _import_flaml(drop: str) -> type[AutoML]:
    """FLAML's search, imported without MLflow: that would take five seconds more, and runs are tracked elsewhere."""
    hidden = sys.modules.setdefault("mlflow", None) is None  # type: ignore[arg-type]
    try:
        from flaml import AutoML
    except ImportError:
        raise RegressorError(f"FLAML is not installed: `uv pip install 'flaml[automl]'`, {drop}") from None
    finally:
        if hidden:
            del sys.modules["mlflow"]
    return AutoML


def _leaderboard(search: AutoML) -> pd.DataFrame:
    """The lowest validation MAE of each learner that was tried, the best first."""
    losses = {name: loss for name, loss in search.best_loss_per_estimator.items() if np.isfinite(loss)}
    table = pd.DataFrame({"learner": list(losses), "validation_mae": list(losses.values())}).sort_values(
        "validation_mae", ignore_index=True
    )
    return table.assign(chosen=table["learner"] == search.best_estimator)


class AutoSklearn(AutoMl):
    """auto-sklearn's search over pipelines and their ensemble, scored by the MAE of the validation rows."""

    scripts = (SCRIPT,)

    time_left_for_this_task: int = Field(300, ge=30)  # seconds of search per fold; the paper's 12 hours are 43200

    def fit_predict(self, fold: Fold) -> Fitted:
        """See agecascade.regressors.Regressor; the choices are auto-sklearn's leaderboard, and its ensemble is an artifact.

        Raises RegressorError where uv, Python 3.9 or the environment is not available, or the search fits nothing in its time.
        """
        install(self.drop)
        with temporary_folder("autosklearn-") as folder:
            _write_data(folder, fold)
            write_json(folder / "options.json", self.search_options)
            limit = SEARCH_LIMIT[0] * self.time_left_for_this_task + SEARCH_LIMIT[1]
            status, output = _run([_uv(self.drop), "run", "--script", str(SCRIPT), str(folder)], folder, limit, "auto-sklearn")
            if status != 0:
                reason = f"was stopped after {limit:.0f} s" if status is None else f"failed: {_last_lines(output, lines=1)}"
                raise RegressorError(f"fold {fold.number}: auto-sklearn {reason}; {self.remedy}")
            return _read_results(folder)


def install(drop: str) -> None:
    """Make the script's environment; done before a search so that errors of the two can be told apart. Raises RegressorError.

    drop: how to go on without auto-sklearn, for the message.
    """
    status, output = _run([_uv(drop), "sync", "--script", str(SCRIPT)], SCRIPT.parent, INSTALL_LIMIT, "auto-sklearn's environment")
    if status != 0:
        reason = f"not installed within {INSTALL_LIMIT:.0f} s" if status is None else _last_lines(output, lines=6)
        remedy = "it needs Python 3.9 (`uv python install 3.9`) and PyPI"
        raise RegressorError(f"auto-sklearn's environment cannot be made: {reason}; {remedy}, {drop}")


def _uv(drop: str) -> str:
    """The uv that runs this process, or else the one on the PATH."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise RegressorError(f"auto-sklearn needs uv for a Python 3.9 of its own: `pip install uv`, {drop}")
    if not SCRIPT.is_file():
        raise RegressorError(f"{SCRIPT} is missing: auto-sklearn runs from a checkout of the repository only; {drop}")
    return uv


def _environment() -> dict[str, str]:
    """The child's environment: without our packages, and with pyenv's Python 3.9, which uv does not search for, on the PATH."""
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pythons = [str(folder) for folder in sorted(pyenv.glob("versions/3.9.*/bin"))]
    path = os.pathsep.join([*pythons, environment.get("PATH", os.defpath)])
    # one thread for each of n_jobs fits; no bytecode for 4,800 files, of which a search imports few
    return {**environment, "PATH": path, "OMP_NUM_THREADS": "1", "UV_COMPILE_BYTECODE": "0"}


def _run(command: list[str], folder: Path, limit: float, what: str) -> tuple[int | None, str]:
    """Run a command and show the seconds; returns its exit status, None where it was stopped at the limit, and its output."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that the search's own children are ended with it
    )
    started = monotonic()
    try:
        with tqdm(desc=what, unit="s", bar_format="{desc}: {elapsed}", leave=False) as bar:
            while monotonic() - started < limit:
                try:
                    output, _ = process.communicate(timeout=0.5)
                    return process.returncode, output
                except subprocess.TimeoutExpired:
                    bar.update(0.5)
        return None, ""
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill what is left of the process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _last_lines(output: str, lines: int) -> str:
    """The last lines of an output, joined to one line."""
    lines_with_text = [line for line in output.splitlines() if line.strip()]
    return " ".join(" ".join(lines_with_text[-lines:]).split())[-600:]


def _write_data(folder: Path, fold: Fold) -> None:
    features = [*fold.train, *fold.validation]
    is_validation = np.arange(len(features)) >= len(fold.train)
    label = np.concatenate([fold.train_label, fold.validation_label])
    pd.DataFrame({"feature": features, "label": label, "validation": is_validation}).to_parquet(folder / "train.parquet")
    pd.DataFrame({"feature": list(fold.test)}).to_parquet(folder / "test.parquet")


def _read_results(folder: Path) -> Fitted:
    leaderboard = pd.read_csv(folder / "leaderboard.csv").rename(columns={"cost": "validation_mae"})
    choices = leaderboard[["rank", "ensemble_weight", "type", "validation_mae", "duration"]]
    prediction = pd.read_parquet(folder / "predictions.parquet")["prediction"].to_numpy(np.float64)
    return Fitted(prediction, choices, {"ensemble.json": (folder / "ensemble.json").read_text(encoding="utf-8")})
