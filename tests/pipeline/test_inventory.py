"""Data that a person placed by hand changes, and `dvc repro` sees it. Slow: eight runs of DVC."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from forms import whole_only
from images import picture
from publishers import write_folder
from repository import Repository

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STAGE = "clean@csv_table"


def place(folder: Path, youngest: int, folder_of_pictures: str = "pictures") -> None:
    """Twelve pictures and their table in archives/."""
    write_folder(folder / "archives" / folder_of_pictures, {f"{number}.jpg": picture(seed=number) for number in range(12)})
    rows = "".join(f"{number}.jpg,{youngest + number}\n" for number in range(12))
    (folder / "archives" / "labels.csv").write_text(f"path,label\n{rows}")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("repository"))
    place(made.folder, 20)
    made.run("agecascade", "study", "csv_table", "--force")
    made.run("dvc", "repro", STAGE)
    made.commit("cleaned")
    return made


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def youngest(repository: Repository) -> float:
    return json.loads((repository.folder / "metrics" / "clean" / "csv_table.json").read_text())["label"]["min"]


def test_nothing_changed_runs_the_inventory_alone_and_leaves_no_change(repository: Repository) -> None:
    assert stages_run(repository.run("dvc", "repro", STAGE)) == ["inventory"]
    assert repository.run("git", "status", "--short") == ""
    assert "up to date" in repository.run("dvc", "status", STAGE)


def test_a_corrected_table_is_read(repository: Repository) -> None:
    place(repository.folder, 30)
    assert stages_run(repository.run("dvc", "repro", STAGE)) == ["inventory", "download@csv_table", STAGE]
    assert youngest(repository) == 30


def test_a_wrong_folder_that_was_put_right_gives_no_old_error(repository: Repository) -> None:
    shutil.move(repository.folder / "archives" / "pictures", repository.folder / "right")
    write_folder(repository.folder / "archives" / "pictures", {"else/z.jpg": picture(seed=99)})
    output = repository.run("dvc", "repro", STAGE, check=False)
    assert "its table names '0.jpg', and it holds 'pictures/else/z.jpg'" in output
    shutil.rmtree(repository.folder / "archives" / "pictures")
    shutil.move(repository.folder / "right", repository.folder / "archives" / "pictures")
    repository.run("dvc", "repro", STAGE)
    assert youngest(repository) == 30


def test_archives_that_are_gone_after_the_download_cost_nothing(repository: Repository) -> None:
    shutil.move(repository.folder / "archives", repository.folder / "photos")  # which git ignores
    assert stages_run(repository.run("dvc", "repro", STAGE)) == ["inventory"]
    shutil.move(repository.folder / "photos", repository.folder / "archives")


@whole_only
def test_an_experiment_in_a_copy_sees_the_same_files(repository: Repository) -> None:
    repository.commit("corrected")
    output = repository.run("dvc", "exp", "run", "--temp", "-S", "datasets.csv_table.clean.low=5", STAGE)
    assert stages_run(output) == ["check", "inventory", STAGE]
