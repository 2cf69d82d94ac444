"""Grad-CAM (Selvaraju et al., 2017; cascaded fine-tuning, Fig. 14) on any layer of a network, by captum.

The gradients of a score with respect to the maps of a layer are averaged over the places of each map; the maps, weighted by these
means, are summed, and what is below zero is cut off. The score is x_k of the age asked for, before the softmax. Of heads without a score
for each age (ranking, regression, DAA), the predicted value itself is explained: what makes the face look older.
The tokens of a transformer are laid out as their patches lie in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agecascade.errors import ModelError, unknown_name
from agecascade.explain.maps import Maps, normalised_batches
from agecascade.explain.score_map import SOFTMAX
from agecascade.loading import Images
from agecascade.models import fused
from agecascade.models.base import Network
from agecascade.models.timm_backbone import Timm
from agecascade.runtimes.torch_runtime import TorchModel

LAST = "last"  # the backbone's output, whose maps the head takes
PREDICTED = "predicted"


def layer_names(network: Network) -> list[str]:
    """The usual values of `layer`; the path of any module inside is another."""
    return [LAST, *network.blocks]


def module_of(network: Network, name: str) -> nn.Module:
    """The module whose output a layer is. Raises ModelError naming the layers that there are."""
    if name == LAST:
        return network.backbone
    modules = dict(network.named_modules())
    found = network.blocks.get(name) or modules.get(name)
    if found is None or found is network:
        known = layer_names(network)
        raise ModelError(
            f"layer: {unknown_name('layer', name, known).partition(';')[0]}; this network has {', '.join(known)}, "
            f"and its modules by their path, such as {list(modules)[len(modules) // 2]}"
        )
    called = set(modules.values()) - set(fused.chains(network))
    while found not in called:  # a block whose layers are called one by one, and never itself
        found = list(found.children())[-1]
    return found


def require_maps(model: TorchModel, layer: str) -> None:
    """Raise ModelError, as `grad_cam`, where the layer does not exist or gives no maps; the network may lie on the device "meta"."""
    network, size, seen = model.network, model.card.image_size, []
    device = next(network.parameters()).device
    with _laid_out(network, module_of(network, layer)) as probe, torch.no_grad():
        handle = probe.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            network(torch.zeros(2, 3, size, size, device=device))
        finally:
            handle.remove()
    if not seen:
        raise ModelError(f"layer: {layer} takes no part in a prediction; take one of {', '.join(layer_names(network))}")
    _require_maps(seen[0], layer, network, pictures=2)


def _require_maps(maps: object, layer: str, network: Network, pictures: int) -> None:
    if not isinstance(maps, Tensor) or maps.ndim != 4 or len(maps) != pictures or maps.shape[2] * maps.shape[3] == 1:
        shape = " x ".join(map(str, maps.shape[1:])) if isinstance(maps, Tensor) else "several tensors"
        raise ModelError(f"layer: {layer} gives no maps of a picture ({shape}); take one of {', '.join(layer_names(network))}")


def scores_of_ages(model: TorchModel) -> bool:
    """Whether the head has a score for each age, so that Grad-CAM can be asked about one."""
    return model.method.reading == SOFTMAX


def grad_cam(model: TorchModel, images: Images, layer: str = LAST, ages: NDArray[np.float64] | None = None) -> Maps:
    """Maps (N, h, w) float32, at least 0, of pictures (N, S, S, 3) uint8 RGB, in units of the score.

    ages: (N,) label units, of which the nearest grid value is explained; None for the predicted ones. Heads without a score per age
    explain the predicted value in either case. Where the model averages over the mirror image, so do the maps.
    Raises ModelError where the layer does not exist, or gives vectors in place of maps.
    """
    module = module_of(model.network, layer)
    parts, start = [], 0
    with _laid_out(model.network, module) as probe:
        for batch in normalised_batches(model, images):
            asked = None if ages is None else ages[start : start + len(batch)]
            parts.append(_of_batch(model, probe, layer, batch, asked))
            start += len(batch)
    return np.concatenate(parts)


def _of_batch(model: TorchModel, probe: nn.Module, layer: str, batch: Tensor, ages: NDArray[np.float64] | None) -> Maps:
    with torch.inference_mode(False), torch.enable_grad():
        pictures = batch.clone()  # out of inference mode, in which captum has no gradients
        target = _target(model, pictures, ages)
        maps = _attributed(model, probe, layer, pictures, target)  # (B, h, w)
        if model.card.flip:
            maps = (maps + _attributed(model, probe, layer, pictures.flip(3), target).flip(2)) / 2
    return maps.float().cpu().numpy()


def _attributed(model: TorchModel, probe: nn.Module, layer: str, pictures: Tensor, target: Tensor | None) -> Tensor:
    from captum.attr import LayerGradCam

    def score(view: Tensor) -> Tensor:
        outputs = model.network(view)  # (B, K)
        return outputs if target is not None else model.method.predict(outputs.float())[0]

    maps = LayerGradCam(score, probe).attribute(pictures.requires_grad_(), target, relu_attributions=True)
    _require_maps(maps, layer, model.network, len(pictures))
    return maps[:, 0].detach()  # (B, h, w)


def _target(model: TorchModel, pictures: Tensor, ages: NDArray[np.float64] | None) -> Tensor | None:
    """The outputs (B,) that are explained; None where there is none for an age."""
    if not scores_of_ages(model):
        return None
    grid = model.method.grid
    if ages is None:
        with torch.no_grad():
            wanted = model.method.predict(model.network(pictures).float())[0]  # (B,)
    else:
        wanted = torch.as_tensor(ages, dtype=grid.dtype, device=grid.device)
    return (wanted[:, None] - grid[None, :]).abs().argmin(1)  # (B,)


class LaidOut(nn.Module):
    """A module of a timm network whose output captum sees as maps (B, C, h, w): tokens are laid out, and channels come first."""

    def __init__(self, module: nn.Module, prefix: int, channels_last: bool) -> None:
        """prefix: tokens before those of the patches, which are no places."""
        super().__init__()
        self.module, self.prefix, self.channels_last = module, prefix, channels_last
        self.maps = nn.Identity()

    def forward(self, *inputs: Tensor, **options: Tensor) -> Tensor:
        output = self.module(*inputs, **options)
        if output.ndim == 4 and self.channels_last:
            return self.maps(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, h, w, C) -> (B, C, h, w) -> back
        if output.ndim != 3:
            return self.maps(output)
        before, tokens = output[:, : self._before(output)], output[:, self._before(output) :]
        side = round(tokens.shape[1] ** 0.5)
        height = side if side * side == tokens.shape[1] else 1
        maps = self.maps(tokens.transpose(1, 2).unflatten(2, (height, -1)))  # (B, N, C) -> (B, C, h, w)
        return torch.cat([before, maps.flatten(2).transpose(1, 2)], dim=1)  # (B, prefix + N, C)

    def _before(self, output: Tensor) -> int:
        """Prefix tokens in the output: the patch embedding has none yet."""
        count = output.shape[1]
        return 0 if round(count**0.5) ** 2 == count else self.prefix


@contextmanager
def _laid_out(network: Network, module: nn.Module) -> Iterator[nn.Module]:
    """The module whose output is the layer's maps; within, a module inside a timm network is wrapped so that there are some."""
    if not isinstance(network.backbone, Timm) or module is network.backbone or module is network.head:
        yield module
        return
    timm = network.backbone.network
    wrapped = LaidOut(module, getattr(timm, "num_prefix_tokens", 0), getattr(timm, "output_fmt", "NCHW") == "NHWC").eval()
    parent, name = next((parent, name) for parent in network.modules() for name, child in parent.named_children() if child is module)
    setattr(parent, name, wrapped)
    try:
        yield wrapped.maps
    finally:
        setattr(parent, name, module)
