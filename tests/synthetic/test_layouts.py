"""Every layout from its archive to the MAE table: `agecascade study NAME --drawn`, stage by stage in one process, on few pictures.

Every fourth of them, or all with AGECASCADE_WHOLE=1. Through DVC: `uv run agecascade study NAME --drawn && uv run dvc repro`;
tests/test_pipeline.py does that for the sample.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agecascade import params, study
from agecascade.datasets import READERS, reader
from agecascade.io.yaml_text import dump_yaml, load_yaml
from forms import WHOLE
from places import ROOT

TARGET = "agedb"  # of the data sets that know no labels

NAMES = sorted(READERS)[:: 1 if WHOLE else 4]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One tracking store for all, as making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def stage(name: str, *arguments: str) -> None:
    import_module(name).main(*arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_drawn_archive_becomes_a_table(tmp_path, monkeypatch, store, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    identities = reader(name).INFO.settings["grid"] is None
    content = load_yaml(study.render(name, ROOT, drawn=True, target=TARGET if identities else None))
    for dataset in content["datasets"].values():
        dataset["draw"] = {"pictures": 150, "subjects": 15}
        if dataset["protocol"] == "subject_kfold":
            dataset["folds"] = 2
    content["align"]["size"] = content["image_size"] = 32
    for step in (*content["pretrain"].values(), *content["cascade"].values()):
        step["epochs"] = 1
    Path("params.yaml").write_text(dump_yaml(content), encoding="utf-8")
    settings = params.load()

    for dataset in settings.datasets:
        for script in ("download", "clean", "align"):
            stage(script, dataset)
    for dataset in settings.datasets:
        stage("split", dataset)
    stage("scratch")
    for step in settings.pretrain:
        stage("pretrain", step)
    for step in settings.cascade:
        stage("finetune", step)
    for script, entries in (("features", settings.features), ("regress", settings.regressors)):
        for entry in entries:
            stage(script, entry)
    stage("describe")
    stage("evaluate")

    kept = json.loads(Path(f"metrics/clean/{name}.json").read_text())
    assert kept["kept"] >= 60
    assert pq.read_table(f"data/manifest/{name}.rejects.parquet").num_rows == sum(kept["rejected"].values())
    target = json.loads(Path("metrics/mae.json").read_text())[settings.evaluate.target]
    steps = [step for step, block in settings.cascade.items() if block.dataset == settings.evaluate.target]
    assert all(0 < target[step][settings.rows[0].name]["mae"] < 60 for step in steps)
    assert Path("plots/data/labels.png").is_file()
