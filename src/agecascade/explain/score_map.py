"""Score maps (DLDL-v2, section 5.1): how much each place of the last activation maps adds to the scores of the predicted ages.

The score x_k of an age is linear in the pooled maps (Eq. 7), so the same weights can be applied at each place before pooling:
A^k = sum_j w_kj F^j + b_k (Eq. 23). The score map is their mean under the prediction, S = sum_k p_k A^k (Eq. 24).

Average pooling takes the mean of the maps, so that the mean of S is sum_k p_k x_k. Hybrid pooling takes the maximum of each 2x2 square
before the mean; the same holds of the score map of these maxima, and the mean of S itself differs by what pooling lifts
(`pooling_lift`). After a softmax, adding one vector to the weights of all ages changes no prediction, but S: compare places of one
model's maps, not levels of two models.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agecascade.errors import ModelError
from agecascade.explain.maps import Maps, normalised_batches, of_both_views
from agecascade.loading import Images
from agecascade.models.base import Neck
from agecascade.models.heads import PooledNetwork
from agecascade.runtimes.torch_runtime import TorchModel

SOFTMAX = "softmax"  # methods.Method.reading of heads with one score for each age


def lacking(model: TorchModel) -> str | None:
    """One line on why a model has no score maps; None where it has them."""
    network, method = model.network, model.method
    if not isinstance(network, PooledNetwork):
        return f"head {model.card.head} compares with ages and has no weights per age"
    if isinstance(network.pool, Neck):
        layers = ", ".join(network.pool.blocks)
        return f"{model.card.backbone} has fully connected layers ({layers}) between its maps and the weights per age"
    if not isinstance(network.head, nn.Linear) or method.reading != SOFTMAX:
        outputs = f"{method.outputs} output{'s' * (method.outputs != 1)}"
        return f"method {model.card.method} has {outputs} ({method.reading}) and no weights per age"
    return None


def linear_head(model: TorchModel) -> nn.Linear:
    """The layer w, b of Eq. 7. Raises ModelError where the head has no weights per age."""
    if fault := lacking(model):
        raise ModelError(f"score_map: {fault}")
    assert isinstance(model.network.head, nn.Linear)
    return model.network.head


def class_maps(maps: Tensor, head: nn.Linear) -> Tensor:
    """A^k of activation maps F (B, C, h, w): (B, K, h, w) (Eq. 23)."""
    return torch.einsum("kc,bchw->bkhw", head.weight, maps) + head.bias[:, None, None]


def score_map(maps: Tensor, probability: Tensor, head: nn.Linear) -> Tensor:
    """S of activation maps F (B, C, h, w) and probabilities p (B, K): (B, h, w) (Eq. 24). The sum over k comes first: it is cheap."""
    weights = probability @ head.weight  # (B, C)
    return torch.einsum("bc,bchw->bhw", weights, maps) + (probability @ head.bias)[:, None, None]


def score_maps(model: TorchModel, images: Images) -> Maps:
    """Score maps (N, h, w) float32 of pictures (N, S, S, 3) uint8 RGB, in units of the scores x_k.

    Where the model averages over the mirror image, so do they. Raises ModelError where the head has no weights per age.
    """
    head = linear_head(model)

    def of_view(view: Tensor) -> Tensor:
        maps = model.network.backbone(view)  # (B, C, h, w)
        return score_map(maps, _probability(model, maps), head)

    parts = [of_both_views(model, batch, of_view).float().cpu().numpy() for batch in normalised_batches(model, images)]
    return np.concatenate(parts)


def pooling_lift(model: TorchModel, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each picture (N,) the sum_k p_k x_k, and how much it lies above the mean of its S: 0 under average pooling.

    Under hybrid or max pooling, it is what the maxima add. Raises ModelError where the head has no weights per age.
    """
    head = linear_head(model)
    scores, lifts = [], []
    for batch in normalised_batches(model, images):
        maps = model.network.backbone(batch)  # (B, C, h, w)
        probability = _probability(model, maps)
        score = (probability * _scores(model, maps)).sum(1)  # (B,)
        scores.append(score)
        lifts.append(score - score_map(maps, probability, head).mean((1, 2)))
    return torch.cat(scores).cpu().numpy(), torch.cat(lifts).cpu().numpy()


def _scores(model: TorchModel, maps: Tensor) -> Tensor:
    """x (B, K) of activation maps (Eq. 7)."""
    assert isinstance(model.network, PooledNetwork)
    return model.network.head(model.network.pool(maps))


def _probability(model: TorchModel, maps: Tensor) -> Tensor:
    return torch.softmax(_scores(model, maps), dim=1)  # (B, K)
