"""Published weights: fetched, read without running their code, renamed, and loaded into a network."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from agecascade import model_folder
from agecascade.errors import ModelError
from agecascade.model_card import Learned
from agecascade.model_folder import IDENTITY, describe
from agecascade.models import require_size
from agecascade.models.base import Network
from agecascade.params import Normalisation, Params, Weights
from agecascade.pretrained.fitting import load_published
from agecascade.pretrained.libraries import load_timm, load_torchvision
from agecascade.pretrained.reading import read_state, weights_file

_NEAR = 2e-3  # of a mean in 0..1, and of a deviation as a share of it


def load_weights(network: Network, backbone: str, weights: Weights, normalisation: Normalisation, key: str) -> None:
    """Put published weights into a network in place, all but the head.

    normalisation: that of the network's pictures; key: of params.yaml, for errors. Raises ModelError where the file
    cannot be had or read, does not fit, or was trained with other means and deviations.
    """
    if weights.library == "torchvision":
        trained_with = load_torchvision(network, backbone, weights, key)
    elif weights.library == "timm":
        trained_with = load_timm(network, backbone, weights, key)
    else:
        path = weights_file(weights, key)
        trained_with = load_published(read_state(path, weights.member), network, backbone, weights.called).normalisation
    if not _same(trained_with, normalisation):
        block = f"{{mean: {trained_with.mean}, std: {trained_with.std}}}"
        raise ModelError(f"{key}: these weights want other pictures; write normalisation.by_backbone.{backbone}: {block}")


def write_published(params: Params, name: str, folder: Path) -> None:
    """Write the networks of `weights.<name>`, one per backbone and seed of the study, into `folder`.

    What the weights do not give, such as the head, is initialised by the seed. Raises ModelError where a backbone has no entry,
    and with one line for each fault of a file.
    """
    entries = params.weights[name]
    for row in params.networks(IDENTITY):
        key = f"weights.{name}.{row.backbone}"
        if row.backbone not in entries:
            raise ModelError(f"{key} is missing; weights.{name} has {', '.join(entries)} alone: add it, or let no step start from {name}")
        card = describe(params, name, row, [0.0, 1.0], fold=0, chain=[name])
        require_size(card.outline(), row.backbone, params.image_size)
        torch.manual_seed(row.seed)
        network = card.network()
        load_weights(network, row.backbone, entries[row.backbone], card.channels, key)
        card = replace(card, trained_on=[Learned(name, f"the published weights of {row.backbone}", None, drawn=False)])
        model_folder.save(folder / row.name / "fold0", network, card, [])


def _same(one: Normalisation, other: Normalisation) -> bool:
    means = all(math.isclose(a, b, abs_tol=_NEAR) for a, b in zip(one.mean, other.mean, strict=True))
    return means and all(math.isclose(a, b, rel_tol=_NEAR) for a, b in zip(one.std, other.std, strict=True))
