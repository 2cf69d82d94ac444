"""Stage features: a network's layer, or bio-inspired features, over a data set -> data/features/<name>.parquet."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.features import write_features
from agecascade.features.extraction import extract
from common import run


def main(name: str) -> None:
    """Write the features that `features.<name>` describes."""
    study = params.load("params.yaml")
    dataset = study.features[name].dataset
    grid = study.datasets[dataset].grid
    faces, features = extract(study, name, Path("data/aligned", dataset), Path("models"))
    write_features(f"data/features/{name}.parquet", faces, features, grid.step if grid else None)


if __name__ == "__main__":
    run(main)
