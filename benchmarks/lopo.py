"""Leave one subject out behind a frozen backbone: all 82 folds against one.

usage: uv run python benchmarks/lopo.py [--quick]
1,002 drawn pictures of 82 subjects, split as FG-NET is; the head alone learns, by mode (a) of cascaded fine-tuning: 20 epochs,
batches of 48, learning rate 0.001, without augmentation. A run is a whole step: features, heads, intervals, test predictions, model
folders, and runs in MLflow's SQLite store; importing and reading the pictures is not in it. ThinAgeNet at 224 px, as DLDL-v2 has it, is
what the ratio is about. One fold looks at the mirror images of its own validation and test pictures alone, 82 folds at all: the backbone
by itself makes the ratio 1.8, and it grows as the backbone shrinks. So TinyAgeNet at 64 px stands beside it (small_...), three turns
after a first run that is not counted, with one fold as the general loop trains it, which takes every picture through the backbone in
every epoch. --quick takes 112 px and one turn.
The last line printed is one JSON object: folds_over_one, one_seconds, all_seconds (ThinAgeNet), small_folds_over_one (median of the turns'
ratios), small_one_seconds, small_all_seconds, small_loop_seconds (one fold by the loop), peak_mib.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from memory import peak_mib

ROOT = Path(__file__).resolve().parent.parent
PICTURES, SUBJECTS = 1002, 82
STEP = "target"
RECIPE = {"dataset": "fgnet", "init": "scratch", "epochs": 20, "batch_size": 48, "learning_rate": 1e-3, "trainable": "head"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "DVC_ROOT": folder}
        small = Task(Path(folder) / "small", "tinyagenet", 64)
        small.step("first")  # warm-up: the store, caches
        figures = {f"small_{name}": value for name, value in small.ratio(1 if quick else 3).items()}
        with mock.patch("agecascade.training.frozen.groups", return_value=[]):
            figures["small_loop_seconds"] = round(small.step("first"), 2)
        figures = Task(Path(folder) / "thin", "thinagenet", 112 if quick else 224).ratio(1) | figures
    print(json.dumps(figures | {"peak_mib": round(peak_mib())}))


class Task:
    """One backbone and size of pictures, and the folds that it is trained on."""

    def __init__(self, folder: Path, backbone: str, side: int) -> None:
        from agecascade.training.initial_weights import initialise

        self.folder, self.side = folder, side
        self.study, self.faces = settings(backbone, side), drawn(side)
        splits = leave_one_subject_out(self.faces)
        self.splits = {"first": splits[splits["fold"] == 0], "all": splits}
        initialise(self.study, folder / "models" / "scratch")

    def ratio(self, turns: int) -> dict[str, float]:
        """All folds' time over one fold's, median over the turns, and the medians of both."""
        seconds: dict[str, list[float]] = {name: [] for name in self.splits}
        for turn in range(turns):
            for name, folds in self.splits.items():
                seconds[name].append(self.step(name))
                print(f"{self.side} px, turn {turn + 1}: {folds['fold'].nunique()} folds in {seconds[name][-1]:.2f} s", flush=True)
        ratio = statistics.median(every / one for one, every in zip(seconds["first"], seconds["all"], strict=True))
        one, every = (round(statistics.median(seconds[name]), 2) for name in ("first", "all"))
        return {"folds_over_one": round(ratio, 3), "one_seconds": one, "all_seconds": every}

    def step(self, folds: str) -> float:
        """Seconds of one step over these folds; what it wrote is removed."""
        from agecascade.tracking.tracker import Tracker
        from agecascade.training.cascade import train_step

        with tempfile.TemporaryDirectory(dir=self.folder) as outputs:
            start = time.perf_counter()
            places = (self.folder / "models", Path(outputs) / "models", Path(outputs) / "predictions")
            train_step(self.study, STEP, self.faces, self.splits[folds], *places, Tracker("benchmark", "finetune"), self.folder / "work")
            return time.perf_counter() - start


def settings(backbone: str, side: int) -> Any:
    from agecascade import params

    content = params.read_yaml(ROOT / "studies" / "sample.yaml")
    block = {**content["datasets"]["sample_fgnet"], "protocol": "leave_one_subject_out"}
    recipe = {**RECIPE, "schedule": {"name": "constant"}}
    content |= {
        "study": "lopo",
        "backbone": backbone,
        "image_size": side,
        "augment": "none",
        "datasets": {"fgnet": block},
        "cascade": {STEP: recipe},
    }
    content |= {"pretrain": {}, "features": {}, "screen": {}, "explain": {}, "regressors": {}, "evaluate": {"target": "fgnet"}}
    return params.check(content)


def drawn(side: int) -> Any:
    """Faces as the synthetic writer draws them for FG-NET, the whole pictures at `side` pixels."""
    from dataclasses import replace

    from agecascade.imaging import decode_image
    from agecascade.loading import Faces
    from agecascade.params import DrawSettings
    from agecascade.synthetic.drawing import render
    from agecascade.synthetic.layouts_names import fgnet
    from agecascade.synthetic.plan import Seeds

    seeds = Seeds(0, "fgnet")
    plan = fgnet(DrawSettings(pictures=PICTURES, subjects=SUBJECTS), seeds)
    members = list(render(plan.pictures, replace(plan.style, sides=(side, side)), seeds))
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
