"""Models in MLflow: logged with signature and example, found again under the alias, with the same answers."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest

from agecascade.report.registry import log_model
from agecascade.tracking import Tracker
from model_folders import SIZE, write_model


@pytest.mark.filterwarnings("ignore")
def test_the_champion_answers_as_the_model_folder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for fold, peak in ((0, 3), (1, 5)):
        write_model(tmp_path / "row" / f"fold{fold}", peak, fold=fold)
    tracker = Tracker("sample", "evaluate")
    with tracker.model_run("a", {}, {}) as run:
        pass
    assert run.run_id is not None
    assert log_model(tmp_path / "row", run.run_id, "agecascade-sample", register=True) == "models:/agecascade-sample@champion"
    model = mlflow.pyfunc.load_model("models:/agecascade-sample@champion")
    frame = model.predict(np.zeros((2, SIZE, SIZE, 3), np.uint8))
    np.testing.assert_allclose(frame[["value", "low", "high"]], [[40, 38, 42]] * 2, atol=1e-3)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, SIZE, SIZE, 3)
    assert model.input_example is not None
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(np.zeros((2, SIZE + 1, SIZE, 3), np.uint8))
