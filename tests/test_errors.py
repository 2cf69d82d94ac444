"""Every error that a person can act on: one family, each in docs/reference/errors.md, each one line that says what to do."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import agecascade
from agecascade.archives import open_archives
from agecascade.datasets.cleaning import _check_rate
from agecascade.duplicates import read_fingerprints
from agecascade.errors import AgecascadeError
from agecascade.evaluation.significance import require_same_pictures
from agecascade.extras import not_installed
from agecascade.features.table import load_features
from agecascade.imaging import decode_image
from agecascade.imaging.headers import refuse_many_pixels
from agecascade.io.compute import not_shared
from agecascade.io.fetch import fetch
from agecascade.io.places import Source
from agecascade.io.user_output import UserOutput
from agecascade.model_folder import read_card
from agecascade.params import Grid, check
from agecascade.serve.server import bound
from agecascade.training.epochs import loss_error
from agecascade.training.jobs import label_grid
from places import ROOT, sample_params
from small_sets import random_faces

PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
LONGEST = 600  # characters of a line


def raised(error: Exception) -> None:
    raise error


def broken_archive(folder: Path) -> None:
    (folder / "a.zip").write_bytes(b"PK\3\4 and no more")
    with open_archives(folder / "a.zip") as archive:
        list(archive.members())


def unreachable_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mlflow.db").write_bytes(b"no database, but as long as the head of one" * 10)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    importlib.import_module("agecascade.evaluation.tracked").evaluation_runs()


def of_pictures(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"fold": 0, "sample_id": list(names), "label": 1.0}).set_index(["fold", "sample_id"])


TRIGGERS: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "ParamsError": lambda folder, patch: check({**sample_params(), "lamda": 1.0}),
    "ArchiveError": lambda folder, patch: broken_archive(folder),
    "FetchError": lambda folder, patch: fetch(Source("AgeDB.zip", instructions="ask its authors"), folder / "raw"),
    "RejectRateError": lambda folder, patch: _check_rate("fgnet", {"kept": 1, "rejected": {"truncated": 9}}, 0.2),
    "FaceError": lambda folder, patch: decode_image(b"no picture"),
    "TooManyPixels": lambda folder, patch: refuse_many_pixels(100_000, 100_000, 100),
    "SplitError": lambda folder, patch: read_fingerprints(folder),
    "TrainingError": lambda folder, patch: label_grid(Grid(low=0, high=1), random_faces(), "fgnet"),
    "LossError": lambda folder, patch: raised(loss_error(float("nan"), 1, 2, 3, np.array(["a", "b"]))),
    "ModelError": lambda folder, patch: read_card(folder),
    "RegressorError": lambda folder, patch: load_features(folder / "features.parquet"),
    "ComputeError": lambda folder, patch: raised(not_shared(folder)),
    "OutputError": lambda folder, patch: UserOutput(folder),
    "TrackingError": unreachable_store,
    "NotComparable": lambda folder, patch: require_same_pictures(of_pictures("a", "b"), of_pictures("a", "c")),
    "ServeError": lambda folder, patch: bound("127.0.0.1", 70_000),
    "NotInstalledError": lambda folder, patch: raised(not_installed(ModuleNotFoundError(name="torch"), "export")),
}


def classes() -> Iterator[type[AgecascadeError]]:
    """All classes of the family, of all modules of the package that can be imported."""
    for module in pkgutil.walk_packages(agecascade.__path__, "agecascade."):
        if "autosklearn" not in module.name:
            importlib.import_module(module.name)
    waiting = [AgecascadeError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            yield kind


def test_every_error_is_documented_and_has_an_example_here() -> None:
    known = {kind.__name__ for kind in classes() if kind.__module__.startswith("agecascade.")}
    table = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", table)) == known
    assert known == TRIGGERS.keys()
    assert all((kind.__doc__ or "").strip() for kind in classes())


@pytest.mark.parametrize("name", TRIGGERS)
def test_an_error_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    with pytest.raises(AgecascadeError) as caught:
        TRIGGERS[name](tmp_path, monkeypatch)
    assert type(caught.value).__name__ == name
    text = str(caught.value)
    assert text == text.strip()
    assert "\n" not in text
    assert 10 < len(text) < LONGEST
    assert not re.search(r"Traceback|<class|object at 0x", text)
