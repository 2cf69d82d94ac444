"""The stages split and regress on a data set of their own, as DVC runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from agecascade import params, schema
from agecascade.files import write_table

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working folder with the sample's params, and a manifest, aligned faces and features of its target."""
    content = params.read_yaml(ROOT / "studies" / "sample.yaml")
    content["regressors"] = {"svr": {"features": "agedb", "options": {"C": [0.1, 1.0]}}}
    (tmp_path / "params.yaml").write_text("")
    YAML().dump(content, tmp_path / "params.yaml")
    rng = np.random.default_rng(0)
    ids = [f"{i:03}" for i in range(101)]
    label = rng.uniform(0, 69, 101)
    known = {"label": label, "subject": [f"s{i // 5:02}" for i in range(101)]}
    write_table(tmp_path / "data/manifest/sample_fgnet.parquet", filled(schema.MANIFEST, {"sample_id": ids, "member": ids, **known}))
    # the last picture had no face
    faces = filled(
        schema.ALIGNED, {"sample_id": ids, "image": [b""] * 101, "width": [1] * 101, "height": [1] * 101, "detector": ids, **known}
    )
    write_table(tmp_path / "data/aligned/sample_fgnet/part-000.parquet", faces.slice(0, 60))
    write_table(tmp_path / "data/aligned/sample_fgnet/part-001.parquet", faces.slice(60, 40))
    feature = (np.outer(label - 30, rng.normal(size=8)) + rng.normal(0, 10, (101, 8))).astype(np.float32)
    table = filled(schema.FEATURES, {"sample_id": ids, "feature": list(feature), "label": label})
    write_table(tmp_path / "data/features/agedb.parquet", table.slice(0, 100))
    return tmp_path


def filled(kind: pa.Schema, columns: dict[str, list]) -> pa.Table:
    """A table of a schema whose further columns are empty."""
    rows = len(next(iter(columns.values())))
    return pa.table({field.name: pa.array(columns.get(field.name, [None] * rows), field.type) for field in kind}, schema=kind)


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
    regress_run = run(work, "regress", "svr")
    assert regress_run.returncode == 0, regress_run.stderr
    predictions = pq.read_table(work / "data/predictions/regress/svr.parquet")
    assert predictions.schema.equals(schema.PREDICTIONS)
    frame = predictions.to_pandas()
    assert sorted(frame["sample_id"]) == [f"{i:03}" for i in range(100)]
    assert (frame["prediction"] - frame["label"]).abs().mean() < 5
    choices = pd.read_csv(work / "data/predictions/regress/svr.csv")
    assert choices.groupby("fold")["chosen"].sum().tolist() == [1] * 5


def test_too_many_folds_end_the_stage_with_one_line_naming_the_key(work: Path):
    content = params.read_yaml(work / "params.yaml")
    content["datasets"]["sample_fgnet"]["folds"] = 50
    YAML().dump(content, work / "params.yaml")
    result = run(work, "split", "sample_fgnet")
    assert result.returncode == 1
    expected = "error: datasets.sample_fgnet.folds: 50 asked for, but subject_kfold over 20 subjects needs 2 to 20"
    assert result.stderr.strip() == expected
    assert not (work / "data/splits").exists()
