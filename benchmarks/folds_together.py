"""Five folds in use, one after the other or as one network: TinyAgeNet on one core, both views of each face, by the processor's own clock.

usage: uv run python benchmarks/folds_together.py [--size PIXELS] [--quick]
The networks have drawn weights. Ways, which take turns; the least time of each counts:
  trained        the network as it was trained, in batches of 256 faces
  small_batches  the same in the batches that a processor takes best (runtimes.base.PIXELS)
  in_use         these batches, batch norms folded into convolutions: what `predict` computes
  channels_last  as in_use, weights laid out with the channels last
  grouped        as in_use, the folds as one network: the first convolution has all filters, the others are grouped by folds
  vmap           as in_use, the folds stacked by torch.func
--quick: 32 faces, two turns. The last line printed is one JSON object: milliseconds a face of each way, {way}_ms, and
largest_difference of an output from that of the trained networks.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from agecascade import models
from agecascade.models.base import Network
from agecascade.runtimes.base import PIXELS
from agecascade.runtimes.torch_runtime import folded

FOLDS, OUTPUTS, WHOLE_BATCH = 5, 101, 256
Way = Callable[[Tensor], Tensor]  # views (B, 3, S, S) -> outputs (folds, B, K)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faces, turns = (32, 2) if arguments.quick else (128, 4)
    shape = (faces, 3, arguments.size, arguments.size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)  # as in use
    ways = {name: partial(outputs, way, images, batch) for name, (way, batch) in made(max(1, PIXELS // arguments.size**2)).items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    said: dict[str, Tensor] = {}
    with torch.inference_mode():
        for turn in range(turns + 1):
            for name, way in ways.items():
                start = time.process_time()
                said[name] = way()
                seconds[name] += [time.process_time() - start] * (turn > 0)  # the first turn makes oneDNN's kernels
    figures = {f"{name}_ms": round(min(times) / faces * 1e3, 3) for name, times in seconds.items()}
    for name in ways:
        print(f"{name:14s} {figures[f'{name}_ms']:7.3f} ms a face, {FOLDS} folds, both views")
    figures["largest_difference"] = max(float((value - said["trained"]).abs().max()) for value in said.values())
    print(json.dumps(figures))


def made(batch: int) -> dict[str, tuple[Way, int]]:
    """Each way with the faces of its batches; all have the same weights."""
    torch.manual_seed(0)
    networks = [models.create("tinyagenet", outputs=OUTPUTS).eval() for _ in range(FOLDS)]
    for norm in (module for network in networks for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    in_use = [folded(network) for network in networks]
    last = [copy.deepcopy(network).to(memory_format=torch.channels_last) for network in in_use]
    return {
        "trained": (partial(separate, networks), WHOLE_BATCH),
        "small_batches": (partial(separate, networks), batch),
        "in_use": (partial(separate, in_use), batch),
        "channels_last": (partial(separate, last), batch),
        "grouped": (grouped(in_use), batch),
        "vmap": (stacked(in_use), batch),
    }


def outputs(way: Way, images: Tensor, batch: int) -> Tensor:
    """The mean over both views (folds, N, K), batch by batch."""
    parts = images.split(batch)
    return torch.cat([(way(part) + way(part.flip(3))) / 2 for part in parts], dim=1)


def separate(networks: Sequence[Network], views: Tensor) -> Tensor:
    return torch.stack([network(views) for network in networks])


def grouped(networks: Sequence[Network]) -> Way:
    """The backbones as one network, each fold a group of channels; the heads follow one by one."""
    layers: list[nn.Module] = []
    for each in zip(*(network.backbone.layers for network in networks), strict=True):  # type: ignore[arg-type]
        first = each[0]
        if isinstance(first, nn.Conv2d):
            own = first.in_channels > 3  # all folds see the same pictures
            inputs, groups = (FOLDS * first.in_channels, FOLDS) if own else (3, 1)
            layer = nn.Conv2d(inputs, FOLDS * first.out_channels, 3, padding=1, groups=groups)
            layer.weight.data = torch.cat([fold.weight for fold in each])
            layer.bias.data = torch.cat([fold.bias for fold in each])  # type: ignore[union-attr]
            layers.append(layer)
        else:
            layers.append(first)
    whole = nn.Sequential(*layers).eval()

    def run(views: Tensor) -> Tensor:
        features = networks[0].pool(whole(views)).unflatten(1, (FOLDS, -1))  # (B, folds, C)
        return torch.stack([network.head(features[:, fold]) for fold, network in enumerate(networks)])

    return run


def stacked(networks: Sequence[Network]) -> Way:
    """torch.func's ensemble: one call, mapped over the stacked weights."""
    weights, buffers = stack_module_state(list(networks))  # type: ignore[arg-type]
    skeleton = copy.deepcopy(networks[0]).to("meta")
    return lambda views: torch.vmap(lambda weight, buffer: functional_call(skeleton, (weight, buffer), (views,)), randomness="error")(
        weights, buffers
    )


if __name__ == "__main__":
    main()
