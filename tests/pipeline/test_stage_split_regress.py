"""The stages split and regress on a data set of their own, as DVC runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from agecascade import params, schema
from agecascade.io.files import write_table
from aligned_parts import aligned, filled
from places import ROOT, sample_params


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working folder with the sample's params, and a manifest, aligned faces and features of its target."""
    content = sample_params()
    content["regressors"] = {"svr": {"features": "agedb", "options": {"C": [0.1, 1.0]}}}
    (tmp_path / "params.yaml").write_text("")
    YAML().dump(content, tmp_path / "params.yaml")
    rng = np.random.default_rng(0)
    ids = [f"{i:03}" for i in range(101)]
    label = rng.uniform(0, 69, 101)
    known = {"label": label, "subject": [f"s{i // 5:02}" for i in range(101)]}
    write_table(tmp_path / "data/manifest/sample_fgnet.parquet", filled(schema.MANIFEST, {"sample_id": ids, "member": ids, **known}))
    # the last picture had no face
    faces = aligned(ids, HASHES, known)
    write_table(tmp_path / "data/aligned/sample_fgnet/part-000.parquet", faces.slice(0, 60))
    write_table(tmp_path / "data/aligned/sample_fgnet/part-001.parquet", faces.slice(60, 40))
    feature = (np.outer(label - 30, rng.normal(size=8)) + rng.normal(0, 10, (101, 8))).astype(np.float32)
    table = filled(schema.FEATURES, {"sample_id": ids, "feature": list(feature), "label": label})
    write_table(tmp_path / "data/features/agedb.parquet", table.slice(0, 100))
    return tmp_path


HASHES = np.random.default_rng(7).integers(0, 2**63, 101)  # no two are near


def change(work: Path, **keys: Any) -> None:
    """Change the settings of the data set in params.yaml."""
    content = params.read_yaml(work / "params.yaml")
    content["datasets"]["sample_fgnet"] |= keys
    YAML().dump(content, work / "params.yaml")


def run(work: Path, stage: str, item: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "pipeline" / f"{stage}.py", item]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)


def test_from_aligned_faces_to_predictions(work: Path):
    split_run = run(work, "split", "sample_fgnet")
    assert split_run.returncode == 0, split_run.stderr
    split = pq.read_table(work / "data/splits/sample_fgnet.parquet")
    assert split.schema.equals(schema.SPLITS)
    assert split.num_rows == 5 * 100
    assert "100" not in split["sample_id"].to_pylist()
    assert pq.read_table(work / "data/splits/sample_fgnet.excluded.parquet").num_rows == 0
    report = json.loads((work / "metrics/splits/sample_fgnet.json").read_text())
    assert (report["pictures"], report["excluded"], report["apart_from"], report["folds"]) == (100, {}, {}, 5)
    assert report["leaks"]["test"] == {"subjects": 0, "exact": 0, "near": 0}
    regress_run = run(work, "regress", "svr")
    assert regress_run.returncode == 0, regress_run.stderr
    predictions = pq.read_table(work / "data/predictions/regress/svr.parquet")
    assert predictions.schema.equals(schema.PREDICTIONS)
    frame = predictions.to_pandas()
    assert sorted(frame["sample_id"]) == [f"{i:03}" for i in range(100)]
    assert (frame["prediction"] - frame["label"]).abs().mean() < 5
    choices = pd.read_csv(work / "data/predictions/regress/svr/choices.csv")
    assert choices.groupby("fold")["chosen"].sum().tolist() == [1] * 5


def test_too_many_folds_end_the_stage_with_one_line_naming_the_key(work: Path):
    change(work, folds=50)
    result = run(work, "split", "sample_fgnet")
    assert result.returncode == 1
    expected = "error: datasets.sample_fgnet.folds: 50 asked for, but subject_kfold over 20 subjects needs 2 to 20"
    assert result.stderr.strip() == expected
    assert not (work / "data/splits").exists()


def test_copies_within_and_across_data_sets_are_left_out(work: Path):
    """Picture 3 is near to 2, and 5 to a picture of the other data set, of which 6 is the file."""
    change(work, duplicates="near", apart_from=["sample_agedb"], protocol="random", folds=1, test=0.2)
    hashes = HASHES.copy()
    hashes[3] = hashes[2] ^ 0b101
    known = pq.read_table(work / "data/manifest/sample_fgnet.parquet").select(["label", "subject"]).slice(0, 100).to_pydict()
    faces = aligned([f"{i:03}" for i in range(100)], hashes[:100], known)
    for part in (work / "data/aligned/sample_fgnet").iterdir():
        part.unlink()
    write_table(work / "data/aligned/sample_fgnet/part-000.parquet", faces)
    other = aligned(["x", "y"], hashes[[5, 50]] ^ np.array([1, 0xFFFFFF]), {"label": [1.0, 2.0], "subject": ["s", "s"]})
    other = other.set_column(other.schema.get_field_index("digest"), schema.ALIGNED.field("digest"), pa.array([1000, 6], pa.int64()))
    write_table(work / "data/aligned/sample_agedb/part-000.parquet", other)
    result = run(work, "split", "sample_fgnet")
    assert result.returncode == 0, result.stderr
    excluded = pq.read_table(work / "data/splits/sample_fgnet.excluded.parquet")
    assert excluded.schema.equals(schema.REJECTS)
    assert excluded.to_pylist() == [
        {"member": "003", "reason": "near_duplicate", "detail": "2 of 63 bits from 002"},
        {"member": "005", "reason": "duplicate_of_sample_agedb", "detail": "1 of 63 bits from x"},
        {"member": "006", "reason": "duplicate_of_sample_agedb", "detail": "the same file as y"},
    ]
    split = pq.read_table(work / "data/splits/sample_fgnet.parquet")
    assert sorted(split["sample_id"].to_pylist()) == [f"{i:03}" for i in range(100) if i not in (3, 5, 6)]
    report = json.loads((work / "metrics/splits/sample_fgnet.json").read_text())
    assert report["excluded"] == {"duplicate_of_sample_agedb": 2, "near_duplicate": 1}
    assert report["apart_from"] == {"sample_agedb": {"exact": 1, "near": 1}}
    assert report["leaks"]["test"]["near"] == 0
    assert report["leaks"]["test"]["subjects"] > 0


def test_copies_that_stay_are_counted(work: Path):
    change(work, protocol="random", folds=1, test=0.5)
    for part in (work / "data/aligned/sample_fgnet").iterdir():
        table = pq.read_table(part)
        column = pa.array([7] * table.num_rows, pa.int64())
        write_table(part, table.set_column(table.schema.get_field_index("hash"), schema.ALIGNED.field("hash"), column))
    result = run(work, "split", "sample_fgnet")
    assert result.returncode == 0, result.stderr
    report = json.loads((work / "metrics/splits/sample_fgnet.json").read_text())
    assert report["leaks"]["test"]["near"] == report["test"] == 50


def test_a_data_set_cannot_be_apart_from_itself(work: Path):
    change(work, apart_from=["sample_fgnet"])
    result = run(work, "split", "sample_fgnet")
    assert result.returncode == 1
    assert result.stderr.strip() == "error: params.yaml: datasets.sample_fgnet.apart_from: it names sample_fgnet itself; leave that out"


def test_aligned_faces_of_the_other_data_set_must_be_there(work: Path):
    change(work, apart_from=["sample_agedb"])
    result = run(work, "split", "sample_fgnet")
    assert result.returncode == 1
    assert result.stderr.strip() == "error: data/aligned/sample_agedb holds no aligned faces; run the align stage"
    assert not (work / "data/splits").exists()
