"""A step that trains the head alone: the same outputs as fold by fold, each picture extracted once, and interruptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from agecascade import params
from agecascade.loading import Faces
from agecascade.params import Augment, Params
from agecascade.training import frozen
from agecascade.training.frozen import HeadTrainings
from places import sample_params
from small_sets import random_faces
from trained_step import trained

STEP = "target_from_scratch"
FOLDS = 3


@pytest.fixture
def study() -> Params:
    content = sample_params()
    content |= {"image_size": 32, "augment": "none", "compute": {"backend": "local", "workers": 1}}
    content["compare"]["methods"] = ["dex"]
    content["cascade"][STEP] |= {"epochs": 2, "batch_size": 6, "trainable": "head"}
    return params.check(content)


@pytest.fixture
def faces() -> Faces:
    return random_faces(30, sigma="mixed")


@pytest.fixture
def splits(faces: Faces) -> pd.DataFrame:
    """Folds of unequal size."""
    parts = []
    for fold in range(FOLDS):
        roles = np.roll(np.array(["train"] * (14 + fold) + ["validation"] * 6 + ["test"] * (10 - fold)), 9 * fold)
        parts.append(pd.DataFrame({"sample_id": faces.sample_id, "fold": fold, "role": roles}))
    return pd.concat(parts, ignore_index=True)


def require_same(actual: Any, expected: Any) -> None:
    """Equal but for the last digits of numbers."""
    if isinstance(expected, dict):
        assert set(actual) == set(expected)
        for key, value in expected.items():
            require_same(actual[key], value)
    else:
        assert actual == (pytest.approx(expected, rel=1e-4, abs=1e-5) if isinstance(expected, float) else expected)


def test_the_outputs_are_those_of_fold_by_fold(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = trained(study, STEP, faces, splits, tmp_path / "together")
    monkeypatch.setattr(frozen, "groups", lambda jobs: [])
    alone = trained(study, STEP, faces, splits, tmp_path / "alone")
    files = sorted(path.relative_to(alone) for path in alone.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(together) for path in together.rglob("*") if path.is_file())
    assert len(files) == 2 * (FOLDS * 3 + 1)  # with a model card for each row
    for file in files:
        if file.suffix == ".json":
            ours, theirs = (json.loads((folder / file).read_text()) for folder in (together, alone))
            assert set(ours.pop("sha256")) == set(theirs.pop("sha256"))
            require_same(ours, theirs)
        elif file.suffix == ".csv":
            pd.testing.assert_frame_equal(pd.read_csv(together / file), pd.read_csv(alone / file), rtol=1e-4)
        elif file.suffix == ".safetensors":
            ours, theirs = load_file(together / file), load_file(alone / file)
            assert set(ours) == set(theirs)
            assert all(np.abs(ours[name] - theirs[name]).max() <= 1e-5 for name in theirs), file
    rows = [path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone" / "predictions").rglob("*.parquet")]
    assert len(rows) == 4  # of test and of validation pictures
    for path in rows:
        ours, theirs = (pq.read_table(folder / path) for folder in (tmp_path / "together", tmp_path / "alone"))
        assert ours.schema.equals(theirs.schema)
        pd.testing.assert_frame_equal(ours.to_pandas(), theirs.to_pandas(), rtol=1e-3, atol=1e-5)
    assert not [path for path in (tmp_path / "together" / "work").iterdir() if "-features-" in path.name]


def test_rows_that_start_from_one_model_share_its_features(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted: list[int] = []
    real = HeadTrainings._write_features

    def counted(self: Any, path: Path, network: Any, job: Any, rows: np.ndarray, mirror: bool) -> None:
        extracted.append(len(rows))
        real(self, path, network, job, rows, mirror)

    monkeypatch.setattr(HeadTrainings, "_write_features", counted)
    trained(study, STEP, faces, splits, tmp_path)
    tested = splits[splits["role"] != "train"]["sample_id"].nunique()
    assert extracted == [30, tested]  # two rows, three folds


def test_an_interrupted_step_extracts_no_picture(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = trained(study, STEP, faces, splits, tmp_path / "undisturbed")

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(HeadTrainings, "_write_fold", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(study, STEP, faces, splits, tmp_path)
    assert not (tmp_path / "models" / STEP).exists()
    monkeypatch.setattr(HeadTrainings, "_write_features", killed)
    resumed = trained(study, STEP, faces, splits, tmp_path)
    for path in undisturbed.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (resumed / path.relative_to(undisturbed)).read_bytes(), path


def test_pictures_that_change_and_backbones_that_learn_go_fold_by_fold(study: Params, faces: Faces, splits: pd.DataFrame) -> None:
    assert frozen.unchanging(Augment.model_validate("none"))
    assert not frozen.unchanging(Augment.model_validate({"preset": "none", "flip": 0.5}))
    assert not frozen.unchanging(study.augment.model_copy(update={"jitter": 0.1}))


def test_a_step_may_leave_its_pictures_unchanged_by_itself(study: Params) -> None:
    content = study.model_dump(by_alias=True)
    content["augment"] = {"preset": "dldl_v2"}
    content["cascade"][STEP]["augment"] = "none"
    checked = params.check(content)
    recipe = checked.cascade[STEP].recipe("tinyagenet")
    assert recipe.augment is not None
    assert frozen.unchanging(recipe.augment)
    assert not frozen.unchanging(checked.augment)
