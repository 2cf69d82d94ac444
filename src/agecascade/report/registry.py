"""Trained models in MLflow, with signature and input example; registered under the alias `champion` where that is asked for."""

from __future__ import annotations

import logging
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import pyfunc
from mlflow.pyfunc import PythonModel

from agecascade.estimator import Estimator
from agecascade.tracking_store import tracking_uri

NAME = "model"  # of the logged model, and the key of its folder
CHAMPION = "champion"  # alias of the registered model's newest version
OUTPUTS = ["value", "low", "high"]


class AlignedFaces(PythonModel):
    """A model folder behind MLflow's interface: aligned faces in, values with their intervals out."""

    def load_context(self, context: Any) -> None:
        self.estimator = Estimator.load(context.artifacts[NAME])

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Value, low and high (N,) in label units, the ends NaN where the model has no interval; model_input: (N, S, S, 3) uint8, RGB."""
        return self.estimator.predict(list(model_input), aligned=True)[OUTPUTS].astype(np.float64)


def log_model(folder: Path, run_id: str, name: str, register: bool) -> str:
    """Log a trained row with a run, all its folds as one model, and register it as `name`, which gets the alias; returns its address.

    folder: a model folder, or the parent of its folds. Raises ModelError where that is damaged, and whatever the store does.
    """
    for chatty in ("mlflow.pyfunc", "mlflow.utils.environment"):  # that Python objects are pickled, and that there is no pip
        logging.getLogger(chatty).setLevel(logging.ERROR)
    estimator = Estimator.load(folder, "cpu")
    size = estimator.frame.size
    example = np.full((1, size, size, 3), 127, np.uint8)  # a grey square: nobody's face
    mlflow.set_tracking_uri(tracking_uri())
    with mlflow.start_run(run_id=run_id):
        info = pyfunc.log_model(
            name=NAME,
            python_model=AlignedFaces(),
            artifacts={NAME: str(folder)},
            signature=_signature(size),
            input_example=example,
            pip_requirements=_requirements(),
            code_paths=[str(Path(__file__).parents[1])],
            registered_model_name=name if register else None,
        )
    if register:
        client = mlflow.MlflowClient()
        client.set_registered_model_alias(name, CHAMPION, info.registered_model_version)
        return f"models:/{name}@{CHAMPION}"
    return str(info.model_uri)


def _signature(size: int) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema, TensorSpec

    inputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))])
    return ModelSignature(inputs, Schema([ColSpec(DataType.double, name) for name in OUTPUTS]))


def _requirements() -> list[str]:
    """What the package needs, without extras, and this very torch."""
    needed = [text for text in requires("agecascade") or [] if "extra ==" not in text and not text.startswith("torch>")]
    return [*needed, f"torch=={version('torch').partition('+')[0]}"]
