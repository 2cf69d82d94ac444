"""Stage pretrain: aligned faces and splits -> models/<step>, a face-recognition network trained by softmax over identities."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.io.files import written_beside
from agecascade.io.places import work_folder
from agecascade.training.cascade import train_stage
from common import run


def main(step: str) -> None:
    """Pretrain the network of `pretrain.<step>`."""
    study = params.load("params.yaml")
    dataset = study.pretrain[step].dataset
    inputs = (Path("data/aligned", dataset), Path(f"data/splits/{dataset}.parquet"), Path("models"))
    with written_beside(f"models/{step}") as models:
        train_stage(study, step, *inputs, models, None, work_folder())


if __name__ == "__main__":
    run(main)
