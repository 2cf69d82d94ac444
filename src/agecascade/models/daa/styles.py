"""Where the comparison ages' styles come from: the codes of the ages, or a picture of each."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from agecascade.models.daa import statistics
from agecascade.models.daa.codes import CODES

Style = tuple[Tensor, Tensor]  # standard deviation S and mean T of each age: (K,), or (K, C) for the single channel

# what is made of the maps (K, C, h, w) of one template picture per age
OF_TEMPLATES: dict[str, Callable[[Tensor, str], Style]] = {
    "multi_channel": statistics.of_pictures,  # Eqs. 4 and 5
    "single_channel": statistics.of_channels,  # Eq. 3
}
TEMPLATES = (*CODES, *OF_TEMPLATES)
