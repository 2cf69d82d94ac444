"""Stage evaluate: predictions -> metrics/*.json, metrics/tables, plots/results, and an MLflow run with them."""

from __future__ import annotations

import json
from pathlib import Path

from agecascade import params
from agecascade.evaluation.evaluate import evaluate
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.tracking import Run, log_run
from agecascade.tracking_store import flat
from common import run

METRICS, PLOTS = Path("metrics"), Path("plots/results")


def main() -> None:
    """Evaluate every row of params.yaml."""
    study = params.load("params.yaml")
    rows = evaluate(study, Path("data"), Path("models"), METRICS, PLOTS)
    track(study, rows)
    print((METRICS / "tables" / "mae.md").read_text(encoding="utf-8"))
    for name in ("comparison", "slices"):  # whether rows differ, and the worst slice
        print(*notes(METRICS / "tables" / f"{name}.md"), sep="\n")


def notes(path: Path) -> list[str]:
    """The lines below a table; none where there is no table."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line for line in lines if line and not line.startswith("|")]


def track(study: params.Params, rows: list[EvaluatedRow]) -> None:
    """Log one run with the tables and plots, and the test MAE to the run of each model, unless DVC took it from its cache."""
    figures = [json.loads((METRICS / name).read_text(encoding="utf-8")) for name in ("mae.json", "time_bounded.json")]
    metrics = {name: value for figure in figures for name, value in flat(figure, "/").items()}
    regressors = [Path("data/predictions/regress", name) for name in study.regressors]  # choices, leaderboards and ensembles
    artifacts = [METRICS / "tables", PLOTS, *regressors]
    tracker = log_run(study.study, "evaluate", "evaluate", params.read_yaml("params.yaml"), metrics, artifacts)
    errors = {digest: mae for row in rows for digest, mae in row.test_mae.items()}
    for digest, run_id in tracker.find_models(list(errors)).items():
        Run(tracker, run_id).metrics({"test_mae": errors[digest]})


if __name__ == "__main__":
    run(main)
