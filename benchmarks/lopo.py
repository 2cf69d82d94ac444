"""Leave one subject out behind a frozen backbone: all 82 folds against one.

usage: uv run python benchmarks/lopo.py [--quick]
1,002 drawn pictures of 82 subjects at 64 px, split as FG-NET is; a TinyAgeNet whose head alone learns, by mode (a) of cascaded
fine-tuning: 20 epochs, batches of 48, learning rate 0.001, without augmentation. A run is a whole step: features, heads, intervals, test
predictions, model folders, and runs in MLflow's SQLite store; importing and reading the pictures is not in it. One fold and all take
turns after a first run that is not counted; --quick has one turn instead of three. Beside them stands one fold as the general loop
trains it, which takes every picture through the backbone in every epoch.
The last line printed is one JSON object: folds_over_one (median over the turns of all folds' time over one fold's), one_seconds,
all_seconds, loop_seconds (one fold by the loop), peak_mib.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
PICTURES, SUBJECTS, SIDE = 1002, 82, 64
STEP = "target"
RECIPE = {"dataset": "fgnet", "init": "scratch", "epochs": 20, "batch_size": 48, "learning_rate": 1e-3, "trainable": "head"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    turns = 1 if parser.parse_args().quick else 3
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "DVC_ROOT": folder}
        figures = measure(Path(folder), turns)
    print(json.dumps(figures))


def measure(folder: Path, turns: int) -> dict[str, float]:
    from agecascade.training import frozen
    from agecascade.training.cascade import initialise

    study, faces = settings(), drawn()
    splits = leave_one_subject_out(faces)
    first = splits[splits["fold"] == 0]
    initialise(study, folder / "models" / "scratch")
    step(study, faces, first, folder)  # what is done once: the store, caches
    seconds: dict[str, list[float]] = {"one": [], "all": []}
    for turn in range(turns):
        for name, folds in (("one", first), ("all", splits)):
            seconds[name].append(step(study, faces, folds, folder))
            print(f"turn {turn + 1}: {folds['fold'].nunique()} folds in {seconds[name][-1]:.2f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with mock.patch.object(frozen, "groups", return_value=[]):
        loop = step(study, faces, first, folder)
    print(f"one fold by the loop: {loop:.2f} s", flush=True)
    ratio = statistics.median(every / one for one, every in zip(seconds["one"], seconds["all"], strict=True))
    medians = {f"{name}_seconds": round(statistics.median(values), 2) for name, values in seconds.items()}
    return {"folds_over_one": round(ratio, 3), **medians, "loop_seconds": round(loop, 2), "peak_mib": round(peak)}


def step(study: Any, faces: Any, splits: pd.DataFrame, folder: Path) -> float:
    """Seconds of one step over these folds; what it wrote is removed."""
    from agecascade.tracking import Tracker
    from agecascade.training.cascade import train_step

    with tempfile.TemporaryDirectory(dir=folder) as outputs:
        start = time.perf_counter()
        out = Path(outputs)
        tracker = Tracker("benchmark", "finetune")
        train_step(study, STEP, faces, splits, folder / "models", out / "models", out / "predictions", tracker, folder / "work")
        return time.perf_counter() - start


def settings() -> Any:
    from agecascade import params

    content = params.read_yaml(ROOT / "studies" / "sample.yaml")
    block = {**content["datasets"]["sample_fgnet"], "protocol": "leave_one_subject_out"}
    recipe = {**RECIPE, "schedule": {"name": "constant"}}
    content |= {"study": "lopo", "image_size": SIDE, "augment": "none", "datasets": {"fgnet": block}, "cascade": {STEP: recipe}}
    content |= {"pretrain": {}, "features": {}, "screen": {}, "regressors": {}, "evaluate": {"target": "fgnet"}}
    return params.check(content)


def drawn() -> Any:
    """Faces as the synthetic writer draws them for FG-NET, the whole pictures at SIDE pixels."""
    from dataclasses import replace

    from agecascade.datasets.synthetic.plans import fgnet
    from agecascade.datasets.synthetic.rendering import Seeds, render
    from agecascade.faces.crops import decode_image
    from agecascade.loading import Faces
    from agecascade.params import Draw

    seeds = Seeds(0, "fgnet")
    plan = fgnet.plan(Draw(pictures=PICTURES, subjects=SUBJECTS), seeds)
    members = list(render(plan.pictures, replace(plan.style, sides=(SIDE, SIDE)), seeds))
    images = np.stack([decode_image(data) for name, data in members if name.endswith(".JPG")])
    label = np.array([min(float(int(picture.age)), 69.0) for picture in plan.pictures])
    subject = np.array([f"{picture.subject:03d}" for picture in plan.pictures])
    return Faces(np.array([f"{i:04d}" for i in range(PICTURES)]), images, label, np.full(PICTURES, np.nan), subject)


def leave_one_subject_out(faces: Any) -> pd.DataFrame:
    from agecascade.splits import split

    table = pd.DataFrame({"sample_id": faces.sample_id, "subject": faces.subject, "label": faces.label, "official": None})
    return split(table, "leave_one_subject_out", 1, 0.0, 0.1, 0).to_pandas()


if __name__ == "__main__":
    main()
