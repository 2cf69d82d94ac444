"""Trained models in MLflow: the whole way from a picture's bytes to ages, with signature and input example.

They are registered under the alias `champion` where that is asked for. The flavour is MLflow's pyfunc with the model folder as it is: its
PyTorch flavour would keep a traced graph in place of the weights.
"""

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
from packaging.requirements import Requirement

from agecascade.estimator import Estimator
from agecascade.extras import PIPELINE
from agecascade.faces.rows import BOX, COLUMNS
from agecascade.imaging import encode_image
from agecascade.registered import KEY
from agecascade.tracking.store import tracking_uri

NAME = "model"  # of the logged model
CHAMPION = "champion"  # alias of the registered model's newest version
PICTURE = "picture"  # column of the input: the bytes of a picture file, base64 in JSON
OUTPUTS = [PICTURE, *COLUMNS[1:]]  # in place of the path, the position of the input's row


class Pictures(PythonModel):
    """A model folder behind MLflow's interface: the bytes of pictures in, a row for each face out."""

    def load_context(self, context: Any) -> None:
        self.estimator = Estimator.load(context.artifacts[KEY])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The columns OUTPUTS of a frame with the column PICTURE; params: aligned, whether the pictures are face crops already.

        `picture` is the position of the input's row; value, low and high are in label units, the box in whole pixels. What is missing is
        None, in columns of objects: MLflow writes them as they are, and JSON has null, but no NaN.
        """
        aligned = bool((params or {}).get("aligned", False))
        frame = self.estimator.predict([bytes(content) for content in model_input[PICTURE]], aligned)
        rows = frame.assign(**{PICTURE: frame["path"].astype("int64")})[OUTPUTS]
        return rows.astype(object).where(rows.notna(), None)


def log_model(folder: Path, run_id: str, name: str, register: bool) -> str:
    """Log a trained row with a run, all its folds as one model, and register it as `name`, which gets the alias; returns its address.

    folder: a model folder, or the parent of its folds. Raises ModelError where that is damaged, and whatever the store does.
    """
    for chatty in ("mlflow.pyfunc", "mlflow.utils.environment"):  # that Python objects are pickled, and that there is no pip
        logging.getLogger(chatty).setLevel(logging.ERROR)
    size = Estimator.load(folder, "cpu").frame.size
    grey = encode_image(np.full((size, size, 3), 127, np.uint8), "png", 100)  # a grey square: nobody's face
    mlflow.set_tracking_uri(tracking_uri())
    with mlflow.start_run(run_id=run_id):
        info = pyfunc.log_model(
            name=NAME,
            python_model=Pictures(),
            artifacts={KEY: str(folder)},
            signature=_signature(),
            input_example=(pd.DataFrame({PICTURE: [grey]}), {"aligned": True}),
            pip_requirements=_requirements(),
            code_paths=[str(Path(__file__).parents[1])],
            registered_model_name=name if register else None,
        )
    if register:
        client = mlflow.MlflowClient()
        client.set_registered_model_alias(name, CHAMPION, info.registered_model_version)
        return f"models:/{name}@{CHAMPION}"
    return str(info.model_uri)


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    kinds = dict.fromkeys([PICTURE, "face", *BOX], DataType.long) | dict.fromkeys(["note", "error"], DataType.string)
    return ModelSignature(
        Schema([ColSpec(DataType.binary, PICTURE)]),
        Schema([ColSpec(kinds.get(name, DataType.double), name, required=name == PICTURE) for name in OUTPUTS]),
        ParamSchema([ParamSpec("aligned", DataType.boolean, False)]),
    )


def _requirements() -> list[str]:
    """What the package needs with the extra `pipeline`, and this very torch."""
    wanted = [Requirement(text) for text in requires("agecascade") or []]
    needed = [one for one in wanted if one.name != "torch" and (one.marker is None or one.marker.evaluate({"extra": PIPELINE}))]
    names = [f"{one.name}[{','.join(sorted(one.extras))}]".removesuffix("[]") + str(one.specifier) for one in needed]
    return [*names, f"torch=={version('torch').partition('+')[0]}"]
