"""The features that an entry of `features` in params.yaml describes, of a whole data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from agecascade import model_folder
from agecascade.errors import ParamsError
from agecascade.features.bif import HEIGHT, bif_features
from agecascade.features.layers import network_features, several_folds_error
from agecascade.inference import MOST
from agecascade.io.compute import keep_freed_memory, ordered
from agecascade.loading.faces import Faces
from agecascade.loading.pictures import Images, take
from agecascade.loading.shared import SharedFaces
from agecascade.model_card import ModelCard
from agecascade.models.base import Network
from agecascade.params import FeaturesSettings, Params

PART = 4 * MOST  # pictures of one call: whole batches, so that they are the same wherever they are computed

Batches = list[NDArray[np.float32]]


def extract(params: Params, name: str, aligned: Path, models: Path) -> tuple[Faces, Iterator[NDArray[np.float32]]]:
    """The faces in `aligned` and their features `features.<name>`, (b, D) of one batch after the other.

    models: the folder of all steps. Batches are computed by the workers of `compute`, which read faces and model from the file system.
    Raises ParamsError, at the first batch, where the layer is unknown or the step has several folds, and ComputeError where the
    workers are lost or see other files.
    """
    size = HEIGHT if params.features[name].extractor == "bif" else params.image_size
    faces = SharedFaces.of(aligned, size, params.compute.cache_gib)
    return faces.load(), _features(params, name, faces, models)


def _features(params: Params, name: str, faces: SharedFaces, models: Path) -> Iterator[NDArray[np.float32]]:
    settings, count = params.features[name], len(faces.load())
    starts = range(0, count, PART)
    try:
        model = None if settings.extractor == "bif" else model_folder.SharedModel.of(_only_model(params, models / settings.step))
        extraction = _Extraction(settings, faces, model)
        parts = ordered(extraction, starts, params.compute, threads=params.compute.threads, alone=True)
        with tqdm(total=count, desc=f"features {name}", unit="face", delay=5) as bar:
            for batch in chain.from_iterable(parts):
                yield batch
                bar.update(len(batch))
    except ParamsError as error:
        raise ParamsError(f"features.{name}.{error}") from None


@dataclass(frozen=True)
class _Extraction:
    """Features of PART pictures from one on, here or on a worker; model: None for those without a network."""

    settings: FeaturesSettings
    faces: SharedFaces
    model: model_folder.SharedModel | None

    def __call__(self, start: int) -> Batches:
        keep_freed_memory()
        faces, settings = self.faces.load(), self.settings
        images = take(faces.images, np.arange(start, min(start + PART, len(faces))))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.model is None:
            return list(bif_features(images, settings.normalise, device, settings.pooling))
        return list(_of_network(*_loaded(self.model, device), images, settings))


@lru_cache(1)
def _loaded(model: model_folder.SharedModel, device: str) -> tuple[Network, ModelCard]:
    network, _, card = model_folder.load(model.found())
    return network.to(device), card


def _of_network(network: Network, card: ModelCard, images: Images, settings: FeaturesSettings) -> Iterator[NDArray[np.float32]]:
    options = (settings.layer, settings.reduction, settings.normalise, settings.half)
    return network_features(network, images, card.image_size, card.channels, *options)


def _only_model(params: Params, step: Path) -> Path:
    """The main row's model in the folder of a step. Several folds are an error: each trained on pictures that another tests."""
    model = model_folder.find_model(step, params.main_row, fold=0)
    if len(model_folder.fold_folders(model.parent)) > 1:
        raise several_folds_error(step.name)
    return model
