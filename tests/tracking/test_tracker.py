"""Tracking: what is logged to MLflow, and that losing the store loses nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agecascade.errors import TrackingError
from agecascade.evaluation.tracked import evaluation_runs
from agecascade.tracking.names import flat, nested
from agecascade.tracking.tracker import Tracker, log_run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    return tmp_path


def test_flat_and_nested_are_each_others_reverse() -> None:
    content = {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    assert flat(content, "/") == {"a/b/c": 1, "a/d": 2, "e": 3}
    assert nested(flat(content, "/")) == content


def test_runs_nest_once_and_hold_params_curves_and_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "brave-owl")
    (root / "model.json").write_text("{}")
    (root / "history.csv").write_text("epoch\n")
    tracker = Tracker("sample", "finetune")
    with tracker.stage_run("target") as parent, tracker.model_run("target/fold0", {"learning_rate": 0.1}, {"fold": "0"}) as run:
        for epoch in (1, 2):
            run.epoch({"epoch": epoch, "loss": 1.0 / epoch, "validation_error": float("nan")})
        run.finish({"validation_mae": 3.0}, "abc", root)
    assert (root / "mlflow.db").exists()
    assert run.run_id is not None
    stored = tracker.client.get_run(run.run_id)
    assert stored.data.tags["mlflow.parentRunId"] == parent.run_id
    assert {key: stored.data.tags[key] for key in ("study", "stage", "dvc_experiment", "model")} == {
        "study": "sample", "stage": "finetune", "dvc_experiment": "brave-owl", "model": "abc",
    }  # fmt: skip
    assert stored.data.params == {"learning_rate": "0.1"}
    assert stored.data.metrics == {"loss": 0.5, "validation_mae": 3.0}
    assert [point.value for point in tracker.client.get_metric_history(run.run_id, "loss")] == [1.0, 0.5]
    assert {file.path for file in tracker.client.list_artifacts(run.run_id)} == {"model.json", "history.csv"}
    assert tracker.find_models(["abc", "other"]) == {"abc": run.run_id}
    assert stored.info.status == "FINISHED"


def test_curves_of_an_interrupted_training_go_on_in_its_run(root: Path) -> None:
    records = [{"epoch": epoch, "learning_rate": 0.1, "loss": 1.0 / epoch} for epoch in (1, 2, 3)]
    with Tracker("sample", "finetune").model_run("x", {}, {"fold": "0"}) as run:
        for record in records[:2]:
            run.epoch(record)
    tracker = Tracker("sample", "finetune")
    with tracker.stage_run("target") as parent, tracker.model_run("x", {}, {"fold": "0"}, earlier=run.run_id) as resumed:
        for record in records:
            resumed.epoch(record)
    assert resumed.run_id == run.run_id is not None
    points = tracker.client.get_metric_history(run.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    stored = tracker.client.get_run(run.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.tags["mlflow.parentRunId"] == parent.run_id


def test_a_run_that_the_store_no_longer_has_is_begun_anew(root: Path) -> None:
    with Tracker("sample", "finetune").model_run("x", {"a": 1}, {}, earlier="0" * 32) as run:
        run.epoch({"epoch": 1, "loss": 1.0})
    assert run.run_id not in (None, "0" * 32)


def test_a_failed_training_is_marked(root: Path) -> None:
    tracker = Tracker("sample", "finetune")
    with pytest.raises(ValueError, match="nan"), tracker.model_run("x", {}, {}) as run:
        raise ValueError("nan")
    assert run.run_id is not None
    assert tracker.client.get_run(run.run_id).info.status == "FAILED"


def test_a_lost_server_warns_once_and_training_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody answers
    tracker = Tracker("sample", "finetune")
    with tracker.stage_run("target"), tracker.model_run("fold0", {"a": 1}, {}) as run:
        run.epoch({"epoch": 1, "loss": 1.0})
        run.finish({}, "abc", root)
    assert run.run_id is None
    assert capsys.readouterr().err.count("is lost") == 1
    with pytest.raises(TrackingError, match="cannot read the runs at http"):
        evaluation_runs()


def test_reading_runs_makes_no_store(root: Path) -> None:
    assert evaluation_runs() == []
    assert not (root / "mlflow.db").exists()


def test_evaluation_runs_come_back_nested(root: Path) -> None:
    for value in ("1.0", "0.1", "1.0"):
        tracker = Tracker("sample", "evaluate")
        with tracker.model_run("evaluate", {"lambda": value}, {}) as run:
            run.metrics(flat({"sample_fgnet": {"target": {"dldl_v2-tinyagenet-s0": {"mae": float(value)}}}}, "/"))
    runs = evaluation_runs()
    assert [run["params"]["lambda"] for run in runs] == ["1.0", "0.1"]
    assert runs[1]["rows"]["sample_fgnet"]["target"]["dldl_v2-tinyagenet-s0"]["mae"] == 0.1


def test_a_stages_result_is_one_run_with_flat_settings_numbers_and_files(root: Path) -> None:
    (root / "tables").mkdir()
    (root / "tables" / "mae.csv").write_text("mae\n")
    metrics = {"target": {"mae": 3.5, "method": "dex"}, "worst": None}
    tracker = log_run("sample", "search", "tuned", {"grid": {"folds": 2}}, metrics, [root / "tables"], {"step": "target"})
    (stored,) = tracker.client.search_runs([tracker.experiment_id])
    assert stored.info.run_name == "tuned"
    assert stored.data.params == {"grid.folds": "2"}
    assert stored.data.metrics == {"target/mae": 3.5}
    assert (stored.data.tags["stage"], stored.data.tags["step"]) == ("search", "target")
    assert [file.path for file in tracker.client.list_artifacts(stored.info.run_id)] == ["tables"]


def test_the_run_of_a_stage_has_the_recipe_the_means_of_its_trainings_and_the_load_where_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    for name in ("model.json", "history.csv"):
        (root / name).touch()
    tracker = Tracker("sample", "finetune")
    tracker.data = {"sample_fgnet": ("ab" * 16 + ".dir", "training")}
    with tracker.stage_run("sample target", {"epochs": 6}, system_metrics=True) as parent:
        for mae in (3.0, 4.0):
            with tracker.model_run("fold", {}, {}) as run:
                run.finish({"validation_mae": mae, "other": None}, "abc", root)
        time.sleep(1)
    assert parent.run_id is not None
    stored = tracker.client.get_run(parent.run_id)
    load = {name for name in stored.data.metrics if name.startswith("system/")}
    assert "system/cpu_utilization_percentage" in load
    assert {name: value for name, value in stored.data.metrics.items() if name not in load} == {"validation_mae": 3.5, "trainings": 2.0}
    assert stored.data.params == {"epochs": "6"}
    assert run.run_id is not None
    assert [given.dataset.name for given in tracker.client.get_run(run.run_id).inputs.dataset_inputs] == ["sample_fgnet"]
