"""Two-stage methods: bio-inspired features beside a loop over OpenCV's filters, extraction beside the forward pass, regressors on 82 folds.

usage: uv run python benchmarks/two_stage.py [--quick]
bif: random pictures of 60 x 44 pixels, in memory, through `Bif` and through a plain loop, picture by picture and filter by filter:
cv2.filter2D, the larger of two scales, cv2.dilate for the maxima; both on all cores, their features compared. The floor is the time that
the multiplications of the convolutions alone take at the speed of a large matrix product in single precision on this machine.
features: TinyAgeNet at 64 px in fp32 on pictures and their mirror images, batches of 256, normalised beforehand; against the stage's work,
from pictures in memory to a Parquet file. lopo: 256 random features (functions of the age plus noise) of 1,002 pictures, 82 subjects: SVR,
OHRank and BFGS-LDL on all folds with their default lists to choose from, two workers. Turns alternate, medians are reported. --quick takes
fewer turns and pictures, and every sixteenth fold, sixteen times whose seconds are reported.
The last line printed is one JSON object: bif_speedup, bif_floor_ratio (time over floor), bif_ms, lopo_seconds (of all three), svr_seconds,
ohrank_seconds, bfgs_ldl_seconds, features_over_forward.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

CORES = os.cpu_count() or 1
os.environ["OMP_NUM_THREADS"] = str(CORES)  # before torch is imported
PICTURES, SUBJECTS, SIZE = 1002, 82, 256
REGRESSORS = ("svr", "ohrank", "bfgs_ldl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    figures = {**measure_bif(3 if quick else 9, 64 if quick else 256), **measure_extraction(3 if quick else 7, 512 if quick else 2048)}
    print(json.dumps({**figures, **measure_lopo(16 if quick else 1)}))


def alternating(turns: int, **runs: Callable[[], Any]) -> dict[str, float]:
    """The median seconds of each, after a first run that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure_bif(turns: int, count: int) -> dict[str, float]:
    import torch

    from agecascade.features import bif

    cv2.setNumThreads(CORES)
    pictures = np.random.default_rng(0).random((count, bif.HEIGHT, bif.WIDTH), np.float32)
    tensor, extract, banks = torch.from_numpy(pictures), bif.Bif(), filters()
    left, right = (torch.randn(2048, 2048) for _ in range(2))
    with torch.inference_mode():
        np.testing.assert_allclose(extract(tensor[:4]).numpy(), [loop(each, banks) for each in pictures[:4]], rtol=1e-3, atol=1e-4)
        runs = {"ours": lambda: extract(tensor), "peer": lambda: [loop(each, banks) for each in pictures], "product": lambda: left @ right}
        seconds = alternating(turns, **runs)
    speed = 2 * 2048**3 / seconds["product"]
    floor = 2 * bif.MULTIPLICATIONS / speed  # of a picture
    ours = seconds["ours"] / count
    times = f"{1e3 * ours:.3f} ms a picture, the loop {1e3 * seconds['peer'] / count:.2f} ms"
    print(f"bif: {times}; floor {1e3 * floor:.3f} ms: {bif.MULTIPLICATIONS / 1e6:.0f} M multiplications at {speed / 1e9:.0f} GFLOP/s")
    return {
        "bif_speedup": round(seconds["peer"] / seconds["ours"], 2),
        "bif_floor_ratio": round(ours / floor, 2),
        "bif_ms": round(1e3 * ours, 3),
    }


def filters() -> list[list[list[np.ndarray]]]:
    """By band, scale and orientation."""
    from agecascade.features import bif

    turns = [index * np.pi / bif.ORIENTATIONS for index in range(bif.ORIENTATIONS)]
    return [[[bif.gabor(*scale, turn).astype(np.float32) for turn in turns] for scale in scales] for scales, _ in bif.BANDS]


def loop(picture: np.ndarray, banks: list[list[list[np.ndarray]]]) -> np.ndarray:
    """The features of one picture, as one would write them with OpenCV."""
    from agecascade.features import bif

    features = []
    for (small, large), (_, side) in zip(banks, bif.BANDS, strict=True):
        step, square = side // 2, np.ones((side, side), np.uint8)
        rows, columns = bif.squares(side)
        for first, second in zip(small, large, strict=True):
            responses = [np.abs(cv2.filter2D(picture, cv2.CV_32F, each, borderType=cv2.BORDER_REFLECT_101)) for each in (first, second)]
            largest = cv2.dilate(np.maximum(*responses), square, anchor=(0, 0))
            features.append(largest[: rows * step : step, : columns * step : step].ravel())
    return np.concatenate(features)


def measure_extraction(turns: int, count: int) -> dict[str, float]:
    import torch

    from agecascade import models
    from agecascade.augmentation import plain
    from agecascade.features import write_features
    from agecascade.features.layers import BATCH, network_features
    from agecascade.loading import Faces
    from agecascade.params import Normalisation

    torch.manual_seed(0)
    network = models.create("tinyagenet").eval()
    channels = Normalisation(mean=[0.6, 0.5, 0.4], std=[0.27, 0.24, 0.24])
    images = np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), np.uint8)
    faces = Faces(np.arange(count).astype(str), images, np.zeros(count), np.full(count, np.nan), np.full(count, ""))
    batch = plain(images[:BATCH], channels)
    views = [batch, batch.flip(3).contiguous(memory_format=torch.channels_last)]

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(count // BATCH):
                for view in views:
                    network.features(view)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.parquet"
        seconds = alternating(
            turns, forward=forward, stage=lambda: write_features(path, faces, network_features(network, images, 64, channels))
        )
    print(f"features: {count / seconds['stage']:.0f} pictures/s, the forward pass alone {count / seconds['forward']:.0f}")
    return {"features_over_forward": round(seconds["stage"] / seconds["forward"], 3)}


def measure_lopo(every: int) -> dict[str, float]:
    from agecascade import regressors
    from agecascade.params import Compute

    features, split = random_features()
    split = split[split["fold"] % every == 0]
    seconds = {}
    for name in REGRESSORS:
        start = time.perf_counter()
        predictions, _, _ = regressors.fit_folds(features, split, regressors.create_regressor(name, {}, seed=0), Compute(workers=2))
        seconds[name] = every * (time.perf_counter() - start)
        frame = predictions.to_pandas()
        print(f"{name}: {seconds[name]:.1f} s, MAE {(frame['prediction'] - frame['label']).abs().mean():.2f}", flush=True)
    return {"lopo_seconds": round(sum(seconds.values()), 1), **{f"{name}_seconds": round(value, 1) for name, value in seconds.items()}}


def random_features() -> Any:
    """Features as a network's pooling gives them, none below zero, and a leave-one-subject-out split."""
    from agecascade.features import Features
    from agecascade.splits import split

    rng = np.random.default_rng(0)
    label = np.minimum(np.floor(rng.gamma(1.6, 10, PICTURES)), 69)
    bumps = np.tanh((label[:, None] - np.arange(0, 70, 10)) / 8)  # (N, 7)
    feature = np.maximum(bumps @ rng.normal(size=(7, SIZE)) + rng.normal(0, 4, (PICTURES, SIZE)), 0).astype(np.float32)
    ids = np.array([f"{i:04}" for i in range(PICTURES)], object)
    subject = [f"{i:02}" for i in rng.permutation(np.arange(PICTURES) % SUBJECTS)]
    table = pd.DataFrame({"sample_id": ids, "subject": subject, "label": label, "official": None})
    return Features(ids, feature, label), split(table, "leave_one_subject_out", 1, 0.0, 0.1, 0).to_pandas()


if __name__ == "__main__":
    main()
