"""auto-sklearn 0.15, which needs Python 3.9: a script with an environment of its own, spoken to through files.

`uv` makes the environment from the script's inline metadata; the search runs under a hard time limit.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from agecascade.errors import RegressorError
from agecascade.io.files import write_json
from agecascade.regressors.automl import AutoMl
from agecascade.regressors.folds import Fitted, Fold

SCRIPT = Path(__file__).resolve().parents[3] / "pipeline" / "autosklearn_fit.py"
INSTALL_LIMIT = 1200.0  # seconds: 150 MB of wheels, a Python where there is none
# times the search's own limit, plus seconds: starting, loading and predicting come on top, and longer on a busy machine
SEARCH_LIMIT = (1.5, 60.0)
# what would lead the child to our own environment, or forbid it one of its own
OURS = {
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


class AutoSklearn(AutoMl):
    """auto-sklearn's search over pipelines and their ensemble, judged by the MAE of the validation rows."""

    scripts = (SCRIPT,)

    time_left_for_this_task: int = Field(300, ge=30)  # seconds of search per fold; the paper's 12 hours are 43200

    def fit_predict(self, fold: Fold) -> Fitted:
        """See agecascade.regressors.Regressor; the choices are auto-sklearn's leaderboard, and its ensemble is an artifact.

        Raises RegressorError where uv, Python 3.9 or the environment cannot be had, or the search finds nothing in its time.
        """
        install(self.drop)
        with TemporaryDirectory(prefix="autosklearn-") as name:
            folder = Path(name)
            _write(folder, fold)
            write_json(folder / "options.json", self.search_options)
            limit = SEARCH_LIMIT[0] * self.time_left_for_this_task + SEARCH_LIMIT[1]
            status, output = _run([_uv(self.drop), "run", "--script", str(SCRIPT), str(folder)], folder, limit, "auto-sklearn")
            if status != 0:
                reason = f"was stopped after {limit:.0f} s" if status is None else f"failed: {_end_of(output, lines=1)}"
                raise RegressorError(f"fold {fold.number}: auto-sklearn {reason}; {self.longer}")
            return _read(folder)


def install(drop: str) -> None:
    """Make the script's environment, so that what goes wrong there is told from a search that fails. Raises RegressorError.

    drop: how to do without.
    """
    status, output = _run([_uv(drop), "sync", "--script", str(SCRIPT)], SCRIPT.parent, INSTALL_LIMIT, "auto-sklearn's environment")
    if status != 0:
        reason = f"not installed within {INSTALL_LIMIT:.0f} s" if status is None else _end_of(output, lines=6)
        remedy = "it needs Python 3.9 (`uv python install 3.9`) and PyPI"
        raise RegressorError(f"auto-sklearn's environment cannot be made: {reason}; {remedy}, {drop}")


def _uv(drop: str) -> str:
    """The uv that runs us, else that on the PATH."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise RegressorError(f"auto-sklearn needs uv for a Python 3.9 of its own: `pip install uv`, {drop}")
    if not SCRIPT.is_file():
        raise RegressorError(f"{SCRIPT} is missing: auto-sklearn runs from a checkout of the repository only; {drop}")
    return uv


def _environment() -> dict[str, str]:
    """The child's environment: not our packages, and the Python 3.9 of pyenv, which uv does not look for, on the PATH."""
    kept = {key: value for key, value in os.environ.items() if key not in OURS}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pythons = [str(folder) for folder in sorted(pyenv.glob("versions/3.9.*/bin"))]
    path = os.pathsep.join([*pythons, kept.get("PATH", os.defpath)])
    # one thread per fit, n_jobs fits; and no compiling of the 4,800 files of which a search imports few
    return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", "UV_COMPILE_BYTECODE": "0"}


def _run(command: list[str], folder: Path, limit: float, what: str) -> tuple[int | None, str]:
    """Exit status, None where the time limit ended it, and the output; shows the seconds."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # to end the search's own children with it
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
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the process group, whatever is left of it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _end_of(output: str, lines: int) -> str:
    """The last lines of an output as one."""
    filled = [line for line in output.splitlines() if line.strip()]
    return " ".join(" ".join(filled[-lines:]).split())[-600:]


def _write(folder: Path, fold: Fold) -> None:
    features = [*fold.train, *fold.validation]
    chosen_on = np.arange(len(features)) >= len(fold.train)
    label = np.concatenate([fold.train_label, fold.validation_label])
    pd.DataFrame({"feature": features, "label": label, "validation": chosen_on}).to_parquet(folder / "train.parquet")
    pd.DataFrame({"feature": list(fold.test)}).to_parquet(folder / "test.parquet")


def _read(folder: Path) -> Fitted:
    leaderboard = pd.read_csv(folder / "leaderboard.csv").rename(columns={"cost": "validation_mae"})
    choices = leaderboard[["rank", "ensemble_weight", "type", "validation_mae", "duration"]]
    prediction = pd.read_parquet(folder / "predictions.parquet")["prediction"].to_numpy(np.float64)
    return Fitted(prediction, choices, {"ensemble.json": (folder / "ensemble.json").read_text(encoding="utf-8")})
