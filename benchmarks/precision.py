"""Compare the accuracy of bf16 with that of fp32: the first step of a study in both, from the same weights and batches, over seeds.

usage: uv run python benchmarks/precision.py [--quick | --whole] [--seeds 3] [--step NAME]
after `agecascade study utkface && dvc repro scratch split@utkface`: UTKFace 0-116 at 64 px, TinyAgeNet, the study's recipe. By
default it trains on 3,000 of the training pictures for 8 epochs, ten minutes; 3,000 more of them, and the validation pictures, give the
MAE. --whole takes the study's own training and validation pictures and epochs, some hours; --quick one seed, 500 pictures, one epoch.
--step is another step than the first. Trainings run side by side, one on each core, as folds do. The last line printed is one JSON
object: fp32_mae, bf16_mae (means over the seeds, validation pictures), difference (bf16 minus fp32), largest_difference (of a seed), and
fp32, bf16: each seed's MAE.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--step")
    arguments = parser.parse_args()
    size: tuple[int | None, int | None] = (None, None) if arguments.whole else (500, 1) if arguments.quick else (3000, 8)
    seeds = range(1 if arguments.quick else arguments.seeds)
    precisions = ("fp32", "bf16")
    # spawned: torch's threads do not survive a fork; the slower trainings first, so that no core waits at the end
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        runs = [(precision, seed) for precision in precisions for seed in seeds]
        mae_of_run = dict(zip(runs, pool.map(mae_of, runs, [size] * len(runs), [arguments.step] * len(runs)), strict=True))
    maes = {precision: np.array([mae_of_run[precision, seed] for seed in seeds]) for precision in precisions}
    difference = maes["bf16"] - maes["fp32"]
    figures: dict[str, Any] = {f"{precision}_mae": round(float(values.mean()), 4) for precision, values in maes.items()}
    figures |= {"difference": round(float(difference.mean()), 4), "largest_difference": round(float(np.abs(difference).max()), 4)}
    print(json.dumps(figures | {precision: values.round(4).tolist() for precision, values in maes.items()}))


def mae_of(run: tuple[str, int], size: tuple[int | None, int | None], step: str | None) -> float:
    """The MAE of the validation pictures after a training of so many pictures and epochs, None for the study's own."""
    import pandas as pd
    import torch

    from agecascade import metrics, params
    from agecascade.augmentation import Augmenter
    from agecascade.inference import predict_values
    from agecascade.loading import load_faces
    from agecascade.training.jobs import from_init, jobs_of, samples_of
    from agecascade.training.loop import train

    (precision, seed), (pictures, epochs) = run, size
    torch.set_num_threads(1)
    study = params.load()
    step = step or next(iter(study.cascade))
    name = study.cascade[step].dataset
    faces = load_faces(Path("data/aligned", name), study.image_size)
    splits = pd.read_parquet(f"data/splits/{name}.parquet")
    job = next(jobs_of(study, step, faces, splits, Path("models")))
    role = splits[splits["fold"] == job.fold].set_index("sample_id")["role"].reindex(faces.sample_id).to_numpy()
    train_rows, validation_rows = np.flatnonzero(role == "train"), np.flatnonzero(role == "validation")
    if pictures:
        shuffled = np.random.default_rng(0).permutation(train_rows)
        train_rows = np.sort(shuffled[:pictures])
        validation_rows = np.sort(np.concatenate([validation_rows, shuffled[pictures : 2 * pictures]]))
    training, validation = (samples_of(job, faces, faces.take(rows)) for rows in (train_rows, validation_rows))
    recipe = job.recipe.model_copy(update={"epochs": epochs or job.recipe.epochs, "select": "last"})
    network, method, card = from_init(job, job.card), job.card.objective(), job.card
    augmenter = Augmenter(job.augment, job.card.channels)
    for record in train(network, method, training, validation, recipe, augmenter, seed=[seed, *job.random_seed[1:]], precision=precision):
        progress = f"{precision}, seed {seed}, epoch {record['epoch']:.0f}: validation MAE {record['validation_error']:.3f}"
        print(progress, file=sys.stderr, flush=True)
    value, _ = predict_values(network, method, validation.images, card.image_size, card.channels, card.flip)
    return float(metrics.mae(value, validation.label))


if __name__ == "__main__":
    main()
