"""Fitting published weights to our networks: names, first convolution for RGB, no classifier; and loading them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from agecascade import models
from agecascade.errors import ModelError
from agecascade.models.base import Network
from agecascade.models.shapes import outlines
from agecascade.pretrained.layouts import Layout, layout_of
from agecascade.pretrained.reading import State

SHOWN = 3  # names in an error
_COUNTERS = "num_batches_tracked"  # which torch before 0.4.1 did not have, and Caffe has not


@dataclass(frozen=True)
class Fit:
    """Published weights under our names, with the names that do not fit a network."""

    state: State
    missing: list[str]
    unexpected: list[str]  # or of another shape

    @property
    def fits(self) -> bool:
        return not self.missing and not self.unexpected

    @property
    def fault(self) -> str:
        """One line with the first names of each."""
        faults = {"missing": self.missing, "unexpected": self.unexpected}
        return "; ".join(f"{kind} {_first(names)}" for kind, names in faults.items() if names)


def renamed(state: State, layout: Layout, backbone: str) -> State:
    """A published state dict, prepared, under our names, the first convolution turned to RGB."""
    ours = {layout.renamed(name, backbone): tensor for name, tensor in state.items()}
    result = {name: tensor for name, tensor in ours.items() if name is not None}
    if layout.bgr:
        first = next((name for name, tensor in result.items() if tensor.ndim == 4 and tensor.shape[1] == 3), None)
        if first is not None:
            result[first] = result[first].flip(1)
    return result


def fit(state: State, network: Network) -> Fit:
    """How weights under our names fit a network; its fully connected layers stay new unless all of them are there in their shapes."""
    expected = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head.")}
    neck = {name for name in expected if name.startswith("pool.")}
    given = dict(state)
    if not all(name in given and given[name].shape == expected[name].shape for name in neck):
        expected = {name: tensor for name, tensor in expected.items() if name not in neck}
        neck = set()
    if not neck:
        given = {name: tensor for name, tensor in given.items() if not name.startswith("pool.")}
    missing = [name for name in expected if name not in given and not name.endswith(_COUNTERS)]
    unexpected = [name for name, tensor in given.items() if name not in expected or tensor.shape != expected[name].shape]
    return Fit(given, missing, unexpected)


def load_published(state: State, network: Network, backbone: str, called: str) -> Layout:
    """Put a published state dict into a network in place, all but the head; returns its layout.

    called: the file's name. Raises ModelError where it does not fit, naming the first keys at fault and the networks that it fits.
    """
    layout = layout_of(state)
    if layout is None:
        raise ModelError(f"{called} has weights of no known network ({_first(list(state))}); docs/reference/networks.md lists them")
    state = _prepared(state, layout, called)
    fitted = fit(renamed(state, layout, backbone), network) if backbone in layout.backbones else None
    if fitted is None or not fitted.fits:
        fault = fitted.fault if fitted else f"{layout.name} publishes none for it"
        others = _fitting(state, layout)
        advice = f"it fits {' and '.join(others)}" if others else "it fits no network here; fetch it again"
        raise ModelError(f"{called} does not fit {backbone}: {fault}; {advice}")
    load(fitted.state, network)
    return layout


def _prepared(state: State, layout: Layout, called: str) -> State:
    try:
        return layout.prepared(state)
    except RuntimeError as error:  # torch's, of an axis that is not there
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{called} has weights of {layout.name} in other shapes than it publishes ({reason[:120]}); fetch it again"
        ) from None


def load(state: State, network: Network) -> None:
    """Put weights that fit into a network in place; numbers of another precision become the network's own."""
    own = network.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            _copied(own[name], tensor)


def _copied(into: Tensor, tensor: Tensor) -> None:
    into.copy_(tensor.to(into.dtype))


def _fitting(state: State, layout: Layout) -> list[str]:
    """The names of the backbones that a published state dict fits."""
    names = []
    for name in layout.backbones:
        with outlines():
            network = models.create(name)
        if fit(renamed(state, layout, name), network).fits:
            names.append(name)
    return names


def _first(names: list[str]) -> str:
    shown = ", ".join(islice(names, SHOWN))
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
