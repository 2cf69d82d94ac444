"""Two of a command at once: one may be refused in a line, neither leaves anything half-written, and one more run gives the same bytes.

AGECASCADE_WHOLE=1 also runs two `dvc` in one folder, and kills one of them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forms import repeated, whole_only
from repository import Repository

PAIRS = repeated(2, whole=20)
DVC_PAIRS = 5
PICTURES = 40
OUTPUTS = ("data", "models", "metrics", "plots", "report", "report.html", "dvc.lock", "params.yaml")
REFUSALS = re.compile(r"ERROR: .*(lock|busy|being written|is being used|Another)|waiting|another process", re.IGNORECASE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def small(content: dict[str, Any]) -> dict[str, Any]:
    """One data set, one training and one regressor."""
    for block, kept in {"datasets": "sample_fgnet", "cascade": "target_from_scratch", "regressors": "ridge"}.items():
        content[block] = {kept: content[block][kept]}
    for block in ("pretrain", "search", "explain"):
        content[block] = {}
    content["features"]["agedb"]["step"] = "scratch"
    return content


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("repository"))
    made.edit(small)
    made.commit("smaller")
    return made


def together(repository: Repository, pair: list[list[str]], later: float, victim: int | None = None) -> list[str]:
    """What two commands say, the second of which starts `later` seconds after the first; no trace, and a failure is a refusal.

    victim: which of the two is killed, without its stages.
    """
    with TemporaryFile("w+", encoding="utf-8") as one, TemporaryFile("w+", encoding="utf-8") as other:
        running = [repository.start(one, *pair[0])]
        time.sleep(later)
        running.append(repository.start(other, *pair[1]))
        if victim is not None:
            time.sleep(later)
            os.kill(running[victim].pid, signal.SIGKILL)
        said = []
        for number, (process, file) in enumerate(zip(running, (one, other), strict=True)):
            status = process.wait(1200)
            file.seek(0)
            said.append(file.read())
            assert "Traceback" not in said[-1], said[-1][-3000:]
            assert status == 0 or number == victim or REFUSALS.search(said[-1]), said[-1][-3000:]
    return said


def hidden(folder: Path) -> list[str]:
    """Half-written files, which `written_beside` names so."""
    return [str(path) for path in folder.rglob(".*") if re.fullmatch(r"\..*\.[0-9a-f]{8}(\..*)?", path.name)]


def test_two_predictions_into_one_file(repository: Repository) -> None:
    photos, chance = repository.folder / "photos", random.Random(0)
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, 64, 64, 3), np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(photos / f"{number}.png")
    command = ["agecascade", "predict", "photos", "--aligned", "--output"]
    repository.run(*command, "alone.csv")
    alone = (repository.folder / "alone.csv").read_bytes()
    assert alone.count(b"\n") == PICTURES + 1
    for _ in range(PAIRS):
        together(repository, [[*command, "same.csv"]] * 2, chance.random() * 2)
        assert (repository.folder / "same.csv").read_bytes() == alone
        assert not hidden(repository.folder)
        (repository.folder / "same.csv").unlink()
    shutil.rmtree(photos)


def test_two_studies_at_once(repository: Repository) -> None:
    chance, expected = random.Random(0), {}
    before = (repository.folder / "params.yaml").read_bytes()
    for name in ("utkface", "agedb"):
        repository.run("agecascade", "study", name, "--force")
        expected[name] = (repository.folder / "params.yaml").read_bytes()
    for _ in range(PAIRS):
        together(repository, [["agecascade", "study", name, "--force"] for name in expected], chance.random())
        assert (repository.folder / "params.yaml").read_bytes() in expected.values()
        assert not hidden(repository.folder / ".agecascade") + hidden(repository.folder / "studies")
        repository.run("agecascade", "study", "agedb")  # what either wrote is no change by hand
    (repository.folder / "params.yaml").write_bytes(before)


def outputs(folder: Path) -> dict[str, bytes]:
    files = (path for name in OUTPUTS for path in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


SECOND = {"repro": ["dvc", "repro"], "experiment": ["dvc", "exp", "run"], "queue": ["dvc", "queue", "start"]}


@whole_only
@pytest.mark.parametrize("victim", [None, 0, 1])
@pytest.mark.parametrize("second", SECOND)
def test_two_dvc_in_one_folder(repository: Repository, tmp_path: Path, second: str, victim: int | None) -> None:
    chance = random.Random(f"{second} {victim}")
    if not (repository.folder / "dvc.lock").exists():
        repository.run("dvc", "repro")
        repository.commit("reproduced")
    whole = outputs(repository.folder)
    for _ in range(DVC_PAIRS):
        for name in ("models", "data", "metrics", "plots", "report"):
            shutil.rmtree(repository.folder / name, ignore_errors=True)
        for name in (".dvc/cache", ".agecascade/work"):
            shutil.rmtree(repository.folder / name, ignore_errors=True)
        if second == "queue":
            repository.run("dvc", "exp", "run", "--queue", "-S", f"seed={chance.randrange(1000)}")
        together(repository, [["dvc", "repro"], SECOND[second]], chance.random() * 60, victim)
        repository.end_workers()
        repository.run("dvc", "repro")
        assert outputs(repository.folder) == whole
        assert not hidden(repository.folder)
