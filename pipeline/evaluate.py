"""Stage evaluate: predictions -> metrics/*.json, metrics/tables, plots/results, and an MLflow run with them."""

from __future__ import annotations

import json
from pathlib import Path

from agecascade import params
from agecascade.evaluation.evaluate import EvaluatedRow, evaluate
from agecascade.tracking import Run, Tracker, flat
from common import run

METRICS, PLOTS = Path("metrics"), Path("plots/results")


def main() -> None:
    """Evaluate every row of params.yaml."""
    study = params.load("params.yaml")
    rows = evaluate(study, Path("data"), Path("models"), METRICS, PLOTS)
    track(study, rows)
    print((METRICS / "tables" / "mae.md").read_text(encoding="utf-8"))


def track(study: params.Params, rows: list[EvaluatedRow]) -> None:
    """Log one run with the tables and plots, and the test MAE to the run of each model, unless DVC took it from its cache."""
    tracker = Tracker(study.study, "evaluate")
    figures = [json.loads((METRICS / name).read_text(encoding="utf-8")) for name in ("mae.json", "time_bounded.json")]
    with tracker.model_run("evaluate", flat(params.read_yaml("params.yaml")), {}) as evaluation:
        evaluation.metrics({name: value for part in figures for name, value in flat(part, "/").items() if not isinstance(value, str)})
        for folder in (METRICS / "tables", PLOTS, *(Path("data/predictions/regress", name) for name in study.regressors)):
            evaluation.artifact(folder)
    errors = {digest: mae for row in rows for digest, mae in row.test_mae.items()}
    for digest, run_id in tracker.find_models(list(errors)).items():
        Run(tracker, run_id).metrics({"test_mae": errors[digest]})


if __name__ == "__main__":
    run(main)
