"""One table of the figures of all DVC experiments and MLflow runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from agecascade.errors import AgecascadeError
from agecascade.evaluation.tables import counted, to_markdown
from agecascade.evaluation.tracked import evaluation_runs
from agecascade.plots.numbers import YEARS, interval_text
from agecascade.tracking.names import flat

METRICS = "metrics/mae.json"
TIME_BOUNDED = "metrics/time_bounded.json"
TESTED, UNKNOWN = "test pictures", "unknown"
SHOWN = ("lambda", "sigma", "decoding")  # params that the table always shows, besides those in which runs of a study differ
# never shown: the row's name holds them, or they do not change the figures
_HIDDEN = re.compile(r"(study|method|backbone|seed|head|compare|compute)(\..*)?")


@dataclass(frozen=True)
class Evaluation:
    """One run of the evaluate stage: its params and the figures of its rows."""

    names: tuple[str, ...]  # the experiment's or branch's name first, then the short commit
    params: dict[str, Any]
    rows: dict[str, Any]  # {data set: {step: {row: {figure: value}}}}
    bounded: dict[str, Any] = field(default_factory=dict)  # those bounded by time, where they have a file of their own

    @cached_property
    def flat_params(self) -> dict[str, str | float | None]:
        """All params, nested keys joined by dots; MLflow's text is converted back to numbers and null."""
        return {key: _plain(value) for key, value in flat(self.params).items()}

    def agrees(self, other: Evaluation) -> bool:
        """Whether the two have the same value of every param that both have."""
        return all(self.flat_params[key] == other.flat_params[key] for key in self.flat_params.keys() & other.flat_params.keys())


def table_over_runs(root: Path) -> str:
    """One table over DVC's experiments and MLflow's runs, in Markdown. Raises AgecascadeError where there is nothing to show yet."""
    table = runs_table(root)
    if table.empty:
        raise AgecascadeError(f"{root}: neither DVC nor MLflow knows an evaluation yet; run `dvc repro` or `dvc exp run`")
    return to_markdown(table) + "".join(f"\n{note}\n" for note in other_pictures(table))


def runs_table(root: Path) -> pd.DataFrame:
    """A line per run of the evaluate stage and row of its MAE table."""
    evaluations = all_evaluations(root)
    keys = shown_params(evaluations)
    table = pd.DataFrame([line for evaluation in evaluations for line in _lines(evaluation, keys)])
    if len(table):
        table[TESTED] = numbered_sets(table)
    return table.dropna(axis="columns", how="all")


def numbered_sets(table: pd.DataFrame) -> pd.Series:
    """The number of each line's test pictures, from 1 in each data set; missing in data sets that have one, UNKNOWN in earlier versions."""
    numbers = table.groupby("data set")[TESTED].transform(lambda digests: pd.factorize(digests)[0] + 1)  # 0 where none is known
    several = table.groupby("data set")[TESTED].transform("nunique") > 1
    return numbers.astype(str).replace("0", UNKNOWN).where(several)


def other_pictures(table: pd.DataFrame) -> Iterator[str]:
    """A line for each data set whose lines were tested on different pictures. table: `runs_table`."""
    if TESTED in table:
        for dataset, numbers in table.groupby("data set")[TESTED]:
            count = numbers[numbers != UNKNOWN].nunique()
            unknown = int((numbers == UNKNOWN).sum())
            older = f"; of {counted(unknown, 'row')} it is unknown, for an earlier version logged them" if unknown else ""
            if count > 1:
                yield (
                    f"{dataset}: not comparable: these rows were tested on {count} different sets of pictures, folds or labels; "
                    f"compare those with the same number of `{TESTED}`{older}."
                )


def shown_params(evaluations: Sequence[Evaluation]) -> list[str]:
    """The params with a column in the table: SHOWN, and those in which runs of one study differ."""
    values_of: dict[tuple[object, str], set[object]] = defaultdict(set)
    for evaluation in evaluations:
        for key, value in evaluation.flat_params.items():
            if not _HIDDEN.fullmatch(key):
                values_of[evaluation.flat_params.get("study"), key].add(value)
    return list(dict.fromkeys([*SHOWN, *(key for (_, key), values in values_of.items() if len(values) > 1)]))


def all_evaluations(root: Path) -> list[Evaluation]:
    """Every run of the evaluate stage: DVC's, then those that only MLflow has."""
    evaluations = dvc_evaluations(root)
    tracked = [Evaluation((run["experiment"],), run["params"], run["rows"]) for run in evaluation_runs()]
    return [
        *evaluations,
        *(run for run in tracked if not any(run.names[0] in known.names and run.agrees(known) for known in evaluations)),
    ]


def dvc_evaluations(root: Path) -> list[Evaluation]:
    """Evaluations in the workspace, on the branches and in experiments (`dvc exp show`); states without figures are left out."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", "--all-branches"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = result.stderr.strip().splitlines()
        raise AgecascadeError(f"{root}: `dvc exp show` failed: {message[-1] if message else 'no message'}")
    return parse_experiments(json.loads(result.stdout), lambda revision, file: figures_of(root, revision, file))


def figures_of(root: Path, revision: str, file: str) -> dict[str, Any]:
    """The figures in a file of metrics/ at a commit, or in the workspace; none where it is not there, or no JSON.

    dvc.yaml lists as metrics only the headline's: all of them would be hundreds of columns of `dvc exp show`.
    """
    if revision == "workspace":
        text = (root / file).read_bytes() if (root / file).is_file() else b""
    else:
        text = subprocess.run(["git", "show", f"{revision}:./{file}"], cwd=root, capture_output=True, check=False).stdout
    try:
        content = json.loads(text or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def parse_experiments(shown: list[dict[str, Any]], read: Callable[[str, str], dict[str, Any]] = lambda *_: {}) -> list[Evaluation]:
    """Evaluations in the output of `dvc exp show --json`, without a workspace that equals another entry.

    read: the figures of a revision in a file that is none of its metrics.
    Experiments that are queued, running or failed are left out: DVC shows the figures of the commit that they started from.
    """
    states = []
    for entry in shown:
        states.append(entry)
        done = [experiment for experiment in entry.get("experiments") or [] if _succeeded(experiment)]
        # an experiment may be a chain of checkpoints, the newest first
        states += [experiment["revs"][0] for experiment in done if experiment["revs"]]
    evaluations = [evaluation for state in states if (evaluation := _evaluation(state, read))]
    others = [evaluation for evaluation in evaluations if evaluation.names != ("workspace",)]
    same = [(evaluation.params, evaluation.rows) for evaluation in others]
    return [evaluation for evaluation in evaluations if evaluation in others or (evaluation.params, evaluation.rows) not in same]


def _succeeded(experiment: dict[str, Any]) -> bool:
    executor = experiment.get("executor")
    return executor is None or executor["state"] == "success"


def _evaluation(state: dict[str, Any], read: Callable[[str, str], dict[str, Any]]) -> Evaluation | None:
    data = state.get("data") or {}
    if not data:  # DVC says why it cannot read that state
        return None
    shown = data.get("metrics") or {}  # of commits before there was a headline
    rows, bounded = ((shown[file].get("data") or {}) if file in shown else read(state["rev"], file) for file in (METRICS, TIME_BOUNDED))
    params = (data.get("params") or {}).get("params.yaml", {}).get("data") or {}
    if "datasets" in params:  # another study was chosen, and not run yet
        rows, bounded = ({dataset: steps for dataset, steps in each.items() if dataset in params["datasets"]} for each in (rows, bounded))
    if not rows:
        return None
    names = dict.fromkeys(filter(None, [state.get("name"), state["rev"] if state["rev"] == "workspace" else state["rev"][:7]]))
    return Evaluation(tuple(names), params, rows, bounded)


def _lines(evaluation: Evaluation, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of one evaluation in the table, with these params as columns."""
    for dataset, steps in evaluation.rows.items():
        for step, rows in steps.items():
            for row, figures in rows.items():
                yield {
                    "experiment": evaluation.names[0],
                    **{key: evaluation.flat_params.get(key) for key in keys},
                    "data set": dataset,
                    "step": step,
                    "row": row,
                    "folds": _count(figures.get("folds")),
                    "n": _count(figures.get("pictures")),
                    TESTED: figures.get("test_set"),
                    "unit": figures.get("unit") if figures.get("unit") != YEARS else None,
                    "MAE": figures.get("mae"),
                    "validation MAE": figures.get("validation_mae"),
                    "CI": interval_text(figures["mae_low"], figures["mae_high"]) if "mae_low" in figures else None,
                    "accuracy": figures.get("accuracy"),
                    "1-off": figures.get("one_off"),
                    "pooled MAE": figures.get("pooled_mae"),
                    "RMSE": figures.get("rmse"),
                    "Pearson": figures.get("pearson"),
                }


def _plain(value: Any) -> str | float | None:
    """A number where the value is or reads as one, None for null or "None", else text; so are true and false."""
    if isinstance(value, bool):
        return str(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None if value in (None, "None") else str(value)


def _count(value: float | None) -> int | None:
    """A count as integer, since MLflow stores floats only."""
    return None if value is None else int(value)
