"""The pipeline as its users run it: `dvc repro`, experiments, queues, and what bad input does. Slow: each run starts 20 processes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forms import whole_only
from repository import Repository

MAIN = "dldl_v2-tinyagenet-s0"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    made = Repository(tmp_path_factory.mktemp("repository"))
    made.run("dvc", "repro")
    made.commit("reproduced")
    yield made
    made.end_workers()


def test_the_main_job_ends_in_a_table_of_every_row(repository: Repository) -> None:
    metrics = repository.metrics()
    assert set(metrics) == {"sample_imdb", "sample_agedb", "sample_fgnet"}
    assert list(metrics["sample_fgnet"]) == ["baseline", "target", "target_from_scratch", "regress"]
    assert metrics["sample_fgnet"]["target"][MAIN]["folds"] == 2
    assert 0 < metrics["sample_fgnet"]["target"][MAIN]["mae"] < 40
    table = (repository.folder / "metrics" / "tables" / "mae.md").read_text()
    assert "faces > imdb > agedb > target" in table
    assert (repository.folder / "plots" / "results" / "mae.png").exists()
    assert "trained through faces &gt; imdb &gt; agedb &gt; target" in (repository.folder / "report.html").read_text(encoding="utf-8")
    assert (repository.folder / "models" / "target" / MAIN / "README.md").exists()
    shown = repository.run("dvc", "metrics", "show")
    assert "metrics/headline.json" in shown
    assert "metrics/mae.json" not in shown
    counts = json.loads((repository.folder / "metrics" / "clean" / "sample_imdb.json").read_text())
    assert {"second_face", "gender_missing"} <= set(counts["rejected"])


def test_a_finished_stage_never_runs_twice(repository: Repository) -> None:
    output = repository.run("dvc", "repro")
    assert [line for line in output.splitlines() if line.startswith("Running stage")] == ["Running stage 'inventory':"]
    assert repository.run("git", "status", "--short") == ""


def test_predict_takes_the_folder_of_all_folds(repository: Repository, mirror: Path) -> None:
    import zipfile

    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        for name in ("FGNET/images/001A02.JPG", "FGNET/images/001A43a.JPG"):
            (repository.folder / "photos").mkdir(exist_ok=True)
            (repository.folder / "photos" / Path(name).name).write_bytes(archive.read(name))
    command = ["agecascade", "predict", "photos", "--model", f"models/target/{MAIN}", "--output", "ages.csv"]
    repository.run("env", f"AGECASCADE_MIRROR={mirror.resolve()}", *command)
    lines = (repository.folder / "ages.csv").read_text().splitlines()
    assert lines[0] == "path,face,value,low,high,left,top,right,bottom,score,note,error"
    assert len(lines) == 3
    for line in lines[1:]:
        value, low, high = (float(cell) for cell in line.split(",")[2:5])
        assert 0 <= low <= value <= high <= 69


def test_an_experiment_retrains_from_the_first_stage_that_uses_the_param(repository: Repository) -> None:
    output = repository.run("dvc", "exp", "run", "-S", "lambda=0.1")
    ran = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
    ran.remove("inventory")  # which always runs
    assert ran[:2] == ["check", "finetune@imdb"]
    assert {stage.partition("@")[0] for stage in ran} == {"check", "finetune", "features", "regress", "explain", "evaluate", "report"}


@whole_only
def test_queued_experiments_stand_beside_the_first_in_mlflow_and_in_one_table(repository: Repository) -> None:
    repository.run("dvc", "exp", "run", "--queue", "-S", "lambda=0.3,10")
    repository.run("dvc", "exp", "run", "--run-all", "--jobs", "2")
    table = repository.run("agecascade", "tables", "--runs")
    shown = {line.split("|")[2].strip() for line in table.splitlines() if MAIN in line}
    assert {"1", "0.1", "0.3", "10"} <= shown
    script = "import json, agecascade.evaluation.tracked as t; print(json.dumps([str(r['params']['lambda']) for r in t.evaluation_runs()]))"
    assert {"0.1", "0.3", "10"} <= set(json.loads(repository.run("python", "-c", script).splitlines()[-1]))


@whole_only
def test_experiments_run_where_nothing_ran_before(repository: Repository) -> None:
    """A new clone has the lock, but not what it names: neither the folders of stages that the experiment leaves out, nor a cache."""
    repository.run("git", "clone", "-q", ".", "clone")
    output = repository.run("env", "-C", "clone", "dvc", "exp", "run", "-S", "seed=1", "check")
    shutil.rmtree(repository.folder / "clone")
    assert "Ran experiment(s)" in output


def test_a_mistyped_key_stops_before_any_output_is_touched(repository: Repository) -> None:
    repository.run("git", "checkout", "-q", "--", ".")
    repository.run("dvc", "checkout")
    before = sorted(path.relative_to(repository.folder) for path in (repository.folder / "models").rglob("*"))

    def mistype(content: Any) -> None:
        content["lamda"] = 3.0
        content["lambda"] = 0.5

    repository.edit(mistype)
    output = repository.run("dvc", "repro", check=False)
    assert "error: params.yaml: lamda: unknown key 'lamda'; did you mean lambda" in output
    assert before == sorted(path.relative_to(repository.folder) for path in (repository.folder / "models").rglob("*"))
    repository.run("git", "checkout", "-q", "--", "params.yaml")


def test_a_missing_archive_is_one_line_that_says_where_to_get_it(repository: Repository) -> None:
    repository.run("agecascade", "study", "utkface", "--force")
    output = repository.run("dvc", "repro", "download@utkface", check=False)
    errors = [line for line in output.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "UTKFace.tar.gz" in errors[0]
    assert "archives" in errors[0]
    repository.run("git", "checkout", "-q", "--", "params.yaml")


def test_an_archive_of_another_data_set_is_one_line(repository: Repository) -> None:
    raw = next((repository.folder / "data" / "raw" / "sample_agedb").iterdir())
    raw.unlink()
    shutil.copy(repository.folder / "data" / "raw" / "sample_fgnet" / "FGNET.zip", raw)
    output = repository.run("env", "PYTHONPATH=src", "python", "pipeline/clean.py", "sample_agedb", check=False)
    assert output.strip().splitlines()[-1].startswith("error:")
    assert "Traceback" not in output
