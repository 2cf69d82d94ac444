"""Models in MLflow: logged with signature and example, found again under the alias, with the same answers; served, and predicted with."""

from __future__ import annotations

import base64
import json
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
from agecascade.report.registry import OUTPUTS, log_model
from agecascade.tracking.tracker import Tracker
from model_folders import SIZE, write_model

DRAWN = [{"step": "target", "dataset": "target", "pictures": 320, "drawn": True}]
ADDRESS = "models:/agecascade-sample@champion"


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a model of two folds, whose values are 30 and 50 years."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for fold, peak in ((0, 3), (1, 5)):
        write_model(tmp_path / "row" / f"fold{fold}", peak, fold=fold, trained_on=DRAWN)
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
    np.testing.assert_allclose(frame.loc[[0, 2], ["value", "low", "high"]].astype(float), [[40, 38, 42]] * 2, atol=1e-3)
    np.testing.assert_allclose(frame.loc[0, ["left", "top", "right", "bottom"]].astype(float), [0, 0, SIZE, SIZE])
    assert frame.loc[1, "value"] is None
    assert frame["error"].str.startswith("its 4 bytes are no picture").tolist() == [None, True, None]
    assert model.input_example is not None
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(pd.DataFrame({"photo": [crop()]}))
    served(model)
    registry_addresses(registered)


def served(model: Any) -> None:
    """What `mlflow models serve` runs takes base64 and gives JSON: null where something is missing, and never NaN, which is no JSON."""
    from fastapi.testclient import TestClient

    client = TestClient(scoring_server.init(model))
    content, text = (base64.b64encode(picture).decode() for picture in (crop(), b"none"))
    for pictures in ([content], [content, text], [text]):
        asked = {"dataframe_records": [{"picture": picture} for picture in pictures], "params": {"aligned": True}}
        rows = predictions(client.post("/invocations", json=asked))
        assert [row["picture"] for row in rows] == list(range(len(pictures)))
        for row, picture in zip(rows, pictures, strict=True):
            assert list(row) == OUTPUTS
            assert row["note"].startswith("the model has seen drawn faces alone")
            if picture == text:
                assert row["error"].startswith("its 4 bytes are no picture")
                assert {row[name] for name in OUTPUTS[1:10]} == {None}
            else:
                assert row["value"] == pytest.approx(40, abs=1e-3)
                assert [repr(row[name]) for name in ("face", "left", "top", "right", "bottom")] == ["0", "0", "0", str(SIZE), str(SIZE)]
                assert (row["score"], row["error"]) == (None, None)
    assert client.post("/invocations", json={"dataframe_records": [{"photo": content}]}).status_code == 400


def predictions(answer: Any) -> list[dict[str, Any]]:
    """The rows of an answer that is strict JSON."""
    assert answer.status_code == 200, answer.text

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON: {answer.text}")

    return json.loads(answer.text, parse_constant=refused)["predictions"]


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
