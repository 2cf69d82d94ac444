"""Stage features: a network's layer, or bio-inspired features, over a data set -> data/features/<name>.parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from agecascade import model_folder, params
from agecascade.errors import ParamsError
from agecascade.features import bif, write_features
from agecascade.features.checking import several_folds
from agecascade.features.extraction import bif_features, network_features
from agecascade.training.cascade import find_model
from common import aligned_faces, run


def main(name: str) -> None:
    """Write the features that `features.<name>` describes."""
    study = params.load("params.yaml")
    settings = study.features[name]
    faces = aligned_faces(study, settings.dataset, bif.HEIGHT if settings.extractor == "bif" else None)
    grid = study.datasets[settings.dataset].grid
    try:
        features = extracted(study, settings, faces.images)
        write_features(f"data/features/{name}.parquet", faces, features, grid.step if grid else None)
    except ParamsError as error:
        raise ParamsError(f"features.{name}.{error}") from None


def extracted(study: params.Params, settings: params.FeaturesSettings, images: Any) -> Iterator[Any]:
    """The features of all pictures, batch by batch."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if settings.extractor == "bif":
        return bif_features(images, settings.normalise, device)
    network, _, card = model_folder.load(only_model(study, settings.step))
    wanted = (settings.layer, settings.reduce, settings.normalise, settings.half)
    return network_features(network.to(device), images, card.image_size, card.channels, *wanted)


def only_model(study: params.Params, step: str) -> Path:
    """The main row's model of a step. Those of several folds are none: each saw pictures in training that another tests."""
    model = find_model(Path("models") / step, study.rows[0], fold=0)
    if len(list(model.parent.glob("fold*"))) > 1:
        raise several_folds(step)
    return model


if __name__ == "__main__":
    run(main)
