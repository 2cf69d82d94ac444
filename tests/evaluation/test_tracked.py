"""Evaluations in MLflow: names, few params, short metrics, data sets; and that runs of every age are read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agecascade import params
from agecascade.evaluation.tracked import attach, changed_params, evaluation_runs, log_evaluation, logged_params, run_name, runs_page
from agecascade.tracking.names import flat
from agecascade.tracking.store import data_inputs
from agecascade.tracking.tracker import Tracker
from finished import MAIN, figures, write_finished
from places import sample_params

STUDY = params.check(sample_params())
LOCK = """stages:
  align@sample_fgnet:
    cmd: sh pipeline/run align sample_fgnet
    deps:
    - path: data/raw/sample_fgnet
      hash: md5
      md5: 11111111111111111111111111111111.dir
    outs:
    - path: data/aligned/sample_fgnet
      hash: md5
      md5: efe8ecaeda42cc583ea1e07b07ed4cdf.dir
      size: 1
  align@sample_fgnet2:
    outs:
    - path: data/aligned/sample_fgnet2
      md5: 22222222222222222222222222222222.dir
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(LOCK)
    return write_finished(tmp_path)


def logged(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, lambda_er: float) -> Tracker:
    monkeypatch.setenv("DVC_EXP_NAME", name)
    content = {**sample_params(), "lambda": lambda_er}
    (root / "params.yaml").write_text(
        (Path(__file__).parents[2] / "studies" / "sample.yaml").read_text().replace("lambda: 1.0", f"lambda: {lambda_er}")
    )
    return log_evaluation(params.check(content), content, "target", root / "metrics", [root / "metrics" / "tables"], sample_params())


def test_changed_params_are_those_that_differ_from_the_commit() -> None:
    before = {"study": "a", "lambda": 1.0, "align": {"size": 32, "margin": 0.0}, "tracking": {"models": "none"}}
    after = {"study": "a", "lambda": 0.1, "align": {"size": 64, "margin": 0.0}, "tracking": {"models": "logged"}}
    assert changed_params(after, before) == {"lambda": 0.1, "align.size": 64}
    assert changed_params({**after, "study": "b"}, before) == {}


def test_a_name_begins_with_what_was_changed() -> None:
    study = params.check(sample_params())
    assert run_name(study, {}, "target") == "sample dldl_v2 tinyagenet target s0"
    changed = {"lambda": 0.1, "a": 1, "b": 2, "c": 3}
    assert run_name(study, changed, "target") == "lambda=0.1, a=1, b=2 and 1 more: sample dldl_v2 tinyagenet target s0"


def test_params_that_a_person_asks_for_are_shown() -> None:
    content: dict[str, Any] = sample_params()
    content["tracking"] = {"params": ["align.size", "augment"]}
    shown = logged_params(params.check(content), content, {"sigma": 3.0}, "target")
    assert next(iter(shown)) == "sigma"
    assert (shown["align.size"], shown["augment.flip"], shown["epochs"], shown["dataset"]) == (32, 0.5, 6, "sample_fgnet")
    assert len(shown) < 30


def test_a_key_that_params_lack_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    content = sample_params() | {"tracking": {"params": ["evaluate.coverage", "nope"]}}
    shown = logged_params(params.check(content), content, {}, None)
    assert "evaluate.coverage" in shown
    assert capsys.readouterr().err.splitlines() == [
        "warning: tracking.params: params.yaml has no key 'nope', so that no run shows it; write it as cascade.target.epochs is written"
    ]


def test_an_evaluation_is_one_run_with_a_row_each_below_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = logged(root, monkeypatch, "low", 0.1)
    runs = {run.info.run_name: run for run in tracker.client.search_runs([tracker.experiment_id])}
    main = runs.pop("lambda=0.1: sample dldl_v2 tinyagenet target s0")
    assert main.data.metrics == {"mae": 5.0, "mae_low": 4.0, "mae_high": 6.0, "cs_5": 0.6, "mae_baseline": 9.0}
    assert main.data.params["lambda"] == "0.1"
    assert main.data.tags["mlflow.source.name"] == "pipeline/evaluate.py"
    (data,) = main.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("sample_fgnet", "efe8ecaeda42cc583ea1e07b07ed4cdf.dir")
    assert {name: run.data.metrics["mae"] for name, run in runs.items()} == {
        "sample median baseline": 9.0, f"sample {MAIN} target_from_scratch": 5.5, "sample svr regress": 8.0,
    }  # fmt: skip
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {main.info.run_id}
    assert f"#/experiments/{tracker.experiment_id}/runs?workflowType=machine_learning" in runs_page(tracker)


def test_runs_of_every_age_are_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Tracker("sample", "evaluate")
    with old.model_run("evaluate", {"lambda": "10"}, {"git_revision": "abcdefg123"}) as run:
        run.metrics(flat(figures(7.0), "/"))
    logged(root, monkeypatch, "low", 0.1)
    first, second = evaluation_runs()
    assert (first["params"], first["rows"]["sample_fgnet"]["target"][MAIN]["mae"]) == ({"lambda": "10"}, 7.0)
    assert (second["experiment"], second["params"]["lambda"], second["params"]["align"]["size"]) == ("low", 0.1, 32)
    assert second["rows"] == figures(5.0)


def test_a_run_whose_artifacts_are_gone_is_left_out_and_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(root, monkeypatch, "low", 0.1)
    next((root / "mlartifacts").rglob("mae.json")).unlink()
    assert evaluation_runs() == []
    assert "is left out: its artifacts cannot be read" in capsys.readouterr().err


def test_the_report_is_kept_with_the_evaluation_of_the_same_figures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = logged(root, monkeypatch, "low", 0.1)
    (root / "report.html").write_text("<p>")
    run = attach(tracker, root / "metrics" / "mae.json", [root / "report.html"], STUDY)
    assert run is not None
    assert run.run_id is not None
    assert "report.html" in {file.path for file in tracker.client.list_artifacts(run.run_id)}
    (root / "metrics" / "mae.json").write_text("{}")
    assert attach(tracker, root / "metrics" / "mae.json", [], STUDY) is None


def test_data_sets_that_dvc_does_not_know_are_no_inputs(root: Path) -> None:
    assert data_inputs(["sample_fgnet", "unknown"], "test") == {"sample_fgnet": ("efe8ecaeda42cc583ea1e07b07ed4cdf.dir", "test")}
