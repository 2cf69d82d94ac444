"""The model in the package: small, trained on real faces, with a card; it answers where nothing was trained or downloaded."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path
from subprocess import run

import pandas as pd
import pytest

from agecascade import released
from agecascade.estimator import Estimator
from agecascade.model_card import read_card
from places import ROOT

LARGEST = 2.5e6  # bytes in the package
AGE = re.compile(r"A(\d\d)[a-z]?\.JPG", re.IGNORECASE)


def test_it_is_small_and_learned_from_real_faces() -> None:
    folder = released.folder()
    card = read_card(folder)
    assert sum((folder / name).stat().st_size for name in card.files) <= LARGEST
    assert card.trained_on
    assert not any(learned.drawn for learned in card.trained_on)
    assert card.interval is not None
    assert len(card.interval.quantiles) > 1  # a quantile for each band of ages


def test_its_file_is_as_good_as_the_network_that_it_was_made_from() -> None:
    made = read_card(released.folder()).exported
    assert made is not None
    assert made.check["real"]
    assert made.check["mae_exported"] <= 5.2
    assert made.check["mae_exported"] - made.check["mae_trained"] <= 0.03


def test_its_card_says_what_one_must_know() -> None:
    text = (released.folder() / "CARD.md").read_text(encoding="utf-8")
    for part in (
        "Licence of the data",
        "Protocol: ",
        "### By age",
        "### Age thresholds",
        "## Limits",
        "## Intended use",
        "## On other photos",
    ):
        assert part in text
    assert "non-commercial" in text


def test_predict_needs_no_model_and_no_network(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "faces.png", tmp_path)
    nowhere = {"PATH": "", "HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", "from agecascade.cli import app; app()", "predict", "faces.png", "--output", "ages.csv"]
    done = run(command, cwd=tmp_path, env=nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ages = pd.read_csv(tmp_path / "ages.csv")
    assert ages["error"].isna().all()
    assert ages["value"].between(0, 116).all()
    assert (ages["low"] <= ages["value"]).all()
    assert (ages["value"] <= ages["high"]).all()


def test_it_tells_ages_of_real_photos_apart(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = [name for name in archive.namelist() if AGE.search(name)][::10]
        contents = [archive.read(name) for name in names]
    frame = Estimator.load(None).predict(contents).query("face == 0")
    age = pd.Series([float(AGE.search(names[int(path)])[1]) for path in frame["path"]], index=frame.index)  # type: ignore[index]
    assert len(frame) == len(names)
    assert frame["value"].corr(age) > 0.7
    assert (frame["value"] - age).abs().mean() < (age.median() - age).abs().mean()
