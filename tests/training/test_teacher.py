"""Another model's estimates as labels: how they are mixed, which tables are refused, and that tests and validation never see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from agecascade import params
from agecascade.errors import TrainingError
from agecascade.io.files import checksum
from agecascade.loading import Faces
from agecascade.params import Params, Teacher
from agecascade.training.samples import Samples
from agecascade.training.teacher import found_table, predictions, require_teachers, taught
from places import sample_params
from small_sets import random_faces, rolled_splits
from trained_step import trained

STEP, KEY = "target_from_scratch", "cascade.target_from_scratch.teacher"


def samples(*names: str) -> Samples:
    count = len(names)
    label = np.arange(20, 20 + count, dtype=np.float32)
    return Samples(np.array(names), np.zeros((count, 8, 8, 3), np.uint8), label, np.full(count, 2, np.float32))


def teacher(weight: float = 0.5) -> Teacher:
    return Teacher(file="teacher.csv", sha256="0" * 8, weight=weight)


def test_labels_are_mixed_by_weight(tmp_path: Path) -> None:
    """By hand: 0.75 * 20 + 0.25 * 30 = 22.5; 0.75 * 21 + 0.25 * 11 = 18.5."""
    path = tmp_path / "teacher.csv"
    path.write_text("path,face,value,error\nUTKFace.tar.gz/UTKFace/b.jpg.chip.jpg,1,11,\nx/a.jpg,1,30,\nc.jpg,,,no face\n")
    mixed = taught(samples("a", "b"), teacher(0.25), path, KEY, 0, 1)
    assert mixed.label.tolist() == [22.5, 18.5]
    assert mixed.label.dtype == np.float32
    assert mixed.sigma.tolist() == [2, 2]
    with pytest.raises(TrainingError, match=r"teacher.csv has no prediction of 1 of 2 training pictures, c among them"):
        taught(samples("a", "c"), teacher(), path, KEY, 0, 1)


def test_a_table_by_fold_gives_that_of_the_fold(tmp_path: Path) -> None:
    path = tmp_path / "teacher.parquet"
    pd.DataFrame({"sample_id": ["a", "a"], "fold": [0, 1], "prediction": [30.0, 40.0]}).to_parquet(path)
    assert [predictions(path, KEY, fold, 2)["a"] for fold in (0, 1)] == [30, 40]
    with pytest.raises(TrainingError, match="several predictions of a"):
        predictions(path, KEY, 0, 1)
    pd.DataFrame({"sample_id": ["a"], "prediction": [30.0]}).to_parquet(path)
    with pytest.raises(TrainingError, match=r"has no column fold, and a teacher that learned from another fold knows what this one tests"):
        predictions(path, KEY, 0, 2)


@pytest.mark.parametrize(
    ("text", "message"), [("a,b\n1,2\n", "needs a column prediction or value"), ('"', "is no table"), ("", "is no table")]
)
def test_another_table_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "teacher.csv"
    path.write_text(text)
    with pytest.raises(TrainingError, match=message) as error:
        predictions(path, KEY, 0, 1)
    assert str(error.value).startswith(f"{KEY}: ")
    assert "\n" not in str(error.value)


def test_the_table_must_be_there_and_be_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path))
    with pytest.raises(TrainingError, match=r"there is no teacher.csv in archives/ or the mirror"):
        found_table(teacher(), KEY)
    (tmp_path / "teacher.csv").write_text("path,value\n")
    with pytest.raises(TrainingError, match=r"teacher.csv: its SHA-256 differs from 00000000; write what `sha256sum` prints"):
        found_table(teacher(), KEY)


def test_a_missing_teacher_is_told_before_any_stage_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path))
    block = {"file": "teacher.csv", "sha256": "0" * 8, "weight": 0.5}
    with pytest.raises(TrainingError, match=rf"{KEY}: there is no teacher.csv in archives/ or the mirror"):
        require_teachers(study(teacher=block))
    require_teachers(study(teacher=block, epochs=0))
    require_teachers(study())


def test_names_that_a_spreadsheet_would_compute_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "teacher.csv"
    path.write_text("path,value\nfaces/'=1.jpg,20\n'-2.jpg,30\n'quoted.jpg,40\n")
    assert predictions(path, KEY, 0, 1).to_dict() == {"'=1": 20.0, "-2": 30.0, "'quoted": 40.0}


@pytest.fixture
def faces() -> Faces:
    return random_faces(sigma="mixed")


def study(**block: Any) -> Params:
    content = sample_params()
    content |= {"image_size": 32, "compute": {"backend": "local", "workers": 1}, "compare": {"methods": [], "backbones": [], "seeds": []}}
    content["cascade"][STEP] |= {"epochs": 1, "batch_size": 8, **block}
    return params.check(content)


def table(folder: Path, faces: Faces, splits: pd.DataFrame, shift: float) -> dict[str, Any]:
    """The block of a teacher that is off by `shift`, and its table in the mirror: of training pictures alone."""
    learned = splits[splits["role"] == "train"]
    label = dict(zip(faces.sample_id, faces.label, strict=True))
    path = folder / "teacher.parquet"
    learned.assign(prediction=learned["sample_id"].map(label) + shift)[["sample_id", "fold", "prediction"]].to_parquet(path)
    return {"file": path.name, "sha256": checksum(path), "weight": 0.5}


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_a_teacher_who_knows_the_labels_teaches_what_they_do(
    faces: Faces, trainable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit; one who is wrong teaches something else; tested and validated are the labels of the data set in any case."""
    splits = rolled_splits(faces)
    monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path))
    frames = []
    for name, shift in (("without", None), ("right", 0.0), ("wrong", 8.0)):
        folder = tmp_path / name
        folder.mkdir()
        block = {} if shift is None else {"teacher": table(tmp_path, faces, splits, shift)}
        # a grid that is `from:` nothing but the head keeps the general loop, as a teacher does
        trained(study(trainable=trainable, augment="dldl_v2", **block), STEP, faces, splits, folder)
        predicted = folder / "predictions" / STEP
        paths = [predicted / "dldl_v2-tinyagenet-s0.parquet", predicted / "validation" / "dldl_v2-tinyagenet-s0.parquet"]
        frames.append([pq.read_table(path, columns=["sample_id", "fold", "label", "prediction"]).to_pandas() for path in paths])
    without, right, wrong = frames
    for mine, theirs, others in zip(without, right, wrong, strict=True):
        pd.testing.assert_frame_equal(mine, theirs)
        pd.testing.assert_frame_equal(mine.drop(columns="prediction"), others.drop(columns="prediction"))
        assert not np.allclose(mine["prediction"], others["prediction"])
