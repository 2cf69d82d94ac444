"""The tracking store: its address, the names that it takes, the time that it may need, and where its artifacts lie."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import posixpath
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from agecascade.errors import TrackingError
from agecascade.io.network_faults import LOOPBACK
from agecascade.io.places import repository_root, state_folder
from agecascade.io.resume import exclusive
from agecascade.params import Params

EXPERIMENT = "agecascade"
ARTIFACTS = "mlartifacts"  # the folder beside the SQLite file
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}  # the store answers, and does not take what it was given
LENGTH = 250  # characters of a name
LARGEST = 1 << 28  # bytes of an answer; a thousand runs have some 10 MB
SHOWN = 3  # names in a message
# files of the pipeline that show people
_FACES = re.compile(r"(^|/)((estimates|top_and_bottom|mean_faces)\.png|report\.html|plots/(data/[^/]+|explain|screen)/.+)$")
_REFUSED_CHARACTERS = re.compile(r"[^/\w.\- :]")

Result = TypeVar("Result")


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


class TooSlow(Exception):
    """A store did not answer in its time."""


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


class Names:
    """Names as MLflow takes them: letters, digits and `_ - . : /` and spaces, 250 at most, and normal as a path.

    Others are replaced, two names never by the same one.
    """

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}  # {name of the store: name}

    def accepted(self, name: str) -> str:
        """The name itself, or what stands for it."""
        text = posixpath.normpath(_REFUSED_CHARACTERS.sub("_", name).lstrip("/") or "_")
        text = "/".join("_" if part in (".", "..") else part for part in text.split("/"))
        mark = f"-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
        if len(text) > LENGTH:
            text = text[: LENGTH - len(mark)].rstrip("/. ") + mark
        if self._taken.setdefault(text, name) != name:
            text = text[: LENGTH - len(mark)] + mark
            self._taken[text] = name
        return text


def flat(content: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one, joining keys by the separator."""
    entries: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        entries |= flat(value, separator, name + separator) if isinstance(value, Mapping) else {name: value}
    return entries


def nested(entries: Mapping[str, Any], separator: str = "/") -> dict[str, Any]:
    """Split keys at the separator into nested mappings: the reverse of `flat`."""
    content: dict[str, Any] = {}
    for name, value in entries.items():
        *parents, key = name.split(separator)
        functools.reduce(lambda block, parent: block.setdefault(parent, {}), parents, content)[key] = value
    return content


def replaced(names: Iterable[tuple[str, str]]) -> str:
    """A line on names that were replaced, given as (name, what stands for it)."""
    pairs = list(names)
    shown = ", ".join(f"{name!r} as {other!r}" for name, other in pairs[:SHOWN])
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return f"MLflow does not take some names, which are logged otherwise: {shown}{more}"


def within(action: Callable[[], Result], seconds: float, notice: Callable[[], None], slow: float) -> Result:
    """The result of `action`, which runs in a thread; after `slow` of the `seconds` `notice` is called. Raises TooSlow at their end."""
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # handed to the one that waits
            future.set_exception(error)

    threading.Thread(target=work, name="tracking", daemon=True).start()
    try:
        return future.result(min(slow, seconds))
    except TimeoutError:
        if future.done():  # the action's own
            raise
    if seconds > slow:
        notice()
    try:
        return future.result(max(seconds - slow, 0))
    except TimeoutError:
        if future.done():
            raise
        raise TooSlow(f"no answer within {seconds:.0f} s") from None


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


def refused(error: Exception) -> bool:
    """Whether a store answered that it does not take what it was given."""
    return getattr(error, "error_code", None) in _REFUSALS


def bound_answers(requests: Any) -> None:
    """Let MLflow's module of requests read no answer beyond LARGEST: it would hold one without an end in memory, for hours.

    An MLflow that has no such place any more (3 has) is left as it is, which a test tells.
    """
    make = getattr(requests, "_get_request_session", None)
    if make is None or getattr(make, "bounded", False):
        return

    @functools.wraps(make)
    def bounded(*arguments: Any, **options: Any) -> Any:
        session = make(*arguments, **options)
        session.hooks["response"] = [_read]
        return session

    bounded.bounded = True  # type: ignore[attr-defined]
    requests._get_request_session = bounded


def _read(response: Any, stream: bool = False, **_: object) -> None:
    """Read an answer as `requests` does. Raises TrackingError where it is longer than LARGEST."""
    if stream:  # to a file
        return
    content = bytearray()
    for block in response.iter_content(1 << 16):
        content += block
        if len(content) > LARGEST:
            response.close()
            raise TrackingError(f"an answer of more than {LARGEST >> 20} MiB")
    response._content = bytes(content)


def why_lost(error: Exception) -> str:
    """What ended the tracking, in a few words."""
    if not isinstance(error, TooSlow):
        return f"{type(error).__name__}: {first_line(error)}"
    return str(error) if tracking_uri().startswith("http") else f"{error}; another process may hold it"


def log_batch(client: Any, run_id: str, batch: Mapping[str, list[Any]]) -> None:
    """Log params, metrics and tags; of a batch that the store refuses, all that it takes, and say what it does not."""
    entries = [(kind, entry) for kind, group in batch.items() for entry in group]
    try:
        client.log_batch(run_id, **batch)
    except Exception as error:
        if not refused(error):
            raise
        if len(entries) == 1:
            kind, entry = entries[0]
            warn(f"MLflow refused {kind[:-1]} {entry.key!r}: {first_line(error)}; the rest is logged")
            return
        for half in (entries[: len(entries) // 2], entries[len(entries) // 2 :]):
            log_batch(client, run_id, {kind: [entry for other, entry in half if other == kind] for kind in batch})


def first_line(error: Exception) -> str:
    """An error's own words in one line: without the statement that SQLAlchemy adds, and how it came to it."""
    text = re.sub(r"^\(raised as a result of [^\n]*\)\n", "", str(error).strip())
    return " ".join(re.split(r"\n\n|\n\[SQL: ", text)[0].split())[:300]


def as_number(value: Any) -> float | None:
    """A number that a store takes, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def means(trainings: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean of each metric that all trainings have."""
    names = [name for name in (trainings[0] if trainings else {}) if all(as_number(metrics.get(name)) is not None for metrics in trainings)]
    return {name: sum(float(metrics[name] or 0) for metrics in trainings) / len(trainings) for name in names}


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
