"""Stage describe: manifests, crops and archives -> metrics/datasets, plots/data, and an MLflow run with them."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.dataset_report.describe import describe
from agecascade.dataset_report.report import DatasetReport
from agecascade.tracking import log_run
from common import run

TABLES, PLOTS = Path("metrics/datasets"), Path("plots/data")


def main() -> None:
    """Describe every data set of params.yaml."""
    study = params.load("params.yaml")
    datasets = describe(study, Path("data"), TABLES, PLOTS)
    track(study.study, datasets)
    for name in ("table", "faces"):
        print((TABLES / f"{name}.md").read_text(encoding="utf-8"))


def track(study: str, datasets: list[DatasetReport]) -> None:
    """Log one run with the data sets' settings, figures, tables and pictures."""
    settings = {"datasets": params.read_yaml("params.yaml")["datasets"]}
    metrics = {dataset.name: dataset.tracked for dataset in datasets}
    log_run(study, "describe", "describe", settings, metrics, [TABLES, PLOTS])


if __name__ == "__main__":
    run(main)
