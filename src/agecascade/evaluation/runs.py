"""What DVC's experiments and MLflow's runs measured, as one table: queued sweeps end here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from agecascade.errors import AgecascadeError
from agecascade.tracking import evaluation_runs

METRICS = "metrics/mae.json"
SWEPT = ("lambda", "sigma")  # params that no row's name tells,
NAMED = ("decoding",)  # and those of them that are no numbers


@dataclass(frozen=True)
class Evaluation:
    """What one run of the evaluate stage measured."""

    names: tuple[str, ...]  # the experiment's or branch's name first, then the short commit
    params: dict[str, Any]
    rows: dict[str, Any]  # {data set: {step: {row: {figure: value}}}}

    def swept(self) -> tuple[str, ...]:
        """The params that the table shows, as text: MLflow knows no numbers there."""
        return tuple(str(self.params.get(key, "")) for key in ("study", *SWEPT, *NAMED))


def runs_table(root: Path) -> pd.DataFrame:
    """A line per run of the evaluate stage and row of its MAE table."""
    lines = [line for evaluation in all_evaluations(root) for line in _lines(evaluation)]
    table = pd.DataFrame(lines)
    return table.dropna(axis="columns", how="all")


def all_evaluations(root: Path) -> list[Evaluation]:
    """Every run of the evaluate stage: DVC's, then what only MLflow knows."""
    evaluations = dvc_evaluations(root)
    known = {(name, evaluation.swept()) for evaluation in evaluations for name in evaluation.names}
    for run in evaluation_runs():
        evaluation = Evaluation((run["experiment"],), run["params"], run["rows"])
        if (run["experiment"], evaluation.swept()) not in known:
            evaluations.append(evaluation)
    return evaluations


def dvc_evaluations(root: Path) -> list[Evaluation]:
    """What `dvc exp show` finds in the workspace, on the branches and in experiments; what holds no figures is left out."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", "--all-branches"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = result.stderr.strip().splitlines()
        raise AgecascadeError(f"{root}: `dvc exp show` failed: {message[-1] if message else 'no message'}")
    return parse(json.loads(result.stdout))


def parse(shown: list[dict[str, Any]]) -> list[Evaluation]:
    """The output of `dvc exp show --json`; a workspace that equals another entry is left out."""
    states = []
    for entry in shown:
        states.append(entry)
        # an experiment may be a chain of checkpoints, the newest first
        states += [experiment["revs"][0] for experiment in entry.get("experiments") or [] if experiment["revs"]]
    evaluations = [evaluation for state in states if (evaluation := _evaluation(state))]
    others = [evaluation for evaluation in evaluations if evaluation.names != ("workspace",)]
    same = [(evaluation.params, evaluation.rows) for evaluation in others]
    return [evaluation for evaluation in evaluations if evaluation in others or (evaluation.params, evaluation.rows) not in same]


def _evaluation(state: dict[str, Any]) -> Evaluation | None:
    data = state.get("data") or {}
    rows = (data.get("metrics") or {}).get(METRICS, {}).get("data")
    if not rows:
        return None
    params = (data.get("params") or {}).get("params.yaml", {}).get("data") or {}
    names = dict.fromkeys(filter(None, [state.get("name"), state["rev"] if state["rev"] == "workspace" else state["rev"][:7]]))
    return Evaluation(tuple(names), params, rows)


def _lines(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """The lines of the table for one evaluation."""
    for dataset, steps in evaluation.rows.items():
        for step, rows in steps.items():
            for row, figures in rows.items():
                yield {
                    "experiment": evaluation.names[0],
                    **{key: _number(evaluation.params.get(key)) for key in SWEPT},
                    **{key: evaluation.params.get(key) for key in NAMED},
                    "data set": dataset,
                    "step": step,
                    "row": row,
                    "folds": _count(figures.get("folds")),
                    "n": _count(figures.get("pictures")),
                    "MAE": figures.get("mae"),
                    "CI": f"{figures['mae_low']:.2f} to {figures['mae_high']:.2f}" if "mae_low" in figures else None,
                    "accuracy": figures.get("accuracy"),
                    "1-off": figures.get("one_off"),
                    "pooled MAE": figures.get("pooled_mae"),
                    "RMSE": figures.get("rmse"),
                    "Pearson": figures.get("pearson"),
                }


def _number(value: Any) -> float | None:
    return None if value in (None, "None") else float(value)  # MLflow's null is a text


def _count(value: float | None) -> int | None:
    """MLflow knows floats only."""
    return None if value is None else int(value)
