"""Measure explanations: occlusion over many faces, beside a plain loop that hides one part of one picture at a time.

usage: uv run python benchmarks/explain.py [--quick]
TinyAgeNet at 64 pixels, 56 hidden parts, with the mirror image, on two threads. The plain loop runs over fewer faces, in turns with ours,
and its time is scaled; its predictions must be the same. The last line printed is one JSON object: occlusion_seconds for 1,000 faces,
occlusion_speedup over the plain loop, occlusion_difference (largest, label units).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from agecascade.augmentation import plain
from agecascade.estimator import FoldModel
from agecascade.explain.occlusion import occlude, windows

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from fold_models import random_model

SIZE, FACES, THREADS = 64, 1000, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 faces, and one by the plain loop")
    quick = parser.parse_args().quick
    print(json.dumps(occlusion_figures(64 if quick else FACES, 1 if quick else 4)))


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


def plain_loop(model: FoldModel, images: np.ndarray) -> np.ndarray:
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


if __name__ == "__main__":
    main()
