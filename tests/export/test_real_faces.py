"""A study's evaluated predictions are those of its exported models: on the whole UTKFace test split, where AGECASCADE_STUDY has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agecascade.estimator import Estimator
from agecascade.export import export
from agecascade.export.pictures import faces_of
from agecascade.model_folder import read_card

pytestmark = pytest.mark.slow
STEP, DATA = "age_0_116", "utkface"


@pytest.fixture(scope="module")
def study() -> Path:
    """The folder of a finished study whose step `age_0_116` (of `released`, say) was trained and tested on UTKFace."""
    folder = Path(os.environ.get("AGECASCADE_STUDY", "nowhere"))
    if not (folder / "data" / "predictions" / STEP).is_dir():
        pytest.skip("AGECASCADE_STUDY names no folder of a finished study with a step age_0_116 on UTKFace")
    return folder


@pytest.mark.parametrize("kind", ["onnx", "int8"])
def test_the_exported_model_answers_as_it_was_evaluated(kind: str, study: Path, tmp_path: Path) -> None:
    (row,) = (study / "models" / STEP).iterdir()
    trained, faces = Estimator.load(row, "cpu"), study / "data" / "aligned" / DATA
    folder = tmp_path / "model"
    folder.mkdir()
    list(export(trained, kind, folder, faces, faces))
    table = pq.read_table(study / "data" / "predictions" / STEP / f"{row.name}.parquet", columns=["label", "prediction"]).to_pandas()
    test = faces_of(faces, read_card(folder), "test", 100_000, trained, aligned=True)
    assert test.label is not None
    assert len(test.images) == len(table) > 1000
    frame = Estimator.load(folder).predict(test.images, aligned=True)
    mae, evaluated = np.abs(frame["value"] - test.label).mean(), np.abs(table["prediction"] - table["label"]).mean()
    if kind == "onnx":
        np.testing.assert_allclose(np.sort(frame["value"]), np.sort(table["prediction"]), atol=1e-3)
        assert mae == pytest.approx(evaluated, abs=1e-3)
    else:
        assert mae - evaluated < 0.03
        assert (folder / "model.onnx").stat().st_size < 1.1e6
