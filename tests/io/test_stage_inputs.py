"""Which input of a stage is missing or damaged, by dvc.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from agecascade.io.stage_inputs import fault_of, faulty_input, inputs_of, made_in
from agecascade.study import load_safe
from places import ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the sample's pipeline, and the inputs of finetune@target."""
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for path in ("data/aligned/sample_fgnet/part-0.parquet", "data/splits/sample_fgnet.parquet"):
        (tmp_path / path).parent.mkdir(parents=True)
        pq.write_table(pa.table({"a": list(range(100))}), tmp_path / path)
    folder = tmp_path / "models" / "agedb" / "row" / "fold0"
    folder.mkdir(parents=True)
    save_file({"a": np.zeros(10, np.float32)}, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps({"a": 1}))
    return tmp_path


def test_inputs_are_those_of_the_item(root: Path) -> None:
    assert list(inputs_of("finetune", "target", root)) == ["models/agedb", "data/aligned/sample_fgnet", "data/splits/sample_fgnet.parquet"]
    assert list(inputs_of("check", None, root)) == []
    assert list(inputs_of("no_stage", None, root)) == []
    (root / "params.yaml").write_text("{")
    assert list(inputs_of("finetune", "target", root)) == []


def test_whole_inputs_are_not_blamed(root: Path) -> None:
    assert faulty_input("finetune", "target", root) is None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(
    "path",
    [
        "data/aligned/sample_fgnet/part-0.parquet",
        "data/splits/sample_fgnet.parquet",
        "models/agedb/row/fold0/model.safetensors",
        "models/agedb/row/fold0/model.json",
    ],
)
def test_a_file_that_ends_early_is_named(root: Path, path: str, share: float) -> None:
    content = (root / path).read_bytes()
    (root / path).write_bytes(content[: int(share * len(content))])
    line = faulty_input("finetune", "target", root)
    assert line is not None
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith("); remove it, and `dvc repro` makes it again")
    assert "\n" not in line


def test_what_is_missing_is_named(root: Path) -> None:
    (root / "data" / "splits" / "sample_fgnet.parquet").unlink()
    assert faulty_input("finetune", "target", root) == ("data/splits/sample_fgnet.parquet is missing; `dvc repro` makes it again")
    assert fault_of(root / "absent") == "is missing"
    (root / "data" / "aligned" / "sample_fgnet" / "part-0.parquet").unlink()
    assert faulty_input("finetune", "target", root) == "data/aligned/sample_fgnet is empty; `dvc repro finetune@target` makes it first"


def test_what_a_folder_lacks_is_named(root: Path) -> None:
    """regress reads the folder of all splits: one that vanished is not among what the folder holds."""
    for path in ("data/features/agedb.parquet", "data/splits/sample_agedb.parquet"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"a": [1]}), root / path)
    made = list(made_in("data/splits", root))
    assert "data/splits/sample_fgnet.parquet" in made
    assert "data/splits/sample_fgnet.excluded.parquet" in made
    for path in made:
        pq.write_table(pa.table({"a": [1]}), root / path)
    item = next(iter(load_safe((root / "params.yaml").read_text())["regressors"]))
    assert faulty_input("regress", item, root) is None
    (root / "data" / "splits" / "sample_fgnet.parquet").unlink()
    assert faulty_input("regress", item, root) == "data/splits/sample_fgnet.parquet is missing; `dvc repro` makes it again"
