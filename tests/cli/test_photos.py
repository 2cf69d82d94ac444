"""`agecascade predict` as a photographer and an engineer use it: many kinds of inputs and outputs, and what goes wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import agecascade
from agecascade import released
from agecascade.cli import SOME_FAILED, app
from agecascade.faces import detectors
from agecascade.faces.rows import COLUMNS
from agecascade.imaging import decode_image, encode_image, videos
from images import noise
from model_folders import SIZE, write_model

YEARS = [float(age) for age in range(15, 23)]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model that says 40 of everything, and pictures that are crops."""
    write_model(tmp_path / "models" / "target" / "row" / "fold0", 4)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        (tmp_path / "photos" / f"{i}.png").write_bytes(encode_image(noise(i, SIZE, SIZE), "png", 100))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*arguments: object, listed: bytes = b"", model: str = "models/target", aligned: bool = True) -> Result:
    command = ["predict", *map(str, arguments), "--model", model, *["--aligned"] * aligned]
    return CliRunner().invoke(app, command, input=listed)


def paths(output: str) -> list[str]:
    return pd.read_csv(output)["path"].tolist()


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"agecascade {agecascade.__version__}\n")


def test_several_inputs_and_patterns_in_one_command(work: Path) -> None:
    result = predict("photos/2.png", "photos/[01].png", "photos", "--output", "a.csv")
    assert result.exit_code == 0, result.output
    assert paths("a.csv") == [f"photos/{i}.png" for i in (2, 0, 1, 0, 1, 2)]


def test_without_an_input_it_says_what_is_missing(work: Path) -> None:
    result = predict()
    assert result.exit_code == 2
    assert "INPUT" in result.stderr


def test_a_parent_folder_with_one_model_is_that_model(work: Path) -> None:
    for model in ("models/target", "models"):
        assert predict("photos/0.png", "--output", "a.csv", model=model).exit_code == 0
    write_model(work / "models" / "target" / "other", 4)
    result = predict("photos/0.png", "--output", "a.csv", model="models/target")
    assert result.exit_code == 1
    assert result.stderr == "error: models/target holds several models: other, row; name one of them\n"
    result = predict("photos/0.png", "--output", "a.csv", model="models")
    assert result.stderr == "error: models holds several models: target/other, target/row; name one of them\n"


def test_the_help_explains_every_column() -> None:
    text = " ".join(CliRunner().invoke(app, ["predict", "--help"], env={"COLUMNS": "200"}).output.split())
    for column in ("path", "frame", "face", "value", "low", "high", "left", "top", "right", "bottom", "score", "note", "error"):
        assert column in text
    assert "value, the estimate in the unit of the labels that the model learned: years, where it learned ages" in text


def test_without_an_output_a_table_is_printed_and_no_file_written(work: Path) -> None:
    before = sorted(work.rglob("*"))
    result = predict("photos", "broken.jpg")
    assert result.exit_code == SOME_FAILED
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["path", "face", "value", "low", "high", "left", "top", "right", "bottom"]
    assert lines[1].split() == ["photos/0.png", "0", "40.0", "38.0", "42.0", "0", "0", str(SIZE), str(SIZE)]
    assert lines[4].startswith("broken.jpg    its 10 bytes are no picture")
    assert "screen: 3 faces of 4 pictures, rows with an error: 1" in result.output
    assert "value: the estimate, in years where the model learned ages; low to high: its 80 % interval" in result.output
    assert sorted(work.rglob("*")) == before


def test_archives_and_lists(work: Path) -> None:
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write("photos/1.png", "in/1.png")
        archive.write("broken.jpg")
    result = predict("photos.zip", "-", "--output", "a.csv", listed=b"photos/0.png\nabsent.png\n")
    assert result.exit_code == SOME_FAILED
    frame = pd.read_csv("a.csv")
    assert frame["path"].tolist() == ["photos.zip/in/1.png", "photos.zip/broken.jpg", "photos/0.png", "absent.png"]
    assert frame["error"].isna().tolist() == [True, False, True, False]
    assert frame["error"][3] == "cannot be read: No such file or directory"
    assert "2 faces of 4 pictures, rows with an error: 2" in result.output


@pytest.mark.parametrize(
    ("inputs", "listed", "line"),
    [
        (["broken.jpg"], b"", "broken.jpg: its 10 bytes are no picture"),
        (["-"], b"x.png\ny.png\n", "none of 2 pictures could be read; the first: x.png: cannot be read: No such file or directory"),
        (["broken.zip"], b"", "broken.zip: it is truncated, damaged or no archive"),
        (["broken.mp4"], b"", "broken.mp4: OpenCV cannot read it as a video"),
        (["empty.zip"], b"", "empty.zip: the archive holds no picture"),
    ],
)
def test_where_nothing_can_be_read_the_status_is_1_and_nothing_written(work: Path, inputs: list[str], listed: bytes, line: str) -> None:
    (work / "broken.zip").write_bytes(b"no archive")
    (work / "broken.mp4").write_bytes(b"no video")
    with zipfile.ZipFile(work / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "none")
    (work / "a.csv").write_text("earlier")
    result = predict(*inputs, "--output", "a.csv", "--draw", "drawn", listed=listed)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"error: {line}")
    assert sum(part.startswith("error: ") for part in result.stderr.splitlines()) == 1
    assert (work / "a.csv").read_text() == "earlier"
    assert not (work / "drawn").exists()


def test_a_picture_without_a_face_has_not_failed(work: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    monkeypatch.setattr(detectors, "_per_thread", threading.local())
    result = predict("photos/0.png", "--output", "a.csv", aligned=False)
    assert result.exit_code == 0, result.output
    assert pd.read_csv("a.csv")["error"].tolist() == ["no face found"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet"])
def test_a_video_has_the_number_of_the_frame_and_options_their_columns(work: Path, name: str) -> None:
    writer = cv2.VideoWriter("a.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (SIZE, SIZE))
    for i in range(7):
        writer.write(noise(i, SIZE, SIZE))
    writer.release()
    result = predict("a.avi", "photos/0.png", "--every", 3, "--distribution", "--landmarks", "--output", name)
    assert result.exit_code == 0, result.output
    read = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}.get(Path(name).suffix)
    frame = pd.DataFrame(map(json.loads, Path(name).read_text().splitlines())) if read is None else read(name)
    assert list(frame.columns) == ["path", "frame", *COLUMNS[1:], "distribution", "landmarks"]
    assert frame["frame"].tolist()[:3] == [0, 3, 6]
    assert pd.isna(frame["frame"][3])
    distribution = frame["distribution"][0]
    shares = [float(share) for share in distribution.split()] if isinstance(distribution, str) else list(distribution)
    assert len(shares) == 8
    assert shares[4] == pytest.approx(1)
    assert "; distribution: over the 8 labels from 0 to 70" in result.output


def test_the_screen_says_where_columns_are_that_it_has_no_room_for(work: Path) -> None:
    result = predict("photos/0.png", "--distribution", "--landmarks")
    assert "; distribution and landmarks: too wide for the screen, --output ages.csv has them" in result.output
    assert "distribution: over the" not in result.output
    assert "too wide" not in predict("photos/0.png").output


def test_a_camera_of_which_there_is_none_is_one_line(work: Path) -> None:
    result = predict("camera:93", "--output", "a.csv")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: camera:93: OpenCV finds no such camera")
    assert not (work / "a.csv").exists()


def test_the_model_of_the_package_is_never_written_over(work: Path) -> None:
    for name in ("model.json", "ages.csv"):
        output = released.folder() / name
        before = output.read_bytes() if output.exists() else None
        result = CliRunner().invoke(app, ["predict", "photos", "--aligned", "--output", str(output)])
        after = output.read_bytes() if output.exists() else None
        if before is None:
            output.unlink(missing_ok=True)
        else:
            output.write_bytes(before)  # not spoilt for other tests
        assert result.exit_code == 1
        assert f"error: --output {output}: lies in {output.parent}, which is read" in result.stderr
        assert after == before


@pytest.mark.parametrize("command", [["predict", "photos", "--draw", "drawn", "--explain"], ["explain", "photos", "--output", "drawn"]])
def test_an_exported_model_is_refused_before_torch_is_asked_for(work: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agecascade.explain.photos", None)  # as in an installation for prediction alone
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "an exported model, such as the one of the package, has no layers to look into" in result.stderr
    assert not (work / "drawn").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ("photos --output a.csv", 0, ""),
        ("photos --output -", 1, "error: --output -: the standard output is closed; name a file\n"),
        ("absent", 1, "error: absent does not exist; "),
    ],
)
def test_a_closed_standard_output_is_no_trace(work: Path, arguments: str, status: int, line: str) -> None:
    command = f"{sys.executable} -c 'from agecascade.cli import app; app()' predict {arguments} --aligned --model models/target >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("a.csv").exists() == (status == 0)


def test_an_error_is_one_line_whatever_a_file_is_called(work: Path) -> None:
    (work / "a\nb\x1b[2J.jpg").write_text("text")
    result = predict("a\nb\x1b[2J.jpg", "--output", "a.csv")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: a?b?[2J.jpg: its 4 bytes are no picture")


def test_a_camera(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Capture:
        def __init__(self, _: int) -> None: ...
        def isOpened(self) -> bool:
            return True

        def grab(self) -> bool:
            return True

        def retrieve(self) -> tuple[bool, np.ndarray]:
            return True, noise(0, SIZE, SIZE)

        def get(self, _: int) -> float:
            return 0.0

        def release(self) -> None: ...

    monkeypatch.setattr(videos.cv2, "VideoCapture", Capture)
    result = predict("camera:0", "--frames", 3, "--every", 2, "--output", "a.csv")
    assert result.exit_code == 0, result.output
    assert pd.read_csv("a.csv")[["path", "frame"]].to_numpy().tolist() == [["camera:0", 0], ["camera:0", 2], ["camera:0", 4]]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_and_batches_change_no_row(work: Path, workers: int) -> None:
    for i in range(3, 40):
        Path(f"photos/{i}.png").write_bytes(encode_image(noise(i, SIZE, SIZE), "png", 100) if i % 7 else b"broken")
    assert predict("photos", "--output", "one.csv", "--workers", 1).exit_code == SOME_FAILED
    assert predict("photos", "--output", "a.csv", "--workers", workers, "--batch-size", 4).exit_code == SOME_FAILED
    assert Path("a.csv").read_text() == Path("one.csv").read_text()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--workers", 0], "workers: a whole number of 1 or more is wanted, found 0"),
        (["--batch-size", 0], "batch_size: a whole number of 1 or more is wanted, found 0"),
        (["--every", 0], "--every and --frames: 1 or more is wanted, found 0"),
        (["--device", "abacus"], "device 'abacus'"),
        (["--explain"], "--explain: name with --draw the folder"),
        (["--draw", "photos"], "--draw photos: lies in photos, which is read"),
        (["--draw", "full"], "--draw full has files in it; name a new folder, or say --overwrite"),
        (["--overwrite"], "--overwrite: is of the pictures that --draw writes"),
        (["--draw", "broken.jpg"], "--draw broken.jpg is no folder"),
        (["--draw", "new", "--output", "new/a.csv"], "--output new/a.csv: is in the way of --draw new, a new folder"),
        (["--draw", "a.csv"], "--output a.csv: is in the way of --draw a.csv, a new folder"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(work: Path, options: list[object], line: str) -> None:
    (work / "full").mkdir()
    (work / "full" / "mine.txt").write_text("mine")
    result = predict("photos", "--output", "a.csv", *options)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"error: {line}")
    assert not (work / "a.csv").exists()
    assert [path.name for path in (work / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("options", [["--model", ""], ["--model="], ["--output", " "], ["--draw", ""]])
def test_an_empty_value_is_not_the_working_folder(work: Path, options: list[str]) -> None:
    result = CliRunner().invoke(app, ["predict", "photos", *options])
    assert result.exit_code == 2
    assert f"{options[0].rstrip('=')}: its value is empty" in result.stderr


def test_the_decision_colours_the_box_and_drawn_pictures_have_names_of_their_own(work: Path) -> None:
    write_model(work / "young", 1, grid=YEARS)
    Path("photos/sub").mkdir()
    for place in ("photos/sub/0.png", "photos/0.png"):
        Path(place).write_bytes(encode_image(np.full((400, 300, 3), 128, np.uint8), "png", 100))
    result = predict("photos/0.png", "photos/sub/0.png", "--threshold", 18, "--draw", "drawn", "--output", "a.csv", model="young")
    assert result.exit_code == 0, result.output
    frame = pd.read_csv("a.csv")
    assert frame["decision"].tolist() == ["challenge", "challenge"]
    assert frame["drawn"].tolist() == ["0001_0.jpg", "0002_0.jpg"]
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["0001_0.jpg", "0002_0.jpg"]
    drawn = decode_image(Path("drawn/0001_0.jpg").read_bytes())
    assert drawn.shape == (800, 600, 3)
    orange = np.abs(drawn.astype(int) - [213, 94, 0]).max(axis=2) < 40
    assert orange[:, 1].mean() > 0.9  # the box is the whole picture


@pytest.fixture
def group(mirror: Path, monkeypatch: pytest.MonkeyPatch, work: Path) -> list[tuple[float, float]]:
    """group.png: six faces of FG-NET side by side, in two rows; returns the cells' centres."""
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    monkeypatch.setattr(detectors, "_per_thread", threading.local())
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[::170]
        faces = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    canvas = Image.new("RGB", (3 * 420, 2 * 420), (120, 130, 120))
    for i, face in enumerate(faces):
        canvas.paste(face, (i % 3 * 420, i // 3 * 420))
    canvas.save(work / "group.png")
    return [(i % 3 * 420 + face.width / 2, i // 3 * 420 + face.height / 2) for i, face in enumerate(faces)]


def test_a_photo_of_several_faces_has_a_row_each_in_the_table_as_in_the_drawn_picture(work: Path, group: list[tuple[float, float]]) -> None:
    result = predict("group.png", "--draw", "drawn", "--explain", "--landmarks", "--output", "a.jsonl", aligned=False)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert [row["face"] for row in rows] == list(range(6))
    drawn = decode_image(Path("drawn", rows[0]["drawn"]).read_bytes())
    assert drawn.shape == (840, 1260, 3)  # as large as the photo
    blue = np.abs(drawn.astype(int) - [0, 114, 178]).max(axis=2) < 48
    for x, y in group:
        (row,) = (row for row in rows if row["left"] < x < row["right"] and row["top"] < y < row["bottom"])
        assert row["score"] > 0.7
        middle = slice((row["top"] + row["bottom"]) // 2 - 20, (row["top"] + row["bottom"]) // 2 + 20)
        for edge in (row["left"], row["right"]):
            assert blue[middle, edge - 4 : edge + 5].any(axis=1).mean() > 0.9
        eyes = np.reshape(row["landmarks"], (5, 2))[:2]
        assert eyes[0, 0] < eyes[1, 0]  # the right eye is at the left
        assert ((row["top"] < eyes[:, 1]) & (eyes[:, 1] < row["bottom"])).all()
        assert Path("drawn", row["map"]).name == f"0001_group_face{row['face']}.png"
        assert decode_image(Path("drawn", row["map"]).read_bytes()).shape[1] > 300
    assert len(list(Path("drawn").iterdir())) == 7


def test_nothing_of_a_library_is_printed_beside_the_one_line(work: Path) -> None:
    (work / "broken.mp4").write_bytes(b"no video")
    command = [
        sys.executable,
        "-c",
        "from agecascade.cli import app; app()",
        "predict",
        "broken.mp4",
        "--model",
        "models/target",
        "--aligned",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    left = [line for line in result.stderr.replace("\r", "\n").splitlines() if line and not line.startswith("predict:")]
    assert left == ["error: broken.mp4: OpenCV cannot read it as a video: it is damaged, or of a kind that is not read"]


def test_a_model_of_drawn_faces_warns_once_and_in_each_row(work: Path) -> None:
    write_model(work / "drawn", 4, trained_on=[{"step": "target", "dataset": "fgnet", "pictures": 100, "drawn": True}])
    result = predict("photos", "--output", "a.csv", model="drawn")
    assert result.exit_code == 0, result.output
    note = "the model has seen drawn faces alone (fgnet): its values mean nothing for photos"
    assert [line for line in result.stderr.splitlines() if "drawn" in line] == [f"warning: {note}"]
    frame = pd.read_csv("a.csv")
    assert frame["note"].tolist() == [note] * 3
    assert frame["error"].isna().all()
