"""Weights that torchvision and timm publish for their networks, with the addresses and normalisation that the libraries give."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from agecascade.errors import ModelError, unknown_name
from agecascade.models import TIMM
from agecascade.models.base import Network
from agecascade.models.timm_backbone import parse
from agecascade.params import Normalisation, Weights
from agecascade.pretrained.fitting import fit, load, load_published
from agecascade.pretrained.layouts import TORCHVISION
from agecascade.pretrained.reading import read_state, weights_file


def load_torchvision(network: Network, backbone: str, weights: Weights, key: str) -> Normalisation:
    """Put torchvision's latest ImageNet weights into a network in place; returns the channels that they were trained with."""
    from torchvision.models import get_model_weights

    if backbone not in TORCHVISION.backbones:
        raise ModelError(f"{key}: {unknown_name('network of torchvision', backbone, TORCHVISION.backbones)}")
    name = "vgg16" if backbone.startswith("vgg16") else backbone
    url = get_model_weights(name).DEFAULT.url
    path = weights_file(weights.model_copy(update={"file": url.rpartition("/")[2], "url": url}), key)
    return load_published(read_state(path), network, backbone, path.name).normalisation


def load_timm(network: Network, backbone: str, weights: Weights, key: str) -> Normalisation:
    """Put timm's weights into a network in place, through timm's own conversions; returns the channels that they were trained with."""
    if not backbone.startswith(TIMM):
        raise ModelError(f"{key}: library: timm is for backbones called {TIMM}<name>")
    name, _ = parse(backbone.removeprefix(TIMM))
    published = _published(name, key)
    hub = f"https://huggingface.co/{published.hf_hub_id}/resolve/main/{published.hf_hub_filename or 'model.safetensors'}"
    url = str(published.url or hub)
    file = url.rpartition("/")[2] if published.url else f"{name}.safetensors"  # all are called model.safetensors there
    path = weights_file(weights.model_copy(update={"file": file, "url": url}), key)
    read_state(path)  # says in one line what is wrong with it
    theirs = _created(name, path)
    state = {f"backbone.network.{part}": tensor for part, tensor in theirs.state_dict().items()}
    own = network.state_dict()
    fitted = fit({part: tensor for part, tensor in state.items() if part in own}, network)
    if not fitted.fits:
        raise ModelError(f"{key}: {path.name} does not fit {backbone}: {fitted.fault}; choose another of timm.list_pretrained()")
    load(fitted.state, network)
    return Normalisation(mean=list(published.mean), std=list(published.std))


def _published(name: str, key: str) -> Any:
    """timm's configuration of a network's weights: their address, and the normalisation of their pictures."""
    import timm

    try:
        published = timm.get_pretrained_cfg(name)
    except RuntimeError:  # an unknown tag
        published = None
    if published is None or not (published.url or published.hf_hub_id):
        raise ModelError(f"{key}: timm publishes no weights of {name}; name a tag of it that has some, as timm.list_pretrained() tells")
    return published


def _created(name: str, path: Path) -> Any:
    """timm's network with the weights of a file."""
    import timm

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
        except (RuntimeError, KeyError, ValueError) as error:
            raise ModelError(f"{path} does not fit timm/{name}: {' '.join(str(error).split())[:200]}; fetch it again") from None
