"""Data of any size for `growth.py`: an archive in AgeDB's layout, the study that takes it, and predictions of its test pictures."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
NAME, STEP, FEATURES = "faces", "target", "pooled"
SIDE, CROP = 64, 32  # pixels of a picture, and of what the networks see
FACES, FIELDS = 200, 1024  # drawn faces; soft patterns that are added to them, two to each picture
PER_SUBJECT = 30  # pictures
QUALITY, LOWER_QUALITY = 88, 60
AGAIN = 50  # of so many pictures one is the same file as the picture before it, and one is that picture compressed anew
ROW = "dldl_v2-tinyagenet-s0"
GRID = list(range(101))


def write_archive(path: Path, count: int) -> None:
    """AgeDB.zip with `count` pictures of 64 pixels. They are drawn faces under soft patterns, so that hardly two are near copies, but
    4 % are a copy or the original of one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, data in enumerate(_pictures(count)):
            archive.writestr(zipfile.ZipInfo(f"AgeDB/{_name(number)}.jpg", (1980, 1, 1, 0, 0, 0)), data)


def _name(number: int) -> str:
    subject = number // PER_SUBJECT
    return f"{number}_Name{subject}_{1 + (37 * number + subject) % 100}_{'fm'[subject % 2]}"


def _pictures(count: int) -> Iterator[bytes]:
    import cv2

    faces, fields = _faces(), _fields()
    random = np.random.default_rng(0)
    image, data = faces[0].astype(np.uint8), b""
    for number in range(count):
        kind = number % AGAIN
        if kind != AGAIN - 1:  # the last of AGAIN is the same file once more
            if kind != AGAIN - 2:
                one, two = random.integers(FIELDS, size=2)
                image = np.clip(faces[random.integers(FACES)] + fields[one] + fields[two].transpose(1, 0, 2), 0, 255).astype(np.uint8)
            quality = LOWER_QUALITY if kind == AGAIN - 2 else QUALITY
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        yield data


@lru_cache(1)
def _faces() -> np.ndarray:
    """(FACES, SIDE, SIDE, 3) BGR int16, as the synthetic writer draws AgeDB's."""
    from dataclasses import replace

    from agecascade.imaging import decode_image
    from agecascade.params import DrawSettings
    from agecascade.synthetic.drawing import render
    from agecascade.synthetic.layouts_names import agedb
    from agecascade.synthetic.plan import Seeds

    seeds = Seeds(0, "agedb")
    plan = agedb(DrawSettings(pictures=FACES, subjects=40), seeds)
    pictures = [replace(picture, fault="") for picture in plan.pictures]
    members = render(pictures, replace(plan.style, sides=(SIDE, SIDE)), seeds)
    return np.stack([decode_image(data)[..., ::-1] for _, data in members]).astype(np.int16)


@lru_cache(1)
def _fields() -> np.ndarray:
    """(FIELDS, SIDE, SIDE, 3) int16, smooth, of grey: they change the lowest frequencies, of which perceptual hashes are made."""
    import cv2

    random = np.random.default_rng(1)
    coarse = random.normal(0, 22, (FIELDS, 12, 12)).astype(np.float32)
    fine = np.stack([cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for each in coarse])
    return np.repeat(fine[..., None], 3, axis=3).astype(np.int16)


def write_study(folder: Path, workers: int) -> None:
    """params.yaml: one data set, one step of one epoch, its features and a ridge regression; pictures are streamed."""
    from ruamel.yaml import YAML

    from agecascade import params

    content = params.read_yaml(ROOT / "studies" / "sample.yaml")
    block = {
        **{key: value for key, value in content["datasets"]["sample_agedb"].items() if key != "draw"},
        "origin": "publisher",
        "protocol": "subject_exclusive",
        "duplicates": "near",
    }
    recipe = {**content["cascade"]["target"], "dataset": NAME, "init": "scratch", "epochs": 1, "batch_size": 64}
    content |= {
        "study": "growth",
        "datasets": {NAME: block},
        "compute": {**content["compute"], "workers": workers, "cache_gib": 0},
        "cascade": {STEP: recipe},
        "features": {FEATURES: {"dataset": NAME, "step": STEP}},
        "regressors": {"ridge": {"features": FEATURES, "options": {"alpha": [10.0, 1000.0]}}},
        "evaluate": {**content["evaluate"], "target": NAME},
    }
    content |= {"pretrain": {}, "screen": {}, "explain": {}}
    params.check(content)
    stream = io.StringIO()
    YAML().dump(content, stream)
    (folder / "params.yaml").write_text(stream.getvalue(), encoding="utf-8")


def write_predictions(data: Path, trained: Path) -> None:
    """Predictions of a network for the test and the validation pictures of the split, normal around the label; metadata as trained.

    data: the outputs of the stages; trained: the folder of predictions of the step that was trained.
    """
    import pyarrow.parquet as pq

    split = pq.read_table(data / "splits" / f"{NAME}.parquet", columns=["sample_id", "role"]).to_pandas()
    labels = pq.read_table(data / "manifest" / f"{NAME}.parquet", columns=["sample_id", "label"]).to_pandas()
    for role, place in (("test", "."), ("validation", "validation")):
        rows = split[split["role"] == role].merge(labels, on="sample_id")
        metadata = pq.read_metadata(trained / place / f"{ROW}.parquet").metadata
        known = {key: value for key, value in metadata.items() if not key.startswith((b"ARROW", b"pandas"))}
        assert json.loads(known[b"grid"]) == GRID
        _write_rows(data / "predictions" / STEP / place / f"{ROW}.parquet", rows, known, intervals=role == "test")


def _write_rows(path: Path, rows: Any, metadata: dict[bytes, bytes], intervals: bool) -> None:
    """rows: sample_id, label; written batch by batch."""
    import pyarrow as pa

    from agecascade.io.files import write_batches
    from agecascade.schema import PREDICTIONS

    schema, random = PREDICTIONS.with_metadata(metadata), np.random.default_rng(2)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), 16_384):
            part = rows.iloc[start : start + 16_384]
            label = part["label"].to_numpy()
            centre = np.clip(label + random.normal(0, 6, len(label)), 0, GRID[-1])
            p = np.exp(-0.5 * np.square((np.array(GRID)[None] - centre[:, None]) / 6)).astype(np.float32)
            p /= p.sum(axis=1, keepdims=True)
            columns = {
                "sample_id": part["sample_id"],
                "fold": np.zeros(len(label), np.int32),
                "label": label,
                "prediction": p @ np.array(GRID, np.float64),
                "distribution": list(p),
            }
            if intervals:
                columns |= {"low": centre - 8, "high": centre + 8, "low_95": centre - 12, "high_95": centre + 12}
            yield pa.record_batch([pa.array(columns.get(field.name, [None] * len(label)), field.type) for field in schema], schema=schema)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_batches(path, batches(), schema)
