"""Models in MLflow: logged with signature and example, found again under the alias, with the same answers; served, and predicted with."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from agecascade.errors import ModelError
from agecascade.estimator import Estimator
from agecascade.imaging import encode_image
from agecascade.report.registry import log_model
from agecascade.tracking import Tracker
from model_folders import SIZE, write_model

ADDRESS = "models:/agecascade-sample@champion"


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a model of two folds, whose values are 30 and 50 years."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for fold, peak in ((0, 3), (1, 5)):
        write_model(tmp_path / "row" / f"fold{fold}", peak, fold=fold)
    tracker = Tracker("sample", "evaluate")
    with tracker.model_run("a", {}, {}) as run:
        pass
    assert run.run_id is not None
    return log_model(tmp_path / "row", run.run_id, "agecascade-sample", register=True)


def crop() -> bytes:
    return encode_image(np.full((SIZE, SIZE, 3), 90, np.uint8), "png", 100)


@pytest.mark.filterwarnings("ignore")
def test_the_champion_answers_as_the_model_folder_does(registered: str) -> None:
    assert registered == ADDRESS
    model = mlflow.pyfunc.load_model(registered)
    frame = model.predict(pd.DataFrame({"picture": [crop(), b"none", crop()]}), params={"aligned": True})
    assert frame["picture"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(frame.loc[[0, 2], ["value", "low", "high"]], [[40, 38, 42]] * 2, atol=1e-3)
    np.testing.assert_allclose(frame.loc[0, ["left", "top", "right", "bottom"]].astype(float), [0, 0, SIZE, SIZE])
    assert np.isnan(frame.loc[1, "value"])
    assert frame["error"].str.startswith("its 4 bytes are no picture").tolist() == [False, True, False]
    assert model.input_example is not None
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(pd.DataFrame({"photo": [crop()]}))
    served(model)
    registry_addresses(registered)


def served(model: Any) -> None:
    """What `mlflow models serve` runs takes base64 and gives JSON."""
    from fastapi.testclient import TestClient

    client = TestClient(scoring_server.init(model))
    content = base64.b64encode(crop()).decode()
    answer = client.post("/invocations", json={"dataframe_records": [{"picture": content}], "params": {"aligned": True}})
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["predictions"]
    assert row["value"] == pytest.approx(40, abs=1e-3)
    assert (row["face"], row["error"]) == (0, "")
    assert client.post("/invocations", json={"dataframe_records": [{"photo": content}]}).status_code == 400


def registry_addresses(registered: str) -> None:
    """`--model` takes the alias and the version; what the registry lacks is one line."""
    for address in (registered, "models:/agecascade-sample/1", Path(registered)):
        frame = Estimator.load(address).predict([crop()], aligned=True)
        np.testing.assert_allclose(frame[["value", "low", "high"]], [[40, 38, 42]], atol=1e-3)
    for address in ("models:/agecascade-sample@loser", "models:/agecascade-sample/7", "models:/nothing@champion"):
        with pytest.raises(ModelError, match=f"{address}: the registry at .* says: ") as raised:
            Estimator.load(address)
        assert len(str(raised.value).splitlines()) == 1


def test_without_a_store_there_is_no_registry_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ModelError, match="there is no tracking store here"):
        Estimator.load(ADDRESS)
    assert not list(tmp_path.iterdir())


def test_another_model_of_the_registry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: list[str], params: Any = None) -> list[str]:
            return model_input

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("other", str(tmp_path / "artifacts")))
    mlflow.pyfunc.log_model(name="other", python_model=Nothing(), registered_model_name="other")
    with pytest.raises(ModelError, match="models:/other/1 holds no model folder of agecascade"):
        Estimator.load("models:/other/1")
