"""A small project whose one training stage is ready to run: what tests of stages share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from agecascade import params
from agecascade.schema import ALIGNED, SPLITS
from agecascade.training.initial_weights import initialise
from places import ROOT, sample_params

STEP = "target_from_scratch"
OUTER = {"DVC_ROOT", "MLFLOW_TRACKING_URI", "AGECASCADE_MIRROR", "DVC_EXP_NAME"}  # variables of whoever runs the tests


def prepare(folder: Path, pictures: int = 96, **changes: Any) -> None:
    """Write params.yaml, aligned faces, splits of two folds and the initial networks; `changes` go to the step."""
    content = sample_params()
    content["cascade"][STEP] |= {"batch_size": 8, **changes}
    YAML().dump(content, folder / "params.yaml")
    random = np.random.default_rng(0)
    label = random.integers(0, 70, pictures).astype(float)
    images = np.clip(label[:, None, None, None] * 3 + random.normal(0, 20, (pictures, 32, 32, 3)), 0, 255).astype(np.uint8)
    ids = [f"p{index:03d}" for index in range(pictures)]
    columns = {field.name: [None] * pictures for field in ALIGNED} | {
        "sample_id": ids,
        "image": [cv2.imencode(".png", image)[1].tobytes() for image in images],
        "width": [32] * pictures,
        "height": [32] * pictures,
        "detector": ["whole"] * pictures,
        "label": label,
        "subject": [f"s{index % 8}" for index in range(pictures)],
    }
    aligned, splits = folder / "data" / "aligned" / "sample_fgnet", folder / "data" / "splits"
    for place in (aligned, splits):
        place.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=ALIGNED), aligned / "part-00000.parquet")
    roles = np.resize(["train", "train", "validation", "test"], pictures)
    rows = [
        {"sample_id": name, "protocol": "subject_kfold", "fold": fold, "role": role}
        for fold in range(2)
        for name, role in zip(ids, np.roll(roles, fold), strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SPLITS), splits / "sample_fgnet.parquet")
    initialise(params.load(folder / "params.yaml"), folder / "models" / "scratch")


def result_of(script: str, *arguments: str) -> dict[str, Any]:
    """The JSON object that a script of tests/support prints last, run in a process of its own, without the variables of OUTER."""
    support = ROOT / "tests" / "support"
    inherited = {key: value for key, value in os.environ.items() if key not in OUTER}
    ended = subprocess.run(
        [sys.executable, str(support / script), *arguments],
        env={**inherited, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{support}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:] + ended.stdout[-4000:]
    content: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return content


def start(folder: Path, *launcher: str, **environment: str) -> subprocess.Popen[str]:
    """The stage's script in `folder`, its outputs removed before, as DVC does; under a launcher, or Python alone."""
    for output in (f"models/{STEP}", f"data/predictions/{STEP}"):
        shutil.rmtree(folder / output, ignore_errors=True)
    outer = {"DVC_ROOT", "MLFLOW_TRACKING_URI", "DVC_EXP_NAME"}
    inherited = {key: value for key, value in os.environ.items() if key not in outer}
    inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    return subprocess.Popen(
        [*(launcher or [sys.executable]), str(ROOT / "pipeline" / "finetune.py"), STEP],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(running: subprocess.Popen[str]) -> str:
    """What a started stage says; it must succeed."""
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said[-4000:]
    return said


def results(folder: Path) -> dict[str, bytes]:
    """All that the stage wrote."""
    paths = [path for place in (f"models/{STEP}", f"data/predictions/{STEP}") for path in (folder / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
