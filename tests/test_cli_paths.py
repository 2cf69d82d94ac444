"""The command line loses and changes no file that existed but the one named as output: folders, links, devices, inputs, parents."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from agecascade import cli, estimator
from agecascade.cli import SOME_FAILED, app
from agecascade.faces.rows import Columns, FaceRow, table
from agecascade.imaging import encode_image
from agecascade.imaging.inputs import Named
from devices import device

PICTURE = encode_image(np.full((20, 20, 3), 90, np.uint8), "png", 100)

# what stands in the folder before each command
FILES = ["photos/a.png", "photos/sub/b.png", "photos/labels.csv", "photos/broken.jpg", "ages.csv", "ages.json", "notes", "model/model.json"]
LINKS = {
    "photos_link": "photos",
    "a_link.png": "photos/a.png",
    "link.csv": "ages.csv",
    "picture.csv": "photos/a.png",
    "dead.csv": "new/ages.csv",
    "loop.csv": "loop.csv",
    "null.csv": "null",
    "full.csv": "full",
    "up": "..",
}
INPUTS = [
    "photos",
    "photos_link",
    "photos/a.png",
    "a_link.png",
    "picture.csv",
    "hard.csv",
    "pipe",
    "/dev/null",
    "absent",
    ".",
    "model",
    "notes",
]
NAMES = [
    *FILES,
    *LINKS,
    "hard.csv",
    "photos",
    "model",
    "photos/sub",
    ".",
    "..",
    "-",
    "",
    "/",
    "/dev/null",
    "/dev/full",
    "/dev/stdout",
    "x.zip",
]
NAMES += ["new.csv", "new.jsonl", "new.parquet", "new/deep/ages.csv", "photos/new.csv", "model/new.csv", "ages.csv/x.csv", "loop.csv/x.csv"]
PREFIXES = ["", "./", "photos/../", "photos_link/", "up/here/", "model/", "absent/../"]
outputs = st.builds(
    lambda prefix, name: name if name.startswith(("/", "-")) else prefix + name, st.sampled_from(PREFIXES), st.sampled_from(NAMES)
)


class Echo:
    """In the Estimator's place: a row per picture, with an error for those whose name says so."""

    note, coverage, grid = None, 0.8, [0.0, 100.0]

    def set_params(self, **_: object) -> Echo:
        return self

    def columns(self, *_: object, **__: object) -> Columns:
        return Columns()

    def valued_batches(
        self, pictures: Iterator[Named], columns: Columns, _aligned: bool, **_: object
    ) -> Iterator[tuple[list[FaceRow], pd.DataFrame]]:
        for name, _content, _frame in pictures:
            broken = "broken" in Path(name).name
            rows = [FaceRow(name, None if broken else 0, error="cannot be read" if broken else None)]
            yield rows, table(rows, np.full((3, 1), 40.0), columns)


@pytest.fixture(autouse=True)
def _echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimator.Estimator, "load", classmethod(lambda *_, **__: Echo()))


def fill(folder: Path) -> None:
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PICTURE if name.endswith(".png") else b"of a person: " + name.encode())
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    os.link(folder / "photos" / "a.png", folder / "hard.csv")
    os.mkfifo(folder / "pipe")
    for name in ("null", "full"):
        if device(folder, name) != folder / name:
            (folder / name).symlink_to(f"/dev/{name}")


def contents(folder: Path) -> dict[str, object]:
    """Everything below a folder: {name: kind, with a file's bytes or a link's target}."""
    entries: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(place, name)
            mode = path.lstat().st_mode
            content = path.readlink() if stat.S_ISLNK(mode) else path.read_bytes() if stat.S_ISREG(mode) else None
            entries[os.path.relpath(path, folder)] = (stat.S_IFMT(mode), content)
    return entries


def predict(source: str, output: str) -> Result:
    return CliRunner().invoke(app, ["predict", source, "--model", "model", "--output", output])


@settings(max_examples=250, deadline=None)
@given(source=st.sampled_from(INPUTS), output=outputs)
@example(source="photos", output="photos")
@example(source="photos", output="photos/a.png")
@example(source="photos", output="picture.csv")
@example(source="a_link.png", output="hard.csv")
@example(source=".", output="ages.csv")
@example(source="photos", output="model/model.json")
@example(source="photos", output="absent/../null.csv")
@example(source="photos_link", output="absent/../photos/a.png")
def test_nothing_but_the_named_output_changes(source: str, output: str) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        work = Path(place, "here")
        fill(work)
        patch.chdir(work)
        before = contents(Path(place))
        result = predict(source, output)
        after = contents(Path(place))
        named = os.path.relpath(os.path.realpath(output), place)
        assert result.exit_code in ((0, 1, SOME_FAILED) if output.strip() else (2,)), result.output
        changed = {name for name in before if after.get(name) != before[name]}
        assert changed <= ({named} if result.exit_code not in (1, 2) else set())
        created = {name for name in after.keys() - before.keys() if after[name] != (stat.S_IFDIR, None)}
        assert created <= ({named} if result.exit_code not in (1, 2) else set())
        if result.exit_code == 1:
            assert result.stderr.splitlines()[-1].startswith("error: ")
            assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 1


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fill(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("source", "output", "line"),
    [
        ("photos", "photos", "error: --output photos is a folder; name a file in it, such as photos/ages.csv"),
        ("photos", ".", "error: --output . is a folder; name a file in it, such as ages.csv"),
        ("photos", "ages.xml", "error: --output ages.xml: .xml is no format that rows are written in; known: "),
        ("photos/a.png", "hard.csv", "error: --output hard.csv: is photos/a.png, which is read; name another file"),
        ("photos", "ages.csv/x.csv", "error: --output ages.csv/x.csv: not a directory; name a file in a folder"),
        ("photos", "/proc/ages.csv", "error: "),
        ("photos", "full.csv", "error: no space left on the disk"),
        ("photos", "full", "error: no space left on the disk"),
        ("pipe", "new.csv", "error: pipe is a pipe or a device, not a picture, a folder, "),
        ("null", "new.csv", "error: null is a pipe or a device"),
    ],
)
def test_what_cannot_be_written_or_read_is_one_line(work: Path, source: str, output: str, line: str) -> None:
    before = contents(work)
    result = predict(source, output)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(line)
    assert contents(work) == before


def test_a_folder_that_may_not_be_read_is_one_line(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # chmod holds nothing back from root
    result = predict("photos", "new.csv")
    assert result.exit_code == 1
    assert result.stderr == "error: photos cannot be read: no right to look into the folder\n"


def test_a_refused_output_costs_no_work(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimator.Estimator, "load", None)  # would fail
    assert "is a folder" in predict("photos", "photos").stderr


def test_standard_output_holds_the_rows_alone(work: Path) -> None:
    result = predict("photos", "-")
    assert not (work / "-").exists()
    assert result.stdout.splitlines()[0] == "path,face,value,low,high,left,top,right,bottom,score,note,error"
    assert len(result.stdout.splitlines()) == 4
    assert "standard output: 2 faces of 3 pictures, rows with an error: 1" in result.stderr


@pytest.mark.parametrize(("source", "status"), [("photos/a.png", 0), ("photos", SOME_FAILED)])
def test_the_status_says_whether_pictures_failed(work: Path, source: str, status: int) -> None:
    assert predict(source, "new.csv").exit_code == status
    assert (work / "new.csv").exists()


def test_where_nothing_could_be_read_there_is_one_line_and_the_earlier_file_stays(work: Path) -> None:
    before = contents(work)
    result = predict("photos/broken.jpg", "ages.csv")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "error: photos/broken.jpg: cannot be read"
    assert contents(work) == before


def test_the_help_names_every_status() -> None:
    for arguments in (["--help"], ["predict", "--help"]):
        text = " ".join(CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).output.split())
        for status in ("0 done", "1 an error", "2 wrong usage", "3 done, but some pictures failed"):
            assert status in text


def datasets_into(stdout: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from agecascade.cli import app; app()", "datasets"]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def test_a_reader_that_goes_away_is_one_line() -> None:
    read, write = os.pipe()
    os.close(read)
    result = datasets_into(write)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, "error: nobody reads the output any more; it is cut\n")


def test_a_full_standard_output_is_one_line(tmp_path: Path) -> None:
    with device(tmp_path, "full").open("w") as full:
        result = datasets_into(full.fileno())
    assert result.returncode == 1
    assert result.stderr.startswith("error: no space left on the disk")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (KeyboardInterrupt(), "error: interrupted; what was finished before stays as it was"),
        (PermissionError(13, "Permission denied", "model/model.json"), "error: model/model.json: permission denied; get the right to"),
        (OSError(30, "Read-only file system", "params.yaml"), "error: params.yaml: read-only file system; get the right to"),
        (OSError("no number"), "error: no number; check the path, and run it again"),
    ],
)
def test_errors_of_the_system_and_ctrl_c_are_one_line(
    work: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, line: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(estimator.Estimator, "load", fail)
    before = contents(work)
    result = predict("photos", "new.csv")
    assert result.exit_code == 1
    assert result.stderr.startswith(line)
    assert len(result.stderr.splitlines()) == 1
    assert contents(work) == before


@pytest.mark.parametrize(
    "arguments", [["study", "sample"], ["tables"], ["tables", "--papers"], ["study", "../model"], ["study", "/etc/passwd"]]
)
def test_outside_of_a_repository_is_one_line(work: Path, arguments: list[str]) -> None:
    before = contents(work)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert contents(work) == before


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii"])
def test_a_name_that_the_terminal_cannot_show_ends_nothing(work: Path, encoding: str) -> None:
    code = (
        "from agecascade import cli, estimator\n"
        "from agecascade.faces.rows import Columns\n"
        "empty = {'note': None, 'coverage': None, 'grid': [0.0, 100.0], 'columns': lambda *_, **__: Columns()}\n"
        "empty |= {'set_params': lambda self, **_: self, 'valued_batches': lambda *_, **__: (each for each in ())}\n"
        "estimator.Estimator.load = classmethod(lambda *_, **__: type('Empty', (), empty)())\n"
        "cli.app()"
    )
    arguments = ["predict", "photos/a.png", "--model", "model", "--output", os.fsdecode("ä".encode() + b"\xe9.csv")]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    result = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert ".csv: 0 faces of 0 pictures," in result.stdout
    assert Path(os.fsdecode("ä".encode() + b"\xe9.csv")).exists()


def test_a_wrong_model_folder_is_not_searched_through(work: Path) -> None:
    deep = work / "model" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert {path.name for path in cli.photos._files_of(work / "model")} == {"model.json", "a"}
    (work / "model" / "fold0").mkdir()
    (work / "model" / "fold0" / "model.safetensors").symlink_to(work / "ages.csv")
    assert predict("photos", "ages.csv").stderr.startswith("error: --output ages.csv: is model/fold0/model.safetensors, which is read")
