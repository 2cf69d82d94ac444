"""The command line."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from agecascade.cli import SOME_FAILED, app
from agecascade.errors import ParamsError
from agecascade.faces import detectors
from agecascade.faces.detectors.weights import YUNET
from agecascade.faces.rows import COLUMNS
from agecascade.imaging import encode_image
from model_folders import CROP, write_model

HEADER = COLUMNS


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    """`agecascade --help` must not pay for torch and the like: each takes longer to import than all else."""
    heavy = ["torch", "mlflow", "pandas", "cv2", "pyarrow", "numpy", "scipy", "matplotlib"]
    code = f"import sys, agecascade.cli; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def write_pictures(folder: Path) -> Path:
    picture = encode_image(np.full((40, 30, 3), 90, np.uint8), "png", 100)
    (folder / "sub").mkdir(parents=True)
    (folder / "b.png").write_bytes(picture)
    (folder / "sub" / "a.png").write_bytes(picture)
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("none")
    return folder


def test_predict_writes_one_row_per_picture_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "model", 4)
    write_pictures(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    result = call("predict", "--model", "model", "pictures", "--output", "out/ages.csv", "--aligned", "--batch-size", 2)
    assert result.exit_code == 3, result.output  # one cannot be read
    with Path("out/ages.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == HEADER
    assert [row[0] for row in rows] == ["pictures/b.png", "pictures/broken.jpg", "pictures/sub/a.png"]
    assert rows[0] == ["pictures/b.png", "0", "40", "38", "42", "0", "0", "30", "40", "", "", ""]
    assert rows[1] == ["pictures/broken.jpg", *[""] * 10, rows[1][-1]]
    assert rows[1][-1].startswith("its 10 bytes are no picture of a format that is read")
    assert [path.name for path in Path("out").iterdir()] == ["ages.csv"]
    assert "2 faces of 3 pictures, rows with an error: 1; left out: 1 .txt" in result.output


@pytest.mark.parametrize("name", ["ages.csv", "ages.parquet"])
def test_predict_goes_through_what_a_folder_of_photos_holds(tmp_path: Path, name: str) -> None:
    folder = write_pictures(tmp_path / "pictures")
    picture = (folder / "b.png").read_bytes()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes(picture)
    (folder / "dead.png").symlink_to(folder / "nothing.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "a.png").write_bytes(picture)
    output = tmp_path / name
    result = call("predict", "--model", write_model(tmp_path / "model", 4), folder, "--output", output, "--aligned")
    assert result.exit_code == SOME_FAILED, result.output
    assert "3 faces of 7 pictures, rows with an error: 4; left out: 1 .txt" in result.output
    frame = pd.read_csv(output) if name.endswith(".csv") else pd.read_parquet(output)
    rows = {Path(path).name: error for path, error in zip(frame["path"], frame["error"], strict=True)}
    assert pd.isna(rows["caf\\xe9.png"])
    assert rows["dead.png"] == "cannot be read: a link that leads nowhere"
    assert rows["pipe.png"] == "cannot be read: it is a pipe, no file"
    assert rows["loop.png"] == "cannot be read: Too many levels of symbolic links"


@pytest.mark.parametrize(("option", "value", "line"), [("--max-side", 3, "max_side: "), ("--min-score", 2.5, "min_score: ")])
def test_a_detection_that_cannot_be_is_one_line(tmp_path: Path, option: str, value: float, line: str) -> None:
    folder = write_pictures(tmp_path / "pictures")
    result = call("predict", "--model", write_model(tmp_path / "m", 4), folder, "--output", tmp_path / "a.csv", option, value)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("option", "value"), [("--max-side", 640), ("--min-score", 0.5)])
def test_an_option_of_detection_is_not_ignored_for_crops(tmp_path: Path, option: str, value: float) -> None:
    places = ("--model", write_model(tmp_path / "m", 4), write_pictures(tmp_path / "pictures"), "--output", tmp_path / "a.csv")
    result = call("predict", *places, "--aligned", option, value)
    assert result.exit_code == 1
    assert result.stderr == f"error: {option} is of the search for faces, and --aligned means that there is none; leave one of them away\n"
    assert not (tmp_path / "a.csv").exists()


def test_two_forms_of_the_data_sets_are_refused() -> None:
    result = call("datasets", "--json", "--markdown")
    assert (result.exit_code, result.stderr) == (1, "error: --json and --markdown: give one of them\n")


def test_predict_takes_one_picture(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    output = tmp_path / "ages.csv"
    result = call("predict", "--model", write_model(tmp_path / "model", 4), folder / "b.png", "--output", output, "--aligned")
    assert result.exit_code == 0, result.output
    assert len(output.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("model", "source", "line"),
    [
        ("model", "absent", "absent does not exist; wanted is a picture, a folder, a pattern"),
        ("model", "model", "model holds no picture"),
        ("absent", "pictures", "absent is no folder"),
    ],
)
def test_predict_ends_with_one_line(tmp_path: Path, model: str, source: str, line: str) -> None:
    write_model(tmp_path / "model", 4)
    write_pictures(tmp_path / "pictures")
    output = tmp_path / "ages.csv"
    output.write_text("earlier")
    result = call("predict", "--model", tmp_path / model, tmp_path / source, "--output", output, "--aligned")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1
    assert output.read_text() == "earlier"


def test_predict_without_the_detector_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / YUNET.file).write_bytes(b"no model")
    monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(detectors, "_per_thread", threading.local())
    (tmp_path / "ages.csv").write_text("earlier")
    folder = write_pictures(tmp_path / "pictures")
    result = call("predict", "--model", write_model(tmp_path / "model", 4), folder, "--output", tmp_path / "ages.csv")
    assert result.exit_code == 1
    assert "ONNX Runtime cannot read it as a YuNet model" in result.stderr
    assert (tmp_path / "ages.csv").read_text() == "earlier"


def test_predict_on_photos_that_its_crops_cannot_be_made_of_is_one_line(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", 4, crop=CROP | {"crop": "hull", "trained_with": "annotation"})
    result = call("predict", "--model", model, write_pictures(tmp_path / "pictures"), "--output", tmp_path / "ages.csv")
    assert result.exit_code == 1
    assert "give it aligned crops (--aligned" in result.stderr
    assert result.stderr.count("error: ") == 1
    assert not (tmp_path / "ages.csv").exists()


def fake_module(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    module = ModuleType(name)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize(
    ("flags", "drawn", "target"),
    [((), False, None), (("--drawn",), True, None), (("--target", "agedb"), False, "agedb"), (("--force",), False, None)],
)
def test_study_prints_what_it_changed_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], drawn: bool, target: str | None
) -> None:
    fake_module(monkeypatch, "agecascade.study", apply=lambda name, root, **how: f"{name} in {root}, {how}")
    monkeypatch.chdir(tmp_path)
    how = {"drawn": drawn, "target": target, "force": "--force" in flags}
    assert call("study", "fgnet", *flags).output == f"fgnet in {tmp_path}, {how}\n"


def test_a_wrong_study_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(name: str, root: Path, **_: object) -> str:
        raise ParamsError(f"unknown study {name!r}")

    fake_module(monkeypatch, "agecascade.study", apply=apply)
    result = call("study", "fgnett")
    assert (result.exit_code, result.stderr) == (1, "error: unknown study 'fgnett'\n")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [((), "table of 2"), (("fgnet",), "page of fgnet"), (("--json",), "json of 2"), (("--markdown",), "markdown of 2")],
)
def test_datasets_prints_the_form_of_the_flag(monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], expected: str) -> None:
    made = {"card": lambda name, drawn: name, "cards": lambda drawn: ["a", "b"], "drawn_folders": lambda root: frozenset()}
    forms = {
        "table": lambda cards, width: f"table of {len(cards)}",
        "page": lambda card: f"page of {card}",
        "as_json": lambda cards: f"json of {len(cards)}",
        "markdown": lambda cards: f"markdown of {len(cards)}",
    }
    from agecascade.datasets import catalogue

    for name, function in {**made, **forms}.items():
        monkeypatch.setattr(catalogue, name, function)
    assert call("datasets", *flags).output == f"{expected}\n"


def test_datasets_with_a_wrong_mirror_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", "/nowhere/at/all")
    result = call("datasets", "fgnet")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: AGECASCADE_MIRROR=/nowhere/at/all")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "expected"), [((), "pipeline"), (("--runs",), "runs"), (("--papers",), "papers"), (("--against", "main"), "beside main")]
)
def test_tables_reads_runs_only_with_their_flags(monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], expected: str) -> None:
    fake_module(monkeypatch, "agecascade.evaluation", __path__=[])
    fake_module(monkeypatch, "agecascade.evaluation.tables", current_tables=lambda root: "pipeline")
    fake_module(monkeypatch, "agecascade.evaluation.runs", table_over_runs=lambda root: "runs")
    fake_module(monkeypatch, "agecascade.evaluation.papers", tables_beside_papers=lambda root: "papers")
    fake_module(monkeypatch, "agecascade.evaluation.against", against=lambda root, revision: f"beside {revision}")
    assert call("tables", *flags).output == f"{expected}\n"


@pytest.mark.parametrize("flags", [("--runs", "--papers"), ("--runs", "--against"), ("--papers", "--against")])
def test_tables_of_two_kinds_at_once_are_one_line(flags: tuple[str, ...]) -> None:
    result = call("tables", *flags, *(["main"] if "--against" in flags else []))
    assert (result.exit_code, result.stderr) == (1, f"error: {' and '.join(flags)}: give one of them\n")


YEARS = [float(age) for age in range(15, 23)]  # the grid of `write_model`, whose fifth value is 19


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet"])
def test_predict_answers_whether_an_age_is_reached_in_every_format(tmp_path: Path, name: str) -> None:
    model, folder, output = write_model(tmp_path / "model", 4, grid=YEARS), write_pictures(tmp_path / "pictures"), tmp_path / name
    result = call("predict", "--model", model, folder, "--output", output, "--aligned", "--threshold", 18, "--challenge", 19.5)
    assert result.exit_code == SOME_FAILED, result.output  # the broken picture, as without a threshold
    readers: dict[str, Any] = {".csv": pd.read_csv, ".tsv": partial(pd.read_csv, sep="\t"), ".parquet": pd.read_parquet}
    readers |= {".json": pd.read_json, ".jsonl": partial(pd.read_json, lines=True)}
    frame = readers[output.suffix](output)
    assert list(frame.columns) == [*HEADER, "probability", "decision"]
    found = frame[frame["error"].isna()]
    assert found["probability"].tolist() == [1, 1]
    assert found["decision"].tolist() == ["challenge", "challenge"]  # 19 is below 19.5
    assert frame.loc[frame["error"].notna(), ["probability", "decision"]].isna().all().all()


def test_without_a_challenge_age_the_interval_decides(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    for peak, low, decision in ((4, 17, "challenge"), (6, 19, "pass")):
        model, output = write_model(tmp_path / f"model{peak}", peak, grid=YEARS), tmp_path / f"{peak}.csv"
        call("predict", "--model", model, folder / "b.png", "--output", output, "--aligned", "--threshold", 18)
        (row,) = pd.read_csv(output).to_dict("records")
        assert (row["low"], row["probability"], row["decision"]) == (low, 1, decision)


@pytest.mark.parametrize(
    ("changes", "options", "line"),
    [
        ({"grid": YEARS}, ["--challenge", 25], "challenge: it goes with a threshold"),
        ({"grid": YEARS}, ["--threshold", 18, "--challenge", 17], "challenge: 17 is below the threshold 18"),
        ({"grid": YEARS}, ["--threshold", 18, "--challenge", 25], "threshold: 25 does not lie within the grid of the model, 15 to 22"),
        ({"grid": YEARS}, ["--threshold", 15], "threshold: 15 does not lie within the grid"),
        ({}, ["--threshold", 18], "threshold: the grid of the model has no value between 10 and 20, so that it cannot tell 18"),
        ({"grid": YEARS, "interval": None}, ["--threshold", 18], "threshold: this model has no interval to decide by"),
    ],
)
def test_a_threshold_that_a_model_cannot_tell_is_one_line(tmp_path: Path, changes: Any, options: list[Any], line: str) -> None:
    model, output = write_model(tmp_path / "model", 4, **changes), tmp_path / "ages.csv"
    result = call("predict", "--model", model, write_pictures(tmp_path / "p"), "--output", output, "--aligned", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {line}")
    assert result.stderr.count("\n") == 1
    assert not output.exists()


def test_the_earlier_flag_of_the_input_still_works_for_one_version(tmp_path: Path) -> None:
    folder, output = write_pictures(tmp_path / "pictures"), tmp_path / "ages.csv"
    result = call("predict", "--model", write_model(tmp_path / "model", 4), "--input", folder / "b.png", "--output", output, "--aligned")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == ("note: --input is the earlier form, and goes with the next version; name the INPUT without it")
    assert len(output.read_text().splitlines()) == 2
