"""The output that a person names: formats, links, devices, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.errors import OutputError
from agecascade.io.files import FORMULAS, no_formula, of_cell, write_csv
from agecascade.io.user_output import FORMATS, UserOutput
from devices import device


def frames() -> Iterator[pd.DataFrame]:
    """Two frames as the Estimator yields them, the first without a face."""
    columns = {
        "path": "str",
        "face": "Int64",
        "value": "float64",
        "low": "float64",
        "high": "float64",
        "landmarks": "object",
        "score": "float64",
        "error": "str",
    }
    nothing = [("no.png", None, np.nan, np.nan, np.nan, None, np.nan, "no face found")]
    faces = [(f"{i}.png", i, 40 + i / 3, 38.0, 42.0, [0, 1, 30.5, 40], 0.875, None) for i in range(3)]
    for rows in (nothing, faces):
        series = {name: pd.Series(list(values), dtype=columns[name]) for name, values in zip(columns, zip(*rows, strict=True), strict=True)}
        yield pd.DataFrame(series)


def test_csv_is_what_it_was(tmp_path: Path) -> None:
    UserOutput(tmp_path / "ages.csv").write(frames())
    as_text = (
        frame.assign(landmarks=[None if points is None else " ".join(map(str, points)) for points in frame["landmarks"]])
        for frame in frames()
    )
    write_csv(tmp_path / "before.csv", as_text)
    assert (tmp_path / "ages.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()


def rows_of(path: Path) -> list[dict[str, object]]:
    """The rows of a written file, read by the format of its name."""
    if path.suffix == ".parquet":
        rows = json.loads(pd.read_parquet(path).to_json(orient="records"))
    elif path.suffix == ".json":
        rows = json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        read = csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ",")
        rows = [{key: value or None for key, value in row.items()} for row in read]
    return rows


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_every_row(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ages{suffix}"
    UserOutput(path).write(frames())
    rows = rows_of(path)
    assert [row["path"] for row in rows] == ["no.png", "0.png", "1.png", "2.png"]
    assert rows[0]["value"] is rows[0]["landmarks"] is rows[0]["face"] is None
    assert rows[0]["error"] == "no face found"
    assert float(str(rows[3]["value"])) == pytest.approx(40 + 2 / 3, abs=1e-4)
    assert rows[3]["landmarks"] in ([0, 1, 30.5, 40], "0 1 30.5 40")
    assert float(str(rows[3]["face"])) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["ages.zip", "ages.xlsx", "a.PNG", "ages.csv.bz2", "model.safetensors", "params.yaml"])
def test_an_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"is no format that rows are written in; known: \.csv, "):
        UserOutput(tmp_path / name)


def test_no_suffix_is_csv(tmp_path: Path) -> None:
    UserOutput(tmp_path / "ages").write(frames())
    assert len(rows_of(tmp_path / "ages")) == 4


@pytest.mark.parametrize("name", [".", "photos", "link_to_photos"])
def test_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link_to_photos").symlink_to("photos")
    with pytest.raises(OutputError, match="is a folder; name a file in it, such as"):
        UserOutput(tmp_path / name)


@pytest.mark.parametrize("name", ["labels.csv", "link.csv", "hard.csv", "photos/../labels.csv"])
def test_an_input_is_refused_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "labels.csv").write_text("a picture, by its content")
    (tmp_path / "link.csv").symlink_to("labels.csv")
    os.link(tmp_path / "labels.csv", tmp_path / "hard.csv")
    with pytest.raises(OutputError, match="which is read; name another file"):
        UserOutput(tmp_path / name, [tmp_path / "labels.csv"])


def test_nothing_is_written_into_a_folder_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match=r"lies in .*model, which is read"):
        UserOutput(tmp_path / "model" / "sub" / "ages.csv", folders=[tmp_path / "model"])


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "ages.csv").write_text("earlier")
    (tmp_path / "elsewhere" / "ages.csv").chmod(0o640)
    for name, target in (("link.csv", "elsewhere/ages.csv"), ("dead.csv", "elsewhere/new.csv")):
        (tmp_path / name).symlink_to(target)
        UserOutput(tmp_path / name).write(frames())
        assert (tmp_path / name).is_symlink()
        assert len(rows_of(tmp_path / target)) == 4
    assert stat.S_IMODE((tmp_path / "elsewhere" / "ages.csv").stat().st_mode) == 0o640


def test_another_name_of_the_file_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "ages.csv").write_text("earlier")
    os.link(tmp_path / "ages.csv", tmp_path / "copy.csv")
    UserOutput(tmp_path / "ages.csv").write(frames())
    assert (tmp_path / "copy.csv").read_text() == "earlier"


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(OutputError, match="too many levels of symbolic links"):
        UserOutput(tmp_path / "loop.csv")


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    UserOutput(pipe).write(frames())
    reader.join(10)
    assert len(read[0].splitlines()) == 5
    assert pipe.is_fifo()


def test_devices_are_written_to_and_stay(tmp_path: Path) -> None:
    null, full = device(tmp_path, "null"), device(tmp_path, "full")
    UserOutput(null).write(frames())
    (tmp_path / "link.csv").symlink_to(full)
    with pytest.raises(OSError, match="No space left"):
        UserOutput(tmp_path / "link.csv").write(frames())
    (tmp_path / "null.csv").symlink_to(null)
    UserOutput(tmp_path / "absent" / ".." / "null.csv").write(frames())  # a path that the system does not know
    assert null.is_char_device()
    assert full.is_char_device()


def test_a_picture_behind_a_path_that_the_system_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("mine")
    with pytest.raises(OutputError, match="which is read"):
        UserOutput(tmp_path / "absent" / ".." / "labels.csv", [tmp_path / "labels.csv"])


def test_what_became_a_folder_meanwhile_stays(tmp_path: Path) -> None:
    output = UserOutput(tmp_path / "ages.csv")
    (tmp_path / "ages.csv").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        output.write(frames())
    assert (tmp_path / "ages.csv").is_dir()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_names_of_the_standard_output(name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = UserOutput(Path(name))
    assert output.standard
    output.write(frames())
    assert len(capfdbinary.readouterr().out.splitlines()) == 5


def test_a_file_that_is_open_is_gone_on_with(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("before\n")
    with log.open("ab") as file:
        UserOutput(Path(f"/dev/fd/{file.fileno()}")).write(frames())
    assert log.read_text().startswith("before\npath,")
    with log.open("rb") as file, pytest.raises(OutputError, match="which is read"):
        UserOutput(Path(f"/dev/fd/{file.fileno()}"), [log])


def test_a_failure_leaves_the_earlier_file(tmp_path: Path) -> None:
    def broken() -> Iterator[pd.DataFrame]:
        yield next(frames())
        raise ValueError("stop")

    (tmp_path / "ages.csv").write_text("earlier")
    for name in ("ages.csv", "new.parquet"):
        with pytest.raises(ValueError, match="stop"):
            UserOutput(tmp_path / name).write(broken())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("ages.csv", "earlier")]


def test_names_that_are_no_text_are_written_with_escapes(tmp_path: Path) -> None:
    frame = next(frames()).assign(path=pd.Series([os.fsdecode(b"caf\xe9.png")], dtype="object"))
    UserOutput(tmp_path / "ages.csv").write(iter([frame]))
    assert "caf\\udce9.png" in (tmp_path / "ages.csv").read_text()


def test_a_persons_hidden_file_of_such_a_name_stays(tmp_path: Path) -> None:
    (tmp_path / ".ages.0123abcd.csv").write_text("mine")
    UserOutput(tmp_path / "ages.csv").write(frames())
    assert (tmp_path / ".ages.0123abcd.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["ages.csv", "new/deep/ages.csv"])
def test_a_place_without_the_right_to_write_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "access", lambda place, _mode: place != tmp_path)  # root may write everywhere
    with pytest.raises(OutputError, match=r"no right to write in .*; name another place"):
        UserOutput(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz"])
def test_no_name_is_a_formula_to_a_spreadsheet(tmp_path: Path, suffix: str) -> None:
    names = ["=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "a=1.png", "'a.png", ""]
    rows = pd.DataFrame({"path": pd.Series(names, dtype="str"), "value": -1.5, "landmarks": [[-1.0, 2.0]] * len(names)})
    path = tmp_path / f"ages{suffix}"
    UserOutput(path).write(iter([rows]))
    text = (gzip.decompress(path.read_bytes()) if suffix.endswith("gz") else path.read_bytes()).decode()
    cells = list(csv.reader(text.splitlines()[1:], delimiter="\t" if suffix == ".tsv" else ","))
    assert [cell[0] for cell in cells] == ["'=1+1.png", "'+a.png", "'-a.png", "'@a.png", "'\ta.png", "a=1.png", "'a.png", ""]
    assert {(cell[1], cell[2]) for cell in cells} == {("-1.5", "-1 2")}
    UserOutput(tmp_path / "ages.jsonl").write(iter([rows]))
    assert [json.loads(line)["path"] for line in (tmp_path / "ages.jsonl").read_text().splitlines()] == names


@given(st.text(max_size=8))
def test_a_cell_is_read_as_the_text_that_it_was(text: str) -> None:
    assert not no_formula(text).startswith(FORMULAS)
    if not text.startswith("'"):
        assert of_cell(no_formula(text)) == text
