"""The tracking store: its address, what a run is told about itself, and where its artifacts lie."""

from __future__ import annotations

import functools
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from agecascade.errors import TrackingError
from agecascade.io.network_faults import LOOPBACK
from agecascade.io.places import repository_root, state_folder
from agecascade.io.resume import exclusive
from agecascade.params import Params

EXPERIMENT = "agecascade"
ARTIFACTS = "mlartifacts"  # the folder beside the SQLite file
# files of the pipeline that show people
_FACES = re.compile(r"(^|/)((estimates|top_and_bottom|mean_faces)\.png|report\.html|plots/(data/[^/]+|explain|screen)/.+)$")


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else a SQLite file at the repository root, which queued experiments share."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_own_store()}"


def _own_store() -> Path:
    return repository_root() / "mlflow.db"


def store_exists() -> bool:
    """Whether there is a store to read: one that MLFLOW_TRACKING_URI names, or the repository's own after the first tracked stage."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or _own_store().is_file()


def is_remote() -> bool:
    """Whether the store is on another machine: anything but a file, and a server of this machine."""
    address = tracking_uri()
    parts = urlsplit(address)
    if address == "databricks" or parts.scheme.startswith("databricks"):
        return True
    return len(parts.scheme) > 1 and parts.scheme not in ("file", "sqlite") and parts.hostname not in LOOPBACK


def withheld(params: Params) -> Callable[[Path], bool]:
    """Which files are not given to the store: those that show people, where it is on another machine and `tracking.faces` forbids it.

    Drawn faces are of nobody.
    """
    # in this order: where the store is here, nothing of the data sets is read, which the stages that log do not depend on
    if params.tracking.faces or not is_remote() or all(dataset.origin == "synthetic" for dataset in params.datasets.values()):
        return lambda path: False
    _say_withheld()
    return lambda path: bool(_FACES.search(path.as_posix()))


@functools.cache
def _say_withheld() -> None:
    warn(f"pictures of people are not sent to {tracking_uri()}, which is on another machine; `tracking.faces: true` sends them")


def warn(text: str) -> None:
    print(f"warning: {without_password(text, tracking_uri())}", file=sys.stderr)


def common_tags(study: str, stage: str) -> dict[str, str]:
    """The tags of every run: study, stage, git revision, its source as MLflow shows it, and DVC's experiment where there is one."""
    source = {"mlflow.source.name": f"pipeline/{stage}.py", "mlflow.source.type": "LOCAL", "mlflow.source.git.commit": git_revision()}
    tags = {"study": study, "stage": stage, "git_revision": git_revision(), **source}
    experiment = os.environ.get("DVC_EXP_NAME")
    return {**tags, "dvc_experiment": experiment} if experiment else tags


@functools.cache
def git_revision() -> str:
    """The commit that an experiment is based on, else the one checked out."""
    baseline = os.environ.get("DVC_EXP_BASELINE_REV")
    if baseline:
        return baseline
    result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def data_digest(dataset: str, root: Path = Path()) -> str | None:
    """DVC's hash of the aligned faces of a data set, as dvc.lock has it below `root`; None where it has none."""
    try:
        lock = (root / "dvc.lock").read_text(encoding="utf-8")
    except OSError:
        return None
    path = re.escape(f"data/aligned/{dataset}")
    stage = re.search(rf"^  align@{re.escape(dataset)}:\n(?:   .*\n)*", lock, re.MULTILINE)
    found = re.search(rf"- path: {path}\n(?:\s+hash: md5\n)?\s+md5: ([0-9a-f]+(?:\.dir)?)", stage[0]) if stage else None
    return found[1] if found else None


def data_inputs(datasets: Iterable[str], purpose: str) -> dict[str, tuple[str, str]]:
    """{data set: (DVC's hash of its aligned faces, what it is used for)}, of those that DVC knows."""
    found = {name: data_digest(name) for name in datasets}
    return {name: (digest, purpose) for name, digest in found.items() if digest is not None}


def runs_address(experiment_id: str) -> str:
    """Where the runs of the experiment are shown: MLflow's own page of an experiment is one for traces of language models."""
    address = tracking_uri()
    place = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    if address.startswith(("http://", "https://")):
        return without_password(f"{address.rstrip('/')}/{place}", address)
    return f"http://127.0.0.1:5000/{place} (uv run mlflow ui --backend-store-uri {without_password(address, address)})"


def without_password(text: str, address: str) -> str:
    """A text with the user's name, password and query of an address hidden."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return text
    user = parts.netloc.rpartition("@")[0]
    secrets = [f"{user}@"] if user else []
    for secret in secrets + [unquote(secret) for secret in secrets]:
        text = text.replace(secret, "***@")
    if parts.password:  # in errors that split the address
        for secret in (parts.password, unquote(parts.password)):
            text = text.replace(f":{secret}@", ":***@").replace(f"{secret!r}", "'***'")
    return text.replace(f"?{parts.query}", "?***") if parts.query else text


def open_store(create: Callable[[str], Any]) -> Any:
    """The store with its experiment, made by `create(address)`; its artifacts lie beside it also after the repository was moved."""
    with exclusive(state_folder() / "mlflow.lock", "tracking store", "makes"):
        client = create(tracking_uri())
        artifacts = repository_root() / ARTIFACTS
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            local = tracking_uri().startswith("sqlite:")
            client.create_experiment(EXPERIMENT, artifact_location=artifacts.as_uri() if local else None)
        elif experiment.name != EXPERIMENT or not experiment.experiment_id:  # what answers {} to all, say
            raise TrackingError("what answers there is no MLflow server; correct MLFLOW_TRACKING_URI")
        elif not os.environ.get("MLFLOW_TRACKING_URI"):  # a store that is named may be shared by several repositories
            _move_artifacts(_own_store(), str(experiment.artifact_location), artifacts)
    return client


def _move_artifacts(database: Path, old: str, artifacts: Path) -> None:
    """Correct the place of artifacts in the store of a repository that was moved or copied: MLflow keeps it as an absolute path.

    old: the experiment's place as a URI. Earlier runs keep theirs where their artifacts were not moved along.
    """
    before, new = Path(url2pathname(urlsplit(old).path)), artifacts.as_uri()
    if old == new or before.name != ARTIFACTS or (before.exists() and artifacts.exists() and before.samefile(artifacts)):
        return
    along = artifacts.is_dir() or not before.is_dir()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (new, old))
        connection.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)"
            " WHERE substr(artifact_uri, 1, ?) = ? AND (? OR status <> 'FINISHED')",
            (new, len(old) + 1, len(old) + 1, f"{old}/", along),
        )
    earlier = "" if along else "; those of earlier runs stay there"
    warn(f"the repository was moved or copied: MLflow's artifacts, until now in {before}, are written to {artifacts}{earlier}")
