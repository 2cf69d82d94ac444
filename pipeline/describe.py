"""Stage describe: manifests, crops and archives -> metrics/datasets, plots/data, and an MLflow run with them."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.dataset_report.describe import describe
from agecascade.tracking.store import withheld
from agecascade.tracking.tracker import log_run
from common import run

TABLES, PLOTS = Path("metrics/datasets"), Path("plots/data")


def main() -> None:
    """Describe every data set of params.yaml."""
    study = params.load("params.yaml")
    describe(study, Path("data"), TABLES, PLOTS)
    track(study)
    for name in ("table", "faces"):
        print((TABLES / f"{name}.md").read_text(encoding="utf-8"))


def track(study: params.Params) -> None:
    """Log one run with the tables and pictures: numbers of data sets would be the first charts beside those of results."""
    log_run(study.study, "describe", f"{study.study} data sets", {}, {}, [TABLES, PLOTS], leave=withheld(study))


if __name__ == "__main__":
    run(main)
