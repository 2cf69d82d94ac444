"""Time of a training step of TinyAgeNet under each objective, relative to plain cross-entropy.

usage: uv run python benchmarks/objectives.py [--quick]
64 px, batches of 64, Adam, 101 ages. All objectives and the cross-entropy take turns in one process, in another order each
round, so that none has the machine to itself; each figure is a method's median step over the cross-entropy's. 1.05 is the most
that an objective should cost. --quick takes two rounds after one that is not counted, instead of 100 after two,
with batches of 8.
The last line printed is one JSON object: {objective}, by its name in docs/reference/methods.md, and largest of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from agecascade import methods, models
from agecascade.methods.classification import nearest_bin

SIZE, BATCH = 64, 64
GRID = torch.arange(0.0, 101.0)
PLAIN = "cross_entropy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rounds, uncounted = (2, 1) if quick else (100, 2)
    batch = 8 if quick else BATCH
    steps = {PLAIN: plain_step(batch), **{name: step_of(name, batch) for name in methods.METHODS}}
    random = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(uncounted + rounds):
        for name in random.permutation(list(steps)).tolist():
            start = time.perf_counter()
            steps[name]()
            if turn >= uncounted:  # the first rounds include the first use of every kernel
                taken[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in taken.items()}
    for name, seconds in sorted(median.items(), key=lambda pair: pair[1]):
        print(f"{name}: {1000 * seconds:.1f} ms", file=sys.stderr)
    ratios = {name: round(median[name] / median[PLAIN], 3) for name in methods.METHODS}
    print(json.dumps({**ratios, "largest": max(ratios.values())}))


def pictures(batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A batch (B, 3, H, W), its labels and its sigmas (B,)."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, SIZE, SIZE, generator=random).to(memory_format=torch.channels_last)
    return images, torch.randint(0, 101, (batch,), generator=random).float(), torch.full((batch,), 2.0)


def plain_step(batch: int) -> Callable[[], None]:
    """A step under torch's own cross-entropy of the age's index."""
    images, label, _ = pictures(batch)
    index = nearest_bin(label, GRID)
    return step(models.create("tinyagenet"), images, lambda outputs: nn.functional.cross_entropy(outputs, index))


def step_of(name: str, batch: int) -> Callable[[], None]:
    """A step under an objective, as `training.learner` takes it."""
    images, label, sigma = pictures(batch)
    method = methods.create(name, GRID)
    network = models.create("tinyagenet", outputs=method.outputs, layer=method.layer)
    return step(network, images, lambda outputs: torch.stack(list(method.terms(outputs, label, sigma).values())).sum())


def step(network: nn.Module, images: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)

    def take() -> None:
        optimizer.zero_grad()
        loss(network(images)).backward()
        optimizer.step()

    return take


if __name__ == "__main__":
    main()
