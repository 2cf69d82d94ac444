"""What a publisher's layout of weights says: their names, the networks that they fit, and the normalisation of their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agecascade.params import Normalisation
from agecascade.pretrained.state import State


@dataclass(frozen=True)
class Layout:
    """A publisher's naming of weights.

    renamed: a published name as ours below `backbone.` or `pool.` for one of `backbones`; None for what no backbone has, such as
    the classes that the network was trained for. bgr: whether the first convolution wants blue first. prepared: the published
    tensors in torch's order of axes, before they are renamed.
    """

    name: str
    backbones: tuple[str, ...]
    normalisation: Normalisation
    bgr: bool
    renamed: Callable[[str, str], str | None]
    prepared: Callable[[State], State] = dict


def by_means(mean: tuple[float, float, float], divisor: float = 1.0) -> Normalisation:
    """Normalisation of RGB pictures in 0..255 by their means, and by a divisor."""
    return Normalisation(mean=[round(value / 255, 8) for value in mean], std=[round(divisor / 255, 10)] * 3)
