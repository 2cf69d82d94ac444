"""Runs, curves and artifacts in MLflow. No failure here ends a training."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agecascade.tracking.answers import Patience, bound_answers, briefly, first_line, log_batch, refused, why_lost
from agecascade.tracking.names import LENGTH, Names, as_number, flat, means, replaced
from agecascade.tracking.store import EXPERIMENT, common_tags, is_remote, open_store, tracking_uri, warn

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as StoredRun

Result = TypeVar("Result")


class Tracker:
    """Logs to MLflow; after the first failure of the store it says so once and stays silent."""

    def __init__(self, study: str, stage: str) -> None:
        self.study = study
        self.stage = stage
        self.lost = False
        self.parent: str | None = None
        self.names = Names()
        self.said: set[str] = set()  # names whose replacement was said, and texts
        self.data: dict[str, tuple[str, str]] = {}  # of all runs: {data set: (digest, what it is used for)}
        self.ended: list[Mapping[str, float | None]] = []  # final metrics of the trainings of a stage
        self._patience = Patience()

    @classmethod
    def silent(cls) -> Tracker:
        """A tracker that logs nothing."""
        tracker = cls("", "")
        tracker.lost = True
        return tracker

    @functools.cached_property
    def client(self) -> MlflowClient:
        """The store, made with its experiment on first use. SQLite's migration races, hence the lock."""
        # a dead server should cost seconds, not MLflow's default of minutes per call
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # with its password
        if not is_remote():  # nor is what it is given to go to another machine
            os.environ.setdefault("MLFLOW_ALLOW_HTTP_REDIRECTS", "false")
        from mlflow import MlflowClient
        from mlflow.utils import request_utils

        bound_answers(request_utils)
        for chatty in ("mlflow", "alembic"):  # tables made, tables migrated
            logging.getLogger(chatty).setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a trace of each error that is told in a line here
        return self._bounded(lambda: open_store(MlflowClient))

    @functools.cached_property
    def experiment_id(self) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None  # made by `client`
        return str(experiment.experiment_id)

    def attempt(self, action: Callable[[], Result]) -> Result | None:
        """Call `action` and return its result, or None where the store refuses it, or once the store is lost."""
        if self.lost:
            return None
        try:
            self.client  # noqa: B018  # made outside of the time of the first call
            return self._bounded(action)
        except Exception as error:  # whatever a store or a network throws: the training is worth more
            if "client" in self.__dict__ and refused(error):
                self._say(f"MLflow refused to log something: {first_line(error)}; going on with the rest")
                return None
            self.lost = True
            warn(f"tracking at {tracking_uri()} is lost ({why_lost(error)}); going on without it")
            return None

    def _say(self, text: str, about: str | None = None) -> None:
        """Warn, once for each text, or for what it is about."""
        if (about or text) not in self.said:
            self.said.add(about or text)
            warn(text)

    def _bounded(self, action: Callable[[], Result]) -> Result:
        """The result of a call, which uses up the tracker's patience. Raises TooSlow when it is at its end."""
        return self._patience.bounded(action, lambda notice: self._say(notice, "slow"))

    @contextmanager
    def stage_run(self, name: str, params: Mapping[str, Any] | None = None, system_metrics: bool = False) -> Iterator[Run]:
        """Open a run for a whole stage; model runs opened inside are nested below it (the UI shows one level).

        It ends with the means of their final metrics. system_metrics: the load of the machine is logged meanwhile.
        """
        with self.model_run(name, params or {}, {}) as run, run.monitored(system_metrics):
            self.parent, self.ended = run.run_id, []
            try:
                yield run
            finally:
                self.parent = None
            run.metrics({**means(self.ended), "trainings": len(self.ended)})

    @contextmanager
    def model_run(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], earlier: str | None = None) -> Iterator[Run]:
        """Open a run for one trained model, or for an evaluation; the run with the id `earlier` is continued where the store has it."""
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
        runs = self.attempt(lambda: list(self.client.search_runs([self.experiment_id], "tags.model != ''", max_results=50_000)))
        return {run.data.tags["model"]: run.info.run_id for run in runs or [] if run.data.tags.get("model") in digests}

    def evaluations(self) -> Sequence[StoredRun]:
        """The runs of all evaluations, newest last; raises whatever the store does."""
        client = self.client
        return self._bounded(
            lambda: client.search_runs([self.experiment_id], "tags.stage = 'evaluate'", max_results=5000, order_by=["start_time ASC"])
        )


class Run:
    """One MLflow run."""

    def __init__(self, tracker: Tracker, run_id: str | None) -> None:
        self.tracker = tracker
        self.run_id = run_id  # None once the store is lost
        self.logged = 0  # the last epoch whose numbers the store has

    @classmethod
    def start(cls, tracker: Tracker, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
        """Create a new run."""
        all_tags = {tracker.names.accepted(key): value for key, value in {**common_tags(tracker.study, tracker.stage), **tags}.items()}
        created = tracker.attempt(lambda: tracker.client.create_run(tracker.experiment_id, tags=all_tags, run_name=name[:LENGTH]))
        run = cls(tracker, created.info.run_id if created else None)
        run.params(params)
        run.inputs(tracker.data)
        return run

    @classmethod
    def resume(cls, tracker: Tracker, run_id: str, tags: Mapping[str, str]) -> Run | None:
        """Reopen the run of an interrupted training below the stage's new run; None where the store no longer has it."""
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

    def inputs(self, data: Mapping[str, tuple[str, str]]) -> None:
        """Name the data sets that the run uses: {data set: (digest, what for)}."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        named = [
            DatasetInput(Dataset(name, digest[:36], "dvc", f"data/aligned/{name}"), [InputTag("mlflow.data.context", purpose)])
            for name, (digest, purpose) in data.items()
        ]
        if named:
            self._call(lambda client, run_id: client.log_inputs(run_id, named))

    @contextmanager
    def monitored(self, wanted: bool) -> Iterator[None]:
        """Log the load of processors, memory and GPUs every ten seconds, where it is wanted."""
        if not wanted or self.run_id is None:
            yield
            return
        import mlflow
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        mlflow.set_tracking_uri(tracking_uri())
        monitor = self.tracker.attempt(lambda: SystemMetricsMonitor(self.run_id))
        if monitor is not None:
            monitor.start()
        try:
            yield
        finally:
            if monitor is not None:
                monitor.finish()

    def epoch(self, record: Mapping[str, float]) -> None:
        """Log one epoch's numbers as a point of each curve, unless the interrupted run already has them."""
        if record["epoch"] > self.logged:
            self._log(points=_curves([record]))

    def metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Log numbers; what is missing or not finite is left out."""
        self._log(points={step: metrics})

    def finish(self, metrics: Mapping[str, float | None], digest: str, folder: Path) -> None:
        """Log the final metrics, the digest of the weights, and the small files of a model folder."""
        self.finished({}, [], metrics, digest, folder)

    def finished(
        self,
        params: Mapping[str, Any],
        history: Sequence[Mapping[str, float]],
        metrics: Mapping[str, float | None],
        digest: str,
        folder: Path,
    ) -> None:
        """Log a whole finished training in one call, since each call takes its time: params, curves and the arguments of `finish`."""
        self._log(params, {0: metrics, **_curves(history)}, {"model": digest})
        self.tracker.ended.append(metrics)
        for name in ("model.json", "history.csv"):
            self.artifact(folder / name)

    def _log(
        self,
        params: Mapping[str, Any] | None = None,
        points: Mapping[int, Mapping[str, float | None]] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log params, numbers by step, and tags, in batches: MLflow takes a hundred params and a thousand numbers at a time."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        name = self._accepted([*(params or {}), *(key for metrics in (points or {}).values() for key in metrics), *(tags or {})])
        numbers = [(key, as_number(value), step) for step, metrics in (points or {}).items() for key, value in metrics.items()]
        remaining: dict[str, list[Any]] = {
            "params": [Param(name[key], str(value)[:6000]) for key, value in (params or {}).items()],
            "metrics": [Metric(name[key], value, now, step) for key, value, step in numbers if value is not None],
            "tags": [RunTag(name[key], value) for key, value in (tags or {}).items()],
        }
        while any(remaining.values()):
            batch = {kind: entries[: 100 if kind == "params" else 800] for kind, entries in remaining.items()}
            remaining = {kind: entries[len(batch[kind]) :] for kind, entries in remaining.items()}
            self._call(lambda client, run_id, batch=batch: log_batch(client, run_id, batch))  # type: ignore[misc]

    def _accepted(self, keys: Iterable[str]) -> dict[str, str]:
        """{key: its name in the store}; those that are replaced are said once."""
        names = {key: self.tracker.names.accepted(key) for key in dict.fromkeys(keys)}
        other = [(key, name) for key, name in names.items() if key != name and key not in self.tracker.said]
        if other and not self.tracker.lost:
            self.tracker.said.update(key for key, _ in other)
            warn(replaced(other))
        return names

    def artifact(self, path: Path, leave: Callable[[Path], bool] = lambda _: False) -> None:
        """Keep a file or a folder with the run, but for the files that are to be left."""
        files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
        if path.is_dir() and not any(map(leave, files)):
            self._call(lambda client, run_id: client.log_artifacts(run_id, str(path), path.name))
            return
        for file in files:
            if leave(file):
                continue
            place = (path.name / file.parent.relative_to(path)).as_posix() if path.is_dir() else None
            self._call(lambda client, run_id, file=file, place=place: client.log_artifact(run_id, str(file), place))  # type: ignore[misc]

    def end(self, status: str) -> None:
        """End the run, also one whose store was lost since: it may be back, and the run would stay RUNNING for ever."""
        run_id, client = self.run_id, self.tracker.__dict__.get("client")
        if self.tracker.lost and run_id is not None and client is not None:
            with suppress(Exception):
                briefly(lambda: client.set_terminated(run_id, status))
        self._call(lambda client, run_id: client.set_terminated(run_id, status))

    def _call(self, action: Callable[[MlflowClient, str], object]) -> None:
        run_id = self.run_id
        if run_id is not None:
            self.tracker.attempt(lambda: action(self.tracker.client, run_id))


def log_run(
    study: str,
    stage: str,
    name: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    artifacts: Iterable[Path],
    tags: Mapping[str, str] | None = None,
    leave: Callable[[Path], bool] = lambda _: False,
) -> Tracker:
    """Log a stage's result as one run and return the tracker that did.

    settings, metrics: may be nested; their keys are joined by `.` and by `/`. Texts among the metrics are left out.
    artifacts: files and folders to keep with the run, but for the files that are to be left.
    """
    tracker = Tracker(study, stage)
    with tracker.model_run(name, flat(settings), tags or {}) as run:
        run.metrics({key: value for key, value in flat(metrics, "/").items() if not isinstance(value, str)})
        for path in artifacts:
            run.artifact(path, leave)
    return tracker


def _curves(history: Sequence[Mapping[str, float]]) -> dict[int, dict[str, float]]:
    """{epoch: its numbers by name} of a history."""
    return {int(record["epoch"]): {key: value for key, value in record.items() if key != "epoch"} for record in history}
