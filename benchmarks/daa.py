"""Delta Age AdaIN over 100 ages beside the head as it is printed, which makes a map per picture, age and channel.

usage: uv run python benchmarks/daa.py [--quick]
Batches of 8, maps of 8x8, 64 decoder channels, all cores, in training mode; both heads get the same weights and agree before they are
timed, in turn, in one process. forward_speedup is without gradients, step_speedup is forward and backward, both at 512 channels
(ResNet-18) and, as c32_*, at 32 (C3AE). memory_ratio is what a step adds to the process at its peak, ours against theirs, each
in a process of its own at 512 channels. all_over_ten is what all 100 ages cost in use, against 10 sampled ones.
single_* is the same for Eq. 3, a deviation and a mean per channel. Times are the shortest of many: on a shared machine all others also
measure the neighbours. --quick takes one round instead of eleven,
and 64 channels in place of 512.
The last line printed is one JSON object: forward_speedup, forward_ms (of ours), step_speedup, step_ms, memory_ratio, step_mib,
all_over_ten, c32_forward_speedup, c32_step_speedup, single_forward_speedup, single_step_speedup.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from agecascade.models.daa import DaaHead
from memory import peak_mib, reset_peak, resident_mib

AGES, BATCH, SIZE, WIDTH = 100, 8, 8, 64
WIDE, NARROW = 512, 32  # channels of ResNet-18 and of C3AE
THREADS = os.cpu_count() or 2


class LiteralHead(nn.Module):
    """The printed form, on the weights of a head of ours."""

    def __init__(self, head: DaaHead) -> None:
        super().__init__()
        parts = head.decoder
        self.mapping, self.std, self.mean = head.mapping, head.std, head.mean
        self.decoder = nn.Sequential(parts.conv, parts.norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), parts.linear)

    def forward(self, features: Tensor) -> Tensor:  # (B, C, h, w)
        mean = features.mean((2, 3), keepdim=True)
        std = (features.var((2, 3), keepdim=True) + 1e-8).sqrt()
        normal = ((features - mean) / std)[:, None]  # (B, 1, C, h, w)
        styles = (self.std, self.mean) if self.mapping is None else self.mapping()
        s, t = (values.view(AGES, -1, 1, 1) for values in styles)  # (K, 1 or C, 1, 1)
        delta = (s - std[:, None]) * normal + (t - mean[:, None])  # (B, K, C, h, w)
        years = torch.arange(AGES, dtype=features.dtype)
        return (years - self.decoder(delta.flatten(0, 1)).view(delta.shape[:2])).mean(1)  # (B,)


class OurHead(nn.Module):
    """The mean over the ages."""

    def __init__(self, head: DaaHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        return self.head(features).mean(1)


def heads(channels: int, templates: str = "binary") -> tuple[nn.Module, nn.Module, Tensor]:
    """Theirs and ours with the same weights, and features (B, C, h, w)."""
    torch.manual_seed(0)
    head = DaaHead(channels, torch.arange(float(AGES)), templates, width=WIDTH, variance="unbiased")
    features = torch.rand(BATCH, channels, SIZE, SIZE, requires_grad=True)
    if head.of_pictures:
        head.styles = FixedStyles(torch.rand(AGES, channels) + 0.5, torch.rand(AGES, channels))  # type: ignore[method-assign]
        head.std, head.mean = head.styles()
    return LiteralHead(head), OurHead(head), features


class FixedStyles:
    """Fixed styles: those of templates need a pass of the encoder, which is the same for both heads."""

    def __init__(self, std: Tensor, mean: Tensor) -> None:
        self.styles = std, mean

    def __call__(self, templates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.styles


def step(head: nn.Module, features: Tensor) -> None:
    head(features).sum().backward()


@torch.inference_mode()
def forward(head: nn.Module, features: Tensor) -> Tensor:
    return head(features)


def milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def speedup(run: Callable[[nn.Module, Tensor], object], channels: int, rounds: int, templates: str = "binary") -> tuple[float, float]:
    """How many times as long theirs takes, and the milliseconds of ours."""
    theirs, ours, features = heads(channels, templates)
    torch.testing.assert_close(forward(theirs, features), forward(ours, features), rtol=1e-4, atol=1e-3)
    run(theirs, features), run(ours, features)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        times[0].append(milliseconds(lambda: run(theirs, features)))
        times[1].extend(milliseconds(lambda: run(ours, features)) for _ in range(5))
    shortest = [min(each) for each in times]
    print(f"{run.__name__}, {channels} channels, {templates}: {shortest[0]:.1f} ms and {shortest[1]:.2f} ms", file=sys.stderr)
    return round(shortest[0] / shortest[1], 2), round(shortest[1], 2)


def all_over_ten(rounds: int, channels: int) -> float:
    """Time of all ages in use over that of every tenth."""
    ours = heads(channels)[1].head.for_use()
    features = torch.rand(BATCH, channels, SIZE, SIZE)
    times: dict[int, list[float]] = {1: [], 10: []}
    for _ in range(100 * rounds):
        for ours.sampling in times:
            times[ours.sampling].append(milliseconds(lambda: forward(ours, features)))
    return round(min(times[1]) / min(times[10]), 2)


def added_mib(which: int, channels: int) -> float:
    """MiB that the first step of theirs (0) or ours (1) adds to this process at its peak."""
    *both, features = heads(channels)
    step(both[which], features[:2, :, :2, :2])  # warm-up: kernels, threads, gradients
    reset_peak()
    before = resident_mib()
    step(both[which], features)
    return peak_mib() - before


def memory_ratio(channels: int) -> tuple[float, float]:
    """How many times as much theirs adds, and the MiB of ours."""
    theirs, ours = (float(subprocess.check_output([sys.executable, __file__, "--memory", which, str(channels)])) for which in ("0", "1"))
    print(f"memory of a step: {theirs:.0f} MiB and {ours:.1f} MiB", file=sys.stderr)
    return round(theirs / ours, 1), round(ours, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--memory", type=int, nargs=2, metavar=("WHICH", "CHANNELS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.memory is not None:
        print(added_mib(*arguments.memory))
        return
    rounds, wide = (1, 64) if arguments.quick else (11, WIDE)
    figures: dict[str, float] = {}
    figures["forward_speedup"], figures["forward_ms"] = speedup(forward, wide, rounds)
    figures["step_speedup"], figures["step_ms"] = speedup(step, wide, rounds)
    figures["memory_ratio"], figures["step_mib"] = memory_ratio(wide)
    figures["all_over_ten"] = all_over_ten(rounds, wide)
    figures["c32_forward_speedup"], _ = speedup(forward, NARROW, 2 * rounds)
    figures["c32_step_speedup"], _ = speedup(step, NARROW, 2 * rounds)
    figures["single_forward_speedup"], _ = speedup(forward, wide, rounds, "single_channel")
    figures["single_step_speedup"], _ = speedup(step, wide, rounds, "single_channel")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
