"""What DVC's experiments and MLflow's runs measured, as one table: queued sweeps end here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from agecascade.errors import AgecascadeError
from agecascade.tracking import evaluation_runs, flat

METRICS = "metrics/mae.json"
SHOWN = ("lambda", "sigma", "decoding")  # params that the table shows, and with them all others in which runs of a study differ
_TOLD = re.compile(
    r"(study|method|backbone|seed|head|compare|compute)(\..*)?"
)  # but those that the name of a row tells, or that change none


@dataclass(frozen=True)
class Evaluation:
    """What one run of the evaluate stage measured."""

    names: tuple[str, ...]  # the experiment's or branch's name first, then the short commit
    params: dict[str, Any]
    rows: dict[str, Any]  # {data set: {step: {row: {figure: value}}}}

    @cached_property
    def known(self) -> dict[str, str | float | None]:
        """All params, nested keys joined by dots; numbers and null as such, for MLflow knows them as text."""
        return {key: _plain(value) for key, value in flat(self.params).items()}

    def agrees(self, other: Evaluation) -> bool:
        """Whether no param says that these are two runs."""
        return all(self.known[key] == other.known[key] for key in self.known.keys() & other.known.keys())


def runs_table(root: Path) -> pd.DataFrame:
    """A line per run of the evaluate stage and row of its MAE table."""
    evaluations = all_evaluations(root)
    keys = swept(evaluations)
    table = pd.DataFrame([line for evaluation in evaluations for line in _lines(evaluation, keys)])
    return table.dropna(axis="columns", how="all")


def swept(evaluations: Sequence[Evaluation]) -> list[str]:
    """The params that the table shows."""
    found: dict[tuple[object, str], set[object]] = defaultdict(set)
    for evaluation in evaluations:
        for key, value in evaluation.known.items():
            if not _TOLD.fullmatch(key):
                found[evaluation.known.get("study"), key].add(value)
    return list(dict.fromkeys([*SHOWN, *(key for (_, key), values in found.items() if len(values) > 1)]))


def all_evaluations(root: Path) -> list[Evaluation]:
    """Every run of the evaluate stage: DVC's, then what only MLflow knows."""
    evaluations = dvc_evaluations(root)
    tracked = [Evaluation((run["experiment"],), run["params"], run["rows"]) for run in evaluation_runs()]
    return [
        *evaluations,
        *(run for run in tracked if not any(run.names[0] in known.names and run.agrees(known) for known in evaluations)),
    ]


def dvc_evaluations(root: Path) -> list[Evaluation]:
    """What `dvc exp show` finds in the workspace, on the branches and in experiments; what holds no figures is left out."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", "--all-branches"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = result.stderr.strip().splitlines()
        raise AgecascadeError(f"{root}: `dvc exp show` failed: {message[-1] if message else 'no message'}")
    return parse(json.loads(result.stdout))


def parse(shown: list[dict[str, Any]]) -> list[Evaluation]:
    """The output of `dvc exp show --json`; a workspace that equals another entry is left out.

    So are experiments that are queued, run or failed: with them stand the figures of the commit that they started from.
    """
    states = []
    for entry in shown:
        states.append(entry)
        done = [experiment for experiment in entry.get("experiments") or [] if _succeeded(experiment)]
        # an experiment may be a chain of checkpoints, the newest first
        states += [experiment["revs"][0] for experiment in done if experiment["revs"]]
    evaluations = [evaluation for state in states if (evaluation := _evaluation(state))]
    others = [evaluation for evaluation in evaluations if evaluation.names != ("workspace",)]
    same = [(evaluation.params, evaluation.rows) for evaluation in others]
    return [evaluation for evaluation in evaluations if evaluation in others or (evaluation.params, evaluation.rows) not in same]


def _succeeded(experiment: dict[str, Any]) -> bool:
    executor = experiment.get("executor")
    return executor is None or executor["state"] == "success"


def _evaluation(state: dict[str, Any]) -> Evaluation | None:
    data = state.get("data") or {}
    rows = (data.get("metrics") or {}).get(METRICS, {}).get("data") or {}
    params = (data.get("params") or {}).get("params.yaml", {}).get("data") or {}
    if "datasets" in params:  # another study was chosen, and not run yet
        rows = {dataset: steps for dataset, steps in rows.items() if dataset in params["datasets"]}
    if not rows:
        return None
    names = dict.fromkeys(filter(None, [state.get("name"), state["rev"] if state["rev"] == "workspace" else state["rev"][:7]]))
    return Evaluation(tuple(names), params, rows)


def _lines(evaluation: Evaluation, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of the table for one evaluation, which show these params."""
    for dataset, steps in evaluation.rows.items():
        for step, rows in steps.items():
            for row, figures in rows.items():
                yield {
                    "experiment": evaluation.names[0],
                    **{key: evaluation.known.get(key) for key in keys},
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


def _plain(value: Any) -> str | float | None:
    """A number where it is one or reads like one, None for null or its name, else text, also for true and false."""
    if isinstance(value, bool):
        return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None if value in (None, "None") else str(value)


def _count(value: float | None) -> int | None:
    """MLflow knows floats only."""
    return None if value is None else int(value)
