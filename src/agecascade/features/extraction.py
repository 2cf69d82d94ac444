"""The features that an entry of `features` in params.yaml describes, of a whole data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agecascade import model_folder
from agecascade.errors import ParamsError
from agecascade.features.bif import HEIGHT, bif_features
from agecascade.features.layers import network_features, several_folds_error
from agecascade.loading.faces import Faces, load_cached_faces
from agecascade.loading.pictures import Images
from agecascade.params import Params


def extract(params: Params, name: str, aligned: Path, models: Path) -> tuple[Faces, Iterator[NDArray[np.float32]]]:
    """The faces in `aligned` and their features `features.<name>`, (b, D) of one batch after the other.

    models: the folder of all steps. Raises ParamsError, at the first batch, where the layer is unknown or the step has several folds.
    """
    size = HEIGHT if params.features[name].extractor == "bif" else params.image_size
    faces = load_cached_faces(aligned, size, params.compute.cache_gib)
    return faces, _features(params, name, faces.images, models)


def _features(params: Params, name: str, images: Images, models: Path) -> Iterator[NDArray[np.float32]]:
    settings = params.features[name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if settings.extractor == "bif":
        yield from bif_features(images, settings.normalise, device, settings.pooling)
        return
    options = (settings.layer, settings.reduction, settings.normalise, settings.half)
    try:
        network, _, card = model_folder.load(_only_model(params, models / settings.step))
        yield from network_features(network.to(device), images, card.image_size, card.channels, *options)
    except ParamsError as error:
        raise ParamsError(f"features.{name}.{error}") from None


def _only_model(params: Params, step: Path) -> Path:
    """The main row's model in the folder of a step. Several folds are an error: each trained on pictures that another tests."""
    model = model_folder.find_model(step, params.main_row, fold=0)
    if len(model_folder.fold_folders(model.parent)) > 1:
        raise several_folds_error(step.name)
    return model
