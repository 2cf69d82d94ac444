"""Stage describe: manifests, crops and archives -> metrics/datasets, plots/data, and the MLflow run that keeps them."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.dataset_report import drawing, faces, report, table
from agecascade.io.files import written_beside
from agecascade.tracking import log_run
from common import run


def main() -> None:
    """Describe every data set of params.yaml."""
    study = params.load("params.yaml")
    datasets = report.gather(study, Path("data"))
    table.write(datasets, Path("metrics/datasets"))
    faces.write(datasets, Path("metrics/datasets"))
    with written_beside("plots/data") as folder:
        drawing.draw(datasets, folder)
    track(study.study, datasets)
    for name in ("table", "faces"):
        print(Path(f"metrics/datasets/{name}.md").read_text(encoding="utf-8"))


def track(study: str, datasets: list[report.Described]) -> None:
    """One run with the data sets' settings, counts, table and pictures."""
    settings = {"datasets": params.read_yaml("params.yaml")["datasets"]}
    metrics = {dataset.name: tracked(dataset) for dataset in datasets}
    log_run(study, "describe", "describe", settings, metrics, [Path("metrics/datasets"), Path("plots/data")])


def tracked(dataset: report.Described) -> dict[str, float]:
    """What is compared between runs: counts, faces found where any were looked for, the detector's mean error where it is known."""
    quality = dataset.faces
    found = {"found": quality.found} if faces.looked(dataset) else {}
    return {**dataset.counts, **found, **({"eye_error": quality.error.eyes["mean"]} if quality.error else {})}


if __name__ == "__main__":
    run(main)
