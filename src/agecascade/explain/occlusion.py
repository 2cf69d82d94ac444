"""Occlusion (DLDL-v2, section 5.2): how the prediction changes where a part of the picture is hidden.

49 squares and 7 stripes of a seventh of the side are filled with the mean training picture, which is 0 after normalisation; the mirror
image is hidden at the mirrored place, as in use. A hidden part changes the first layers' maps only around it: where a backbone
begins with a plain chain of convolutions and poolings, only these windows are computed anew, and the rest comes from the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from agecascade.explain.local import LocalNetwork, Window
from agecascade.explain.maps import normalised_batches
from agecascade.loading import Images
from agecascade.runtimes.torch_runtime import TorchModel

PARTS = 7  # of the side: 32 of 224 pixels
SQUARES = PARTS * PARTS


class Occlusion(NamedTuple):
    """Predictions in label units: value (N,) of the whole pictures, hidden (N, 56) with each part hidden: squares row by row, stripes."""

    value: NDArray[np.float64]
    hidden: NDArray[np.float64]

    @property
    def change(self) -> NDArray[np.float64]:
        """How far each hidden part moves each prediction, (N, 56), label units."""
        return self.hidden - self.value[:, None]

    def relative_loss(self, label: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """(MAE with the part hidden - MAE) / MAE, (56,); None where the MAE is 0 and nothing can be relative to it.

        label: (N,) in label units.
        """
        whole = np.abs(self.value - label).mean()
        return np.abs(self.hidden - label[:, None]).mean(0) / whole - 1 if whole > 0 else None


def windows(size: int) -> list[Window]:
    """The 49 squares, row by row, and the 7 stripes, from above, of pictures of `size` pixels; sides differ by a pixel at most."""
    edges = list(pairwise(round(part * size / PARTS) for part in range(PARTS + 1)))
    squares = [Window(*rows, *columns) for rows in edges for columns in edges]
    return squares + [Window(*rows, 0, size) for rows in edges]


def occlude(model: TorchModel, images: Images) -> Occlusion:
    """The predictions for pictures (N, S, S, 3) uint8 RGB with each part hidden, with the mirror image where the model uses it.

    In memory channels come last, which changes rounding at most.
    """
    local = LocalNetwork(model.network.to(memory_format=torch.channels_last))
    places = windows(model.card.image_size)
    values, hidden = [], []
    bar = tqdm(total=len(images), desc="occlusion", unit="face", leave=False, delay=5)
    for batch in normalised_batches(model, images):
        views = [_predicted(model, local, batch, places)]
        if model.card.flip:
            size = batch.shape[3]
            views.append(_predicted(model, local, batch.flip(3), [place.mirrored(size) for place in places]))
        # of both views of each place, so that the value of the whole picture is that of use
        mean = torch.stack([model.method.averaged(of_place)[0] for of_place in zip(*views, strict=True)], dim=1)  # (B, 57)
        values.append(mean[:, 0])
        hidden.append(mean[:, 1:])
        bar.update(len(batch))
    bar.close()
    return Occlusion(_joined(values), _joined(hidden))


def _predicted(model: TorchModel, local: LocalNetwork, view: Tensor, places: Sequence[Window]) -> list[tuple[Tensor, Tensor | None]]:
    """Values (B,) and distributions (B, K) of a view (B, 3, S, S): whole, then with each of 56 places hidden."""
    outputs = [local.whole(view), *(local.changed(place, 0.0) for place in places)]
    return [model.method.predict(output.float()) for output in outputs]


def _joined(parts: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(parts).double().cpu().numpy()
