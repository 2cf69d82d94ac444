"""The study of Adience, drawn and in small, stage by stage in one process: from archives to groups, thresholds and the paper's tables."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from agecascade import params, study
from agecascade.evaluation import papers
from agecascade.evaluation.runs import Evaluation
from agecascade.io.yaml_text import dump_yaml, load_yaml
from places import ROOT

pytestmark = pytest.mark.slow


def stage(name: str, *arguments: str) -> None:
    import_module(name).main(*arguments)


def test_the_drawn_study_gives_every_figure_of_the_thesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    content = load_yaml(study.render("cascaded_adience", ROOT, drawn=True))
    content |= {"backbone": "tinyagenet", "image_size": 32, "precision": "fp32"}
    content["align"]["size"] = 32
    for dataset in content["datasets"].values():
        dataset["draw"] = {"pictures": 150, "subjects": 15}
    for step in content["cascade"].values():
        step["epochs"] = 1
    Path("params.yaml").write_text(dump_yaml(content), encoding="utf-8")
    settings = params.load()
    for script in ("download", "clean", "align"):
        for dataset in settings.datasets:
            stage(script, dataset)
    for dataset in settings.datasets:
        stage("split", dataset)
    stage("scratch")
    for step in settings.cascade:
        stage("finetune", step)
    stage("evaluate")

    figures = json.loads(Path("metrics/mae.json").read_text())
    main = settings.main_row.name
    predictions = pd.read_parquet(f"data/predictions/adience/{main}.parquet")
    middles = {1.0, 5.0, 10.0, 17.5, 28.5, 40.5, 50.5, 80.0}
    assert set(predictions["prediction"]) <= middles  # the likeliest group, of mirrored pictures too
    of_folds = (predictions["prediction"] == predictions["label"]).groupby(predictions["fold"]).mean()
    eight, three = figures["adience"]["adience"][main], figures["adience_three"]["adience_three"][main]
    assert len(of_folds) == eight["folds"] == 5
    assert eight["fold_accuracy_mean"] == pytest.approx(of_folds.mean(), rel=1e-5)
    assert eight["fold_accuracy_deviation"] == pytest.approx(of_folds.std(), rel=1e-5)

    groups = pd.read_csv("metrics/tables/groups.csv").set_index(["data set", "groups", "group"])
    assert groups.loc[("adience", "published", "all"), "accuracy"] == pytest.approx(eight["accuracy"], abs=1e-4)
    assert groups.loc[("adience_three", "published", "all"), "accuracy"] == pytest.approx(three["accuracy"], abs=1e-4)
    assert groups.loc[("adience", "evaluate.groups", "child 0-12"), "n"] > 0
    assert groups.loc[("adience", "published", "below 18"), "remark"] == "without (15, 20), on both sides of 18"
    for name, count in (("", 3), ("_adience", 8), ("_adience_three", 3)):
        matrix = pd.read_csv(f"metrics/tables/confusion_matrix{name}.csv").set_index("true")
        assert matrix.filter(like="as ").shape[1] == count
        assert matrix.filter(like="as ").sum(axis=1).tolist() == matrix["n"].tolist()
    limits = pd.read_csv("metrics/tables/thresholds.csv")
    assert limits["remark"].str.contains("pictures left out, whose group is on both sides of 18: ").any()
    for name in ("confusion", "thresholds"):
        assert Path(f"plots/results/{name}.png").is_file()

    # as if it were no drawn one: the rows of the paper find their figures
    flat = {**json.loads(json.dumps(content)), "study": "cascaded_adience"}
    flat["compute"] = dict(flat["compute"])
    ours = [table for table in papers.read_tables(ROOT) if table.study == "cascaded_adience"]
    assert [table.step for table in ours] == ["adience", "adience_three"]
    for table in ours:
        row = table.rows[0].model_copy(update={"where": {"method": "dex", "decoding": "mode"}})
        compared = papers.compare(table.model_copy(update={"rows": [row]}), [Evaluation(("run",), flat, figures)])
        assert compared is not None
        first = next(iter(table.ours))
        assert compared[f"our {first}"].notna().all()
