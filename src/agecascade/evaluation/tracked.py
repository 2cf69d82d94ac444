"""How an evaluation is logged so that a person finds and compares it, and how all of them are read again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agecascade.errors import ParamsError, TrackingError
from agecascade.io.files import checksum
from agecascade.params import Params, read_yaml
from agecascade.tracking.answers import first_line
from agecascade.tracking.names import flat, nested
from agecascade.tracking.store import data_inputs, git_revision, runs_address, store_exists, tracking_uri, warn, withheld, without_password
from agecascade.tracking.tracker import Run, Tracker

# params that every evaluation shows; of the rest those that were changed, and those of tracking.params
ALWAYS = ("study", "method", "backbone", "seed", "lambda", "sigma", "decoding", "pooling", "image_size", "precision")
OF_STEP = ("dataset", "init", "epochs", "batch_size", "learning_rate")  # of the step of the main row
SHORT = ("mae", "mae_low", "mae_high", "rmse", "pearson", "accuracy", "cs_5")  # metrics of the other rows
COUNTS = ("pictures", "folds")  # of the headline: no metrics that a chart should show
NAMED = 3  # changed params in a run's name
FIGURES = "figures"  # the tag with the digest of metrics/mae.json, by which later stages find the run
ROW = "row"  # the stage of the runs of further rows


def changed_params(content: Mapping[str, Any], committed: Mapping[str, Any]) -> dict[str, Any]:
    """The params, nested keys joined by dots, whose values are not those of the commit; none where that has another study."""
    if committed.get("study") != content.get("study"):
        return {}
    before, now = flat(committed), flat(content)
    return {
        key: now.get(key) for key in dict.fromkeys([*now, *before]) if now.get(key) != before.get(key) and not key.startswith("tracking.")
    }


def committed_params() -> dict[str, Any]:
    """params.yaml of the commit that is checked out, or that an experiment is based on; empty where there is none."""
    shown = subprocess.run(["git", "show", f"{git_revision()}:./params.yaml"], capture_output=True, check=False)
    if shown.returncode != 0:
        return {}
    with TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        path.write_bytes(shown.stdout)
        try:
            content = read_yaml(path)
        except ParamsError:  # damaged in that commit
            return {}
    return content if isinstance(content, dict) else {}


def logged_params(params: Params, content: Mapping[str, Any], changed: Mapping[str, Any], step: str | None) -> dict[str, Any]:
    """The few params of an evaluation: ALWAYS, those that were changed, those that were asked for, and the recipe of `step`.

    content: that of params.yaml. Keys asked for that it lacks are left out, with a warning.
    """
    known = flat(content)
    asked: dict[str, Any] = {}
    for name in params.tracking.params:
        found = {key: value for key, value in known.items() if key == name or key.startswith(f"{name}.")}
        if not found and name not in ALWAYS:
            warn(f"tracking.params: params.yaml has no key {name!r}, so that no run shows it; write it as cascade.target.epochs is written")
        asked |= found
    recipe: dict[str, Any] = {"step": step, **{key: known.get(f"cascade.{step}.{key}") for key in OF_STEP}} if step else {}
    return {**changed, **{key: content.get(key) for key in ALWAYS}, **recipe, **asked}


def run_name(params: Params, changed: Mapping[str, Any], step: str | None) -> str:
    """What was changed, first since tables cut long names, then study, method, backbone, step and seed of the main row."""
    main = params.main_row
    name = " ".join(filter(None, [params.study, main.method, main.backbone, step, f"s{main.seed}"]))
    shown = [f"{key}={value}" for key, value in list(changed.items())[:NAMED]]
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f"{', '.join(shown)}{more}: {name}" if shown else name


def log_evaluation(
    params: Params, content: Mapping[str, Any], step: str | None, metrics: Path, artifacts: Iterable[Path], committed: Mapping[str, Any]
) -> Tracker:
    """Log the evaluation in `metrics` as one run with the headline's figures, and the other rows of the target as runs below it.

    content: that of params.yaml; step: of the main row; artifacts: further files and folders to keep; committed: params of the commit.
    """
    figures, bounded, headline = (_json(metrics / name) for name in ("mae.json", "time_bounded.json", "headline.json"))
    changed = changed_params(content, committed)
    tracker = Tracker(params.study, "evaluate")
    target = params.evaluate.target
    tracker.data = data_inputs([target], "test")
    tags = {FIGURES: checksum(metrics / "mae.json")}
    with tracker.model_run(run_name(params, changed, step), logged_params(params, content, changed, step), tags) as run:
        run.metrics({name: value for name, value in headline.items() if name not in COUNTS})
        for path in (Path("params.yaml"), metrics / "mae.json", metrics / "time_bounded.json", *artifacts):
            run.artifact(path, withheld(params))
        _log_rows(tracker, params, _merged(figures, bounded).get(target, {}), step, run)
    return tracker


def _log_rows(tracker: Tracker, params: Params, steps: Mapping[str, Any], main: str | None, parent: Run) -> None:
    """A run for each row of the target besides the main one, so that rows can be compared as runs are."""
    tracker.stage, tracker.parent = ROW, parent.run_id
    for step, rows in steps.items():
        for row, figures in rows.items():
            if (step, row) != (main, params.main_row.name):
                with tracker.model_run(f"{params.study} {row} {step}", {"study": params.study, "row": row, "step": step}, {}) as run:
                    run.metrics({name: figures.get(name) for name in SHORT})
    tracker.stage, tracker.parent = "evaluate", None


def attach(tracker: Tracker, figures: Path, artifacts: Iterable[Path], params: Params) -> Run | None:
    """Keep files with the newest run of the evaluation whose metrics/mae.json is `figures`; None where no store has it."""
    query = f"tags.stage = 'evaluate' and tags.{FIGURES} = '{checksum(figures)}'"
    runs = tracker.attempt(lambda: tracker.client.search_runs([tracker.experiment_id], query, max_results=1, order_by=["start_time DESC"]))
    if not runs:
        return None
    run = Run(tracker, runs[0].info.run_id)
    for path in artifacts:
        run.artifact(path, withheld(params))
    return run


def runs_page(tracker: Tracker) -> str:
    """A line with the address of the runs; empty where the store is lost."""
    experiment = tracker.attempt(lambda: tracker.experiment_id)
    return f"runs: {runs_address(experiment)}" if experiment else ""


def evaluation_runs() -> list[dict[str, Any]]:
    """Every evaluation that the store knows, newest last: experiment (DVC's name, else the commit), params, and rows.

    rows: {data set: {step: {row: {metric: value}}}}, as in metrics/mae.json. Of several runs of one experiment on the same
    params the last counts. Raises TrackingError where the store cannot be read; a store of the repository that no stage has written
    yet is not made.
    """
    if not store_exists():
        return []
    tracker = Tracker("", "tables")
    try:
        runs = tracker.evaluations()
    except Exception as error:
        text = f"cannot read the runs at {tracking_uri()}: {first_line(error)}; see MLFLOW_TRACKING_URI"
        raise TrackingError(without_password(text, tracking_uri())) from error
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        experiment = run.data.tags.get("dvc_experiment") or run.data.tags["git_revision"][:7]
        params, rows = _contents(tracker, run) if FIGURES in run.data.tags else (run.data.params, nested(run.data.metrics))
        if rows:
            latest[experiment, json.dumps(params, sort_keys=True, default=str)] = {"experiment": experiment, "params": params, "rows": rows}
    return list(latest.values())


def _contents(tracker: Tracker, run: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """All params and rows of an evaluation, from its artifacts; none where they are gone, which is said."""
    with TemporaryDirectory() as folder:
        try:
            names = ("params.yaml", "mae.json", "time_bounded.json")
            paths = [Path(tracker.client.download_artifacts(run.info.run_id, name, folder)) for name in names]
            return read_yaml(paths[0]), _merged(*map(_json, paths[1:]))
        except Exception as error:  # whatever a store of artifacts throws
            warn(f"run {run.info.run_name!r} is left out: its artifacts cannot be read ({first_line(error)})")
            return {}, {}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables {data set: {step: {row: figures}}} as one."""
    merged: dict[str, Any] = {dataset: {step: dict(rows) for step, rows in steps.items()} for dataset, steps in one.items()}
    for dataset, steps in other.items():
        for step, rows in steps.items():
            merged.setdefault(dataset, {}).setdefault(step, {}).update(rows)
    return merged


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
