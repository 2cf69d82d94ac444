"""Stage finetune: one step of the cascade -> models/<step>, all rows and folds, and their predictions in data/predictions/<step>."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.io.files import written_beside
from agecascade.io.places import work_folder
from agecascade.training.cascade import train_stage
from common import run


def main(step: str) -> None:
    """Train the step `cascade.<step>`."""
    study = params.load("params.yaml")
    dataset = study.cascade[step].dataset
    inputs = (Path("data/aligned", dataset), Path(f"data/splits/{dataset}.parquet"), Path("models"))
    with written_beside(f"models/{step}") as models, written_beside(f"data/predictions/{step}") as predictions:
        train_stage(study, step, *inputs, models, predictions, work_folder())


if __name__ == "__main__":
    run(main)
