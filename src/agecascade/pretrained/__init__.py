"""Published weights: fetched, read without running their code, renamed, and loaded into a network."""

from __future__ import annotations

import math

from agecascade.errors import ModelError
from agecascade.models.base import Network
from agecascade.params import Normalisation, Weights
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
        trained_with = load_published(read_state(path), network, backbone, path.name).normalisation
    if not _same(trained_with, normalisation):
        block = f"{{mean: {trained_with.mean}, std: {trained_with.std}}}"
        raise ModelError(f"{key}: these weights want other pictures; write normalisation.by_backbone.{backbone}: {block}")


def _same(one: Normalisation, other: Normalisation) -> bool:
    means = all(math.isclose(a, b, abs_tol=_NEAR) for a, b in zip(one.mean, other.mean, strict=True))
    return means and all(math.isclose(a, b, rel_tol=_NEAR) for a, b in zip(one.std, other.std, strict=True))
