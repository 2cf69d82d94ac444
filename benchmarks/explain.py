"""Measure explanations and the bootstrap: occlusion over many faces beside a plain loop, and the interval of many predictions.

usage: uv run python benchmarks/explain.py [--quick]
Occlusion: TinyAgeNet at 64 pixels, 56 hidden parts, with the mirror image, on two threads. The plain loop hides one part of one picture at
a time over fewer faces, in turns with ours, and its time is scaled; its predictions must be the same. The last line printed is one JSON
object: occlusion_seconds for 1,000 faces, occlusion_speedup over the plain loop, occlusion_difference (largest, label units);
bootstrap_seconds for the interval of the MAE of 20,000 predictions in one fold, 10,000 draws, on one core, and bootstrap_subjects_seconds
for the same over 5,000 subjects: the shortest of five runs, of one with --quick.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from agecascade.augmentation import plain
from agecascade.evaluation.summary import summarise
from agecascade.explain.occlusion import occlude, windows
from agecascade.runtimes.torch_runtime import TorchModel

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from fold_models import random_model

SIZE, FACES, THREADS = 64, 1000, 2
PREDICTIONS, SUBJECTS = 20_000, 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 faces, one of them by the plain loop, and one bootstrap")
    quick = parser.parse_args().quick
    repeats = 1 if quick else 5
    figures = occlusion_figures(64 if quick else FACES, 1 if quick else 4)
    figures["bootstrap_seconds"] = round(bootstrap_seconds(repeats), 3)
    figures["bootstrap_subjects_seconds"] = round(bootstrap_seconds(repeats, SUBJECTS), 3)
    print(json.dumps(figures))


def occlusion_figures(faces: int, by_loop: int) -> dict[str, float]:
    """Seconds for FACES faces, measured over `faces`, and the speedup over the plain loop, measured over `by_loop` in two turns."""
    torch.set_num_threads(THREADS)
    model = random_model("tinyagenet", SIZE, grid=101)
    images = np.random.default_rng(0).integers(0, 256, (faces, SIZE, SIZE, 3), dtype=np.uint8)
    occlude(model, images[:8])  # torch prepares its kernels
    first = _seconds(lambda: plain_loop(model, images[:by_loop]))
    start = time.perf_counter()
    result = occlude(model, images)
    ours = (time.perf_counter() - start) * FACES / faces
    start = time.perf_counter()
    literal = plain_loop(model, images[:by_loop])
    loop = (first + time.perf_counter() - start) / 2 * FACES / by_loop
    difference = float(np.abs(literal - result.hidden[:by_loop]).max())
    if difference > 0.01:
        sys.exit(f"error: the plain loop predicts otherwise, by up to {difference:.3g}")
    return {
        "occlusion_seconds": round(ours, 1),
        "occlusion_speedup": round(loop / ours, 1),
        "occlusion_difference": float(f"{difference:.1g}"),
    }


def plain_loop(model: TorchModel, images: np.ndarray) -> np.ndarray:
    """Predictions (N, 56), one hidden part of one picture at a time, then its mirror image."""
    values = np.empty((len(images), len(windows(SIZE))))
    with torch.inference_mode():
        for row, picture in enumerate(images):
            normalised = plain(picture[None], model.card.channels)
            for number, place in enumerate(windows(SIZE)):
                hidden = normalised.clone()
                hidden[:, :, place.top : place.bottom, place.left : place.right] = 0
                views = (hidden, hidden.flip(3))
                values[row, number] = np.mean([float(model.method.predict(model.network(view))[0]) for view in views])
    return values


def _seconds(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


def bootstrap_seconds(repeats: int, subjects: int | None = None) -> float:
    """Seconds of one row's figures, the shortest of `repeats`; of these, the interval takes nearly all."""
    random = np.random.default_rng(0)
    label = random.uniform(0, 100, PREDICTIONS)
    frame = pd.DataFrame({"sample_id": [f"p{i}" for i in range(PREDICTIONS)], "fold": 0, "label": label, "label_sigma": np.nan})
    frame["prediction"] = label + random.normal(0, 6, PREDICTIONS)
    people = None if subjects is None else pd.Series(random.integers(0, subjects, PREDICTIONS).astype(str), index=frame["sample_id"])
    return shortest(lambda: summarise(frame, [5.0], 0.95, 0, subjects=people), repeats)


def shortest(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
