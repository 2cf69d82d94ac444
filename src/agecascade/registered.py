"""A model folder of MLflow's registry: `models:/<name>@<alias>` or `models:/<name>/<version>`, read without MLflow's own loader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agecascade.errors import ModelError
from agecascade.extras import not_installed
from agecascade.io.files import temporary_folder
from agecascade.tracking.answers import first_line
from agecascade.tracking.store import store_exists, tracking_uri, without_password

KEY = "model"  # of the model folder among the artifacts of a logged model, as `report.registry` writes it


@contextmanager
def registered_folder(address: str) -> Iterator[Path]:
    """The model folder of a registered model; downloaded to a temporary folder where the store lies elsewhere.

    Raises ModelError where the store has no such model or it is none of this package's, and NotInstalledError without MLflow.
    """
    try:
        import mlflow
        from mlflow.models import Model
    except ModuleNotFoundError as error:
        raise not_installed(error, address) from None
    if not store_exists():
        raise ModelError(f"{address}: there is no tracking store here; go to the study's folder, or set MLFLOW_TRACKING_URI")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(tracking_uri())
    with temporary_folder("agecascade-model-") as folder:
        try:
            logged = Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder)))
            artifacts = Model.load(str(logged)).flavors.get("python_function", {}).get("artifacts", {})
        except Exception as error:  # MLflow's own kinds, and those of the store behind it
            reason = without_password(first_line(error), tracking_uri())
            raise ModelError(f"{address}: the registry at {without_password(tracking_uri(), tracking_uri())} says: {reason}") from None
        if KEY not in artifacts or not (logged / artifacts[KEY]["path"]).is_dir():
            raise ModelError(f"{address} holds no model folder of agecascade; name one that the stage `report` registered")
        yield logged / artifacts[KEY]["path"]
