"""Stage evaluate: predictions -> metrics/*.json, metrics/tables, plots/results, and the MLflow run that keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from agecascade import params
from agecascade.evaluation import report
from agecascade.io.files import written_beside
from agecascade.tracking import Run, flat, log_run
from common import run


def main() -> None:
    """Evaluate every row that params.yaml asks for."""
    study = params.load("params.yaml")
    results = report.gather(study, Path("data/predictions"))
    report.write(results, study, Path("metrics"))
    with written_beside("plots/results") as folder:
        report.draw(results, study, labels_of(study.evaluate.target), Path("models"), folder)
    track(study, results)
    print(Path("metrics/tables/mae.md").read_text(encoding="utf-8"))


def labels_of(dataset: str) -> dict[str, list[float]]:
    """The labels of each role in the first fold."""
    splits = pd.read_parquet(f"data/splits/{dataset}.parquet")
    manifest = pd.read_parquet(f"data/manifest/{dataset}.parquet", columns=["sample_id", "label"])
    first = splits[splits["fold"] == splits["fold"].min()].merge(manifest, on="sample_id")
    return {str(role): rows.tolist() for role, rows in first.groupby("role")["label"]}


def track(study: params.Params, results: list[report.Result]) -> None:
    """One run for the evaluation, with its own table and plots; the test error goes to the run of each model as well.

    Models that DVC took from its cache were trained without a run: then there is none to add to.
    """
    figures = [json.loads(Path("metrics", name).read_text(encoding="utf-8")) for name in ("mae.json", "time_bounded.json")]
    metrics = {name: value for figure in figures for name, value in flat(figure, "/").items()}
    regressors = [Path("data/predictions/regress", name) for name in study.regressors]  # choices, leaderboards and ensembles
    artifacts = [Path("metrics/tables"), Path("plots/results"), *regressors]
    tracker = log_run(study.study, "evaluate", "evaluate", params.read_yaml("params.yaml"), metrics, artifacts)
    errors = {digest: mae for result in results for digest, mae in result.test_mae.items()}
    for digest, run_id in tracker.find_models(list(errors)).items():
        Run(tracker, run_id).metrics({"test_mae": errors[digest]})


if __name__ == "__main__":
    run(main)
