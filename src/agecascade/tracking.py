"""MLflow, and nothing but MLflow: runs, curves, artifacts. No failure here ever ends a training."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agecascade.errors import TrackingError
from agecascade.io.places import repository_root, state_folder
from agecascade.io.resume import exclusive

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "agecascade"
Result = TypeVar("Result")


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else a SQLite file at the repository root, which queued experiments share."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{repository_root() / 'mlflow.db'}"


class Tracker:
    """Logs to MLflow; after the first failure it says so once and stays silent."""

    def __init__(self, study: str, stage: str) -> None:
        self.study = study
        self.stage = stage
        self.lost = False
        self.parent: str | None = None

    @functools.cached_property
    def client(self) -> MlflowClient:
        """The store, made with its experiment on first use. SQLite's migration races, hence the lock."""
        # a dead server should cost seconds, not MLflow's default of minutes per call
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow import MlflowClient

        for chatty in ("mlflow", "alembic"):  # tables made, tables migrated
            logging.getLogger(chatty).setLevel(logging.WARNING)
        with exclusive(state_folder() / "mlflow.lock", "tracking store", "makes"):
            client = MlflowClient(tracking_uri())
            if client.get_experiment_by_name(EXPERIMENT) is None:
                local = tracking_uri().startswith("sqlite:")
                location = (repository_root() / "mlartifacts").as_uri() if local else None
                client.create_experiment(EXPERIMENT, artifact_location=location)
        return client

    @functools.cached_property
    def experiment_id(self) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None  # made by `client`
        return str(experiment.experiment_id)

    def attempt(self, action: Callable[[], Result]) -> Result | None:
        """What `action` returns, or None once the tracking store is lost."""
        if self.lost:
            return None
        try:
            return action()
        except Exception as error:  # whatever a store or a network throws: the training is worth more
            self.lost = True
            print(f"warning: tracking at {tracking_uri()} is lost ({error!r}); going on without it", file=sys.stderr)
            return None

    @contextmanager
    def stage_run(self, name: str) -> Iterator[Run]:
        """A run for a whole stage; model runs opened inside are nested below it (the UI shows one level)."""
        with self.model_run(name, {}, {}) as run:
            self.parent = run.run_id
            try:
                yield run
            finally:
                self.parent = None

    @contextmanager
    def model_run(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], earlier: str | None = None) -> Iterator[Run]:
        """A run for one trained model, or for an evaluation. Where the run `earlier` is known, its curves go on."""
        tags = {**tags, **({"mlflow.parentRunId": self.parent} if self.parent else {})}
        run = (Run.resume(self, earlier, tags) if earlier else None) or Run.start(self, name, params, tags)
        try:
            yield run
        except BaseException:
            run.end("FAILED")
            raise
        run.end("FINISHED")

    def find_models(self, digests: list[str]) -> dict[str, str]:
        """Run id of each model by the digest of its weights, as far as the store knows them."""
        found = self.attempt(lambda: list(self.client.search_runs([self.experiment_id], "tags.model != ''", max_results=50_000)))
        return {run.data.tags["model"]: run.info.run_id for run in found or [] if run.data.tags["model"] in digests}


class Run:
    """One MLflow run."""

    def __init__(self, tracker: Tracker, run_id: str | None) -> None:
        self.tracker = tracker
        self.run_id = run_id  # None once the store is lost
        self.logged = 0  # the last epoch whose numbers the store has

    @classmethod
    def start(cls, tracker: Tracker, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
        """A new run."""
        everything = {**_common_tags(tracker), **tags}
        created = tracker.attempt(lambda: tracker.client.create_run(tracker.experiment_id, tags=everything, run_name=name))
        run = cls(tracker, created.info.run_id if created else None)
        run.params(params)
        return run

    @classmethod
    def resume(cls, tracker: Tracker, run_id: str, tags: Mapping[str, str]) -> Run | None:
        """The run of an interrupted training, running again below the stage's new run; None where the store has it no more."""
        from mlflow.exceptions import MlflowException

        run = cls(tracker, run_id)

        def reopen() -> bool:
            try:
                points = tracker.client.get_metric_history(run_id, "learning_rate")
                tracker.client.update_run(run_id, status="RUNNING")
            except MlflowException:
                return False
            for key, value in tags.items():
                tracker.client.set_tag(run_id, key, value)
            run.logged = max((point.step for point in points), default=0)
            return True

        return run if tracker.attempt(reopen) else None

    def params(self, params: Mapping[str, Any]) -> None:
        """Log params."""
        self._log(params=params)

    def epoch(self, record: Mapping[str, float]) -> None:
        """Log one epoch's numbers as a point of each curve, unless an interrupted run did."""
        if record["epoch"] > self.logged:
            self._log(points=_curves([record]))

    def metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log numbers; what is missing or not finite is left out."""
        self._log(points={step: metrics})

    def finish(self, metrics: Mapping[str, float | None], digest: str, folder: Path) -> None:
        """Log the final metrics, the name of the weights, and the small files of a model folder."""
        self.finished({}, [], metrics, digest, folder)

    def finished(
        self,
        params: Mapping[str, Any],
        history: Sequence[Mapping[str, float]],
        metrics: Mapping[str, float | None],
        digest: str,
        folder: Path,
    ) -> None:
        """Log a whole training that is over: params, curves and what `finish` takes, in one call, as each takes its time."""
        self._log(params, {0: metrics, **_curves(history)}, {"model": digest})
        for name in ("model.json", "history.csv"):
            self.artifact(folder / name)

    def _log(
        self,
        params: Mapping[str, Any] | None = None,
        points: Mapping[int, Mapping[str, float | None]] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Params, numbers by step, and tags; a hundred params and a thousand numbers at a time, for MLflow takes no more."""
        import time

        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        numbers = [(key, value, step) for step, metrics in (points or {}).items() for key, value in metrics.items()]
        left: dict[str, list[Any]] = {
            "params": [Param(key, str(value)[:6000]) for key, value in (params or {}).items()],
            "metrics": [Metric(key, float(value), now, step) for key, value, step in numbers if value is not None and math.isfinite(value)],
            "tags": [RunTag(key, value) for key, value in (tags or {}).items()],
        }
        while any(left.values()):
            batch = {kind: entries[: 100 if kind == "params" else 800] for kind, entries in left.items()}
            left = {kind: entries[len(batch[kind]) :] for kind, entries in left.items()}
            self._call(lambda client, run_id, batch=batch: client.log_batch(run_id, **batch))  # type: ignore[misc]

    def artifact(self, path: Path) -> None:
        """Keep a file or a folder with the run."""
        log = "log_artifacts" if path.is_dir() else "log_artifact"
        place = path.name if path.is_dir() else None
        self._call(lambda client, run_id: getattr(client, log)(run_id, str(path), place))

    def end(self, status: str) -> None:
        self._call(lambda client, run_id: client.set_terminated(run_id, status))

    def _call(self, action: Callable[[MlflowClient, str], object]) -> None:
        run_id = self.run_id
        if run_id is not None:
            self.tracker.attempt(lambda: action(self.tracker.client, run_id))


def _curves(history: Sequence[Mapping[str, float]]) -> dict[int, dict[str, float]]:
    """The numbers of each epoch by its number."""
    return {int(record["epoch"]): {key: value for key, value in record.items() if key != "epoch"} for record in history}


def _common_tags(tracker: Tracker) -> dict[str, str]:
    """Where a run comes from."""
    tags = {"study": tracker.study, "stage": tracker.stage, "git_revision": _git_revision()}
    experiment = os.environ.get("DVC_EXP_NAME")
    return {**tags, "dvc_experiment": experiment} if experiment else tags


@functools.cache
def _git_revision() -> str:
    """The commit that an experiment is based on, else the one checked out."""
    baseline = os.environ.get("DVC_EXP_BASELINE_REV")
    if baseline:
        return baseline
    result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def flat(content: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by the separator."""
    entries: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        entries |= flat(value, separator, name + separator) if isinstance(value, Mapping) else {name: value}
    return entries


def nested(entries: Mapping[str, Any], separator: str = "/") -> dict[str, Any]:
    """The reverse of `flat`."""
    content: dict[str, Any] = {}
    for name, value in entries.items():
        *parents, key = name.split(separator)
        functools.reduce(lambda block, parent: block.setdefault(parent, {}), parents, content)[key] = value
    return content


def evaluation_runs() -> list[dict[str, Any]]:
    """Every evaluation that the store knows, newest last: experiment (DVC's name, else the commit), params, and rows.

    rows: {data set: {step: {row: {metric: value}}}}, as in metrics/mae.json. Of several runs of one experiment on the same
    params the last counts. Raises TrackingError where the store cannot be read.
    """
    tracker = Tracker("", "tables")
    try:
        runs = tracker.client.search_runs([tracker.experiment_id], "tags.stage = 'evaluate'", max_results=5000, order_by=["start_time ASC"])
    except Exception as error:
        raise TrackingError(f"cannot read the runs at {tracking_uri()}: {error}; see MLFLOW_TRACKING_URI") from error
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        experiment = run.data.tags.get("dvc_experiment") or run.data.tags["git_revision"][:7]
        rows = nested(run.data.metrics)
        found[experiment, json.dumps(run.data.params, sort_keys=True)] = {"experiment": experiment, "params": run.data.params, "rows": rows}
    return list(found.values())
