"""A study of an own table: what `agecascade study csv_table --table --pictures` understands, writes and refuses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from agecascade import params
from agecascade.archives import open_archives
from agecascade.cli import app
from agecascade.datasets import reader
from agecascade.datasets.cleaning import clean
from agecascade.io import fetch
from agecascade.io.fetch import fetch_all
from agecascade.io.yaml_text import dump_yaml, load_yaml
from images import picture
from places import ROOT
from publishers import write_folder, write_zip

COUNT = 24


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with a folder of square pictures and a table with names of its own; YuNet's model is nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    monkeypatch.setattr(fetch, "user_cache_folder", lambda: tmp_path / "nowhere")
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    shutil.copy(ROOT / "studies" / "sample.yaml", tmp_path / "params.yaml")
    write_folder(tmp_path / "photos", {f"{number:02d}.jpg": picture(64, 64, seed=number) for number in range(COUNT)})
    table([[f"{number:02d}.jpg", 20 + number, "fm"[number % 2]] for number in range(COUNT)])
    return tmp_path


def table(rows, header="filename,age_years,sex", path="labels.csv", mark=",", encoding="utf-8") -> None:
    lines = [mark.join(header.split(",")), *(mark.join(map(str, row)) for row in rows)]
    Path(path).write_bytes("\n".join(lines).encode(encoding))


def study(*arguments: str, table: str = "labels.csv", pictures: str = "photos/") -> Result:
    return CliRunner().invoke(app, ["study", "csv_table", "--table", table, "--pictures", pictures, *arguments])


def error(*arguments: str, **options: str) -> str:
    """The one line of a refusal, which leaves params.yaml as it was."""
    before = Path("params.yaml").read_bytes()
    result = study(*arguments, **options)
    assert result.exit_code == 1
    assert Path("params.yaml").read_bytes() == before
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    return result.output


def made(*arguments: str, **options: str) -> params.Dataset:
    """The data set of the study that is written."""
    result = study(*arguments, **options)
    assert result.exit_code == 0, result.output
    return params.load().datasets["csv_table"]


def test_the_two_steps() -> None:
    result = study("--path", "filename", "--label", "age_years", "--gender", "sex")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "./labels.csv: 24 rows; filename is the path, age_years is the label, sex is the gender" in lines[0]
    assert "24 of the rows have a picture" in lines[1]
    assert "ages from 20 to 43, median 31.5; grid 0 to 100" in lines[2]
    assert "24 pictures looked at are square and small: face crops; so detector: whole" in lines[3]
    assert "Next: uv run dvc repro" in lines[-3]
    assert "models/own/dldl_v2-tinyagenet-s0" in lines[-2]
    assert "agecascade predict FOLDER --model models/own/dldl_v2-tinyagenet-s0 --output ages.csv --aligned" in lines[-1]
    content = params.load()
    assert list(content.cascade) == ["own"]
    assert (content.study, content.evaluate.target) == ("csv_table", "csv_table")
    dataset = content.datasets["csv_table"]
    assert dataset.options == {
        "file": "./photos",
        "table": "./labels.csv",
        "columns": {"path": "filename", "label": "age_years", "gender": "sex"},
    }


def test_the_study_reads_what_was_understood(tmp_path) -> None:
    """From the files through the stage `download` to the manifest, nothing moved by hand."""
    dataset = made()
    raw = tmp_path / "raw"
    raw.mkdir()
    fetch_all(reader("csv_table").sources(dataset.options), raw)
    assert sorted(path.name for path in raw.iterdir()) == ["labels.csv", "photos"]
    with open_archives(raw) as archive:
        files = {"manifest": tmp_path / "m.parquet", "rejects": tmp_path / "r.parquet", "work": tmp_path / "work"}
        counts = clean(archive, reader("csv_table"), dataset.clean, dataset.options, name="csv_table", **files)
    assert (counts["kept"], counts["rejected"]) == (COUNT, {})
    assert counts["label"] == {"min": 20, "max": 43, "mean": 31.5}


def test_usual_names_of_columns_need_no_option() -> None:
    assert made().options["columns"] == {"path": "filename", "label": "age_years", "gender": "sex"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_however_a_spreadsheet_program_writes_it(mark: str, encoding: str) -> None:
    table([[f"{number:02d}.jpg", f"{number},5", "Zoë"] for number in range(COUNT)], "file,age,name", mark=mark, encoding=encoding)
    options = made().options
    assert (options["delimiter"], options["decimal"]) == (mark, ",")
    assert options.get("encoding", "utf-8-sig") == encoding


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_one_separator_among_others(mark: str) -> None:
    others = " ".join({",", ";", "|"} - {mark})
    table([[f"{number:02d}.jpg", number + 1, f'"{others}"'] for number in range(COUNT)], "path,label,note", mark=mark)
    assert made().options.get("delimiter", ",") == mark


def test_an_archive_in_place_of_a_folder() -> None:
    write_zip(Path("faces.zip"), {f"top/{path.name}": path.read_bytes() for path in Path("photos").iterdir()})
    assert made(pictures="faces.zip").options["file"] == "./faces.zip"


def test_a_table_among_the_pictures() -> None:
    shutil.move("labels.csv", "photos/labels.csv")
    assert made(table="photos/labels.csv").options["table_inside"] is True


def test_files_outside_of_the_repository(tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("other")
    shutil.move("photos", other / "photos")
    assert made(pictures=str(other / "photos")).options["file"] == (other / "photos").as_posix()


def test_photos_are_told_from_crops() -> None:
    write_folder(Path("photos"), {f"{number:02d}.jpg": picture(96, 64, seed=number) for number in range(COUNT)})
    assert made().detector == "yunet"
    write_folder(Path("photos"), {f"{number:02d}.jpg": picture(600, 600, seed=number) for number in range(COUNT)})
    assert made().detector == "yunet"


def test_boxes_come_before_a_detector() -> None:
    rows = [[f"{number:02d}.jpg", 20 + number, 1, 1, 60, 60] for number in range(COUNT)]
    table(rows, "path,label,left,top,right,bottom")
    assert made().detector == "annotation"


def test_faces_decide(mirror) -> None:
    """Square pictures with a small face in them are photos."""
    import zipfile

    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".jpg")][:COUNT]
        faces = [cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR) for name in names]
    for number, face in enumerate(faces):
        canvas = np.full((480, 480, 3), 128, np.uint8)
        canvas[100:380, 130:350] = cv2.resize(face, (220, 280))
        cv2.imwrite(f"photos/{number:02d}.jpg", canvas)
    result = study()
    assert "are square and small, but faces fill" in result.output
    assert params.load().datasets["csv_table"].detector == "yunet"


@pytest.mark.parametrize(
    ("values", "header", "grid", "sigma"),
    [
        (np.linspace(1.2, 4.8, COUNT), "path,score", (1, 5, 0.1), 0.5),
        (np.linspace(0, 1000, COUNT), "path,score", (0, 1000, 10), 125),
        (np.linspace(-3.5, 3.5, COUNT), "path,label", (-4, 4, 0.1), 1),
        (np.linspace(0, 3, COUNT), "path,age", (0, 100, 1), 2),  # babies
        ([number % 6 for number in range(COUNT)], "path,age_group", (0, 5, 0.1), 0.625),  # no years
        ([10 * (number % 6) for number in range(COUNT)], "path,age_group", (0, 100, 1), 2),  # each group by its first year
        (np.linspace(20, 108, COUNT), "path,label", (0, 120, 1), 2),
        ([*np.linspace(20, 60, COUNT - 1), 999], "path,age", (0, 100, 1), 2),  # a mistake
        (np.linspace(0.021, 0.979, COUNT), "path,score", (0.02, 0.98, 0.01), 0.12),
        (np.linspace(0, 1.1e-5, COUNT), "path,score", (0, 1.1e-5, 1e-6), 1.375e-6),
        (np.linspace(-100.5, -100.1, COUNT), "path,score", (-100.5, -100.1, 0.01), 0.05),
        (np.linspace(0, 1, COUNT), "path,score", (0, 1, 0.1), 0.125),
    ],
)
def test_ages_are_told_from_scores(values, header: str, grid: tuple[float, ...], sigma: float) -> None:
    table([[f"{number:02d}.jpg", value] for number, value in enumerate(values)], header)
    dataset = made("--label", header.split(",")[1])
    assert (dataset.grid.low, dataset.grid.high, dataset.grid.step) == grid
    assert (dataset.clean.low, dataset.clean.high) == grid[:2]
    assert params.load().sigma == sigma
    assert (params.load().evaluate.legal_age is None) == (sigma != 2)  # scores have none


@pytest.mark.parametrize(
    ("header", "value", "protocol", "folds"),
    [
        ("path,label,split", lambda n: "train" if n % 3 else "test", "official", 1),
        ("path,label,split", lambda n: f"fold{n % 4}", "official", 4),
        ("path,label,subject", lambda n: f"s{n // 2}", "subject_exclusive", 1),
        ("path,label,subject", lambda n: f"s{n % 4}", "random", 1),  # too few
        ("path,label,subject", lambda n: f"s{n}" if n else "", "random", 1),  # one unknown
    ],
)
def test_the_split(header: str, value, protocol: str, folds: int) -> None:
    table([[f"{number:02d}.jpg", 20 + number, value(number)] for number in range(COUNT)], header)
    dataset = made()
    assert (dataset.protocol, dataset.folds) == (protocol, folds)


def test_genders_of_other_names() -> None:
    table([[f"{number:02d}.jpg", 20 + number, number % 2] for number in range(COUNT)], "path,age,sex")
    assert "gender" not in made().options["columns"]  # a guess, which did not serve
    assert "the column 'sex' holds 0, 1; say what each of them means: --genders '0=female|male,1=female|male'" in error("--gender", "sex")
    for written in ("0:male,1:female", "0=man,1=woman", "0=male,", "=male"):
        assert f"--genders {written}: write what each value of the column means, such as 0=female,1=male" in error(
            "--gender", "sex", "--genders", written
        )
    assert made("--gender", "sex", "--genders", "0=male,1=female").options["genders"] == {"0": "male", "1": "female"}


def test_many_pictures_without_a_row_raise_the_allowed_share() -> None:
    write_folder(Path("photos"), {f"more{number}.jpg": picture(64, 64) for number in range(COUNT)})
    result = study()
    assert "left out   not_listed 24; max_reject_rate: 0.55" in result.output
    assert params.load().datasets["csv_table"].clean.max_reject_rate == 0.55


def test_one_wanted_and_one_existing_path() -> None:
    table([[f"img/{number}.jpeg", 20 + number] for number in range(COUNT)], "path,label")
    said = error()
    assert "none of the 24 rows of labels.csv has a picture: it names 'img/0.jpeg', and photos holds 'photos/00.jpg'" in said
    assert "one path must end in the other" in said
    table([[f"{number:02d}", 20 + number] for number in range(COUNT)], "path,label")
    assert "it names '00', and photos holds 'photos/00.jpg'; the table leaves out the suffix; write '00.jpg'" in error()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["--path", "path"], {}, "labels.csv has no column 'path'; its columns: filename, age_years, sex; --path says which it is"),
        (["--label", "age"], {}, "labels.csv has no column 'age'; its columns: filename, age_years, sex (nearest: age_years); --label"),
        (["--label", "sex"], {}, "none of its 24 rows can be used (line 2: the label is 'f', no number)"),
        ([], {"table": "label.csv"}, "--table label.csv: there is no such file"),
        ([], {"pictures": "photo"}, "--pictures photo: there is no such folder or archive"),
        ([], {"pictures": "photos/00.jpg"}, "--pictures photos/00.jpg is one picture; give the folder or the archive"),
        ([], {"pictures": "."}, "--pictures . holds this whole repository"),
        ([], {"pictures": "studies"}, "studies holds no picture"),
        (["--drawn"], {}, "--drawn and --target do not go with --table"),
        (["--genders", "f=female,f=male"], {}, "--genders f=female,f=male: write what each value"),
    ],
)
def test_what_is_refused(arguments: list[str], options: dict[str, str], message: str) -> None:
    assert message in error(*arguments, **options)


@pytest.mark.parametrize("option", ["--label", "--split", "--genders"])
def test_an_option_without_a_value_is_wrong_usage(option: str) -> None:
    result = study(option, " ")
    assert result.exit_code == 2
    assert f"{option}: its value is empty" in result.output


def test_what_else_is_refused() -> None:
    table([[f"{number:02d}.jpg", 30] for number in range(COUNT)], "path,label")
    assert "all labels of the 24 pictures are 30; there is nothing to learn" in error()
    table([], "path,label")
    assert "labels.csv holds no rows below its header" in error()
    Path("labels.csv").write_bytes(b"PK\x03\x04...")
    assert "labels.csv is a spreadsheet; save it as CSV" in error()
    write_folder(Path("photos"), {f"{number:02d}.jpg": b"no picture" for number in range(COUNT)})
    table([[f"{number:02d}.jpg", number] for number in range(COUNT)], "path,label")
    assert "none of 24 pictures that were looked at can be read" in error()
    for arguments in (["csv_table", "--table", "labels.csv"], ["csv_table", "--label", "x"], ["fgnet", "--table", "a", "--pictures", "b"]):
        assert CliRunner().invoke(app, ["study", *arguments]).exit_code == 1


def test_a_folder_that_may_not_be_read_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # chmod holds nothing back from root
    assert "--pictures photos cannot be read: no right to look into the folder" in error()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([*range(COUNT - 1), 1e12], "labels.csv: the label of photos/23.jpg is 1e+12, and at most 1e+06 can be learnt"),
        ([1e300 * number for number in range(COUNT)], "and at most 1e+06 can be learnt"),
        ([1e-9 * number for number in range(COUNT)], "lie too close together; rescale them"),
        ([1e6 - 0.01 * number for number in range(COUNT)], "lie too close together; rescale them"),
    ],
)
def test_labels_that_no_grid_holds_are_one_line(values: list[float], said: str) -> None:
    table([[f"{number:02d}.jpg", value] for number, value in enumerate(values)], "path,score")
    assert said in error()


def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("pipe")
    assert "--pictures pipe: it is neither a folder nor a file" in error(pictures="pipe")
    assert "--table pipe: there is no such file" in error(table="pipe")


def test_a_name_that_params_cannot_store_is_refused() -> None:
    name = os.fsdecode(b"photos\xe9")
    shutil.copytree("photos", name)
    assert r"--pictures photos\xe9: the name is no UTF-8, which params.yaml and DVC cannot store; rename it" in error(pictures=name)


def test_two_kinds_of_split_are_refused() -> None:
    table([[f"{number:02d}.jpg", 20 + number, ("train", "test", "fold1")[number % 3]] for number in range(COUNT)], "path,age,split")
    assert "the column 'split' mixes fold1 with test; give one kind of split" in error()


def mine(*arguments: str, name: str = "mine", table: str = "labels.csv") -> Result:
    return CliRunner().invoke(app, ["study", name, "--table", table, *arguments])


def test_a_study_gets_the_name_that_it_is_given_and_its_pictures_lie_beside_the_table() -> None:
    shutil.copy("labels.csv", "photos/labels.csv")
    result = mine("--path", "filename", "--label", "age_years", table="photos/labels.csv")
    assert result.exit_code == 0, result.output
    assert "pictures   ./photos: 24 of the rows have a picture and a label" in result.output
    assert "study      studies/mine.yaml, which `uv run agecascade study mine` applies again" in result.output
    assert "agecascade predict FOLDER --model models/mine/dldl_v2-tinyagenet-s0" in result.output
    made = params.load()
    assert (made.study, list(made.datasets), list(made.cascade), made.evaluate.target) == ("mine", ["mine"], ["mine"], "mine")
    assert (made.datasets["mine"].reader, made.cascade["mine"].dataset) == ("csv_table", "mine")
    applied = Path("params.yaml").read_text()
    assert CliRunner().invoke(app, ["study", "sample"]).exit_code == 0
    assert CliRunner().invoke(app, ["study", "mine"]).exit_code == 0
    assert Path("params.yaml").read_text() == applied


def test_the_data_set_of_such_a_study_is_read() -> None:
    assert mine("--pictures", "photos").exit_code == 0
    dataset = params.load().datasets["mine"]
    module = reader(dataset.reader)
    assert [source.file for source in module.sources(dataset.options)] == [dataset.options["file"], dataset.options["table"]]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("sample", "studies/sample.yaml is another study; give yours a name of its own, such as mine"),
        ("fgnet", "go with csv_table or a name of your own, not with fgnet"),
        ("My photos", "'My photos': the name of a study, its data set and its model has small letters, digits and _, such as mine"),
        ("../mine", "'../mine': the name of a study"),
        ("mine", "studies/mine.yaml is there already; `agecascade study mine` applies it, --force makes it anew"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused(name: str, line: str) -> None:
    assert mine("--pictures", "photos").exit_code == 0
    before = {path: path.read_bytes() for path in [Path("params.yaml"), *Path("studies").iterdir()] if path.is_file()}
    result = mine("--pictures", "photos", name=name)
    assert result.exit_code == 1
    assert line in result.stderr
    assert result.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in [Path("params.yaml"), *Path("studies").iterdir()] if path.is_file()} == before
    assert mine("--pictures", "photos", "--force").exit_code == 0


def test_where_params_were_changed_by_hand_no_study_is_left_behind() -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 0", "seed: 7", 1))
    result = mine("--pictures", "photos")
    assert result.exit_code == 1
    assert "params.yaml was changed" in result.stderr
    assert not Path("studies/mine.yaml").exists()


def test_a_table_is_missing() -> None:
    result = CliRunner().invoke(app, ["study", "mine", "--pictures", "photos"])
    assert (result.exit_code, result.stderr) == (
        1,
        "error: --table is missing: it names the CSV file that --pictures and the columns belong to\n",
    )


def test_the_study_goes_behind_a_large_data_set_as_the_how_to_says() -> None:
    """docs/how_to/own_data.md, "More than one data set": two blocks of studies/fgnet.yaml, and two values changed."""
    made = mine("--pictures", "photos")
    assert made.exit_code == 0, made.output
    path = Path("studies/mine.yaml")
    own, fgnet = load_yaml(path.read_text()), load_yaml(Path("studies/fgnet.yaml").read_text())
    own["datasets"]["utkface"] = fgnet["datasets"]["utkface"]
    own["cascade"] = {"utkface": fgnet["cascade"]["utkface"], "mine": own["cascade"]["mine"] | {"init": "utkface"}}
    own["datasets"]["mine"]["grid"] = fgnet["datasets"]["utkface"]["grid"]
    path.write_text(dump_yaml(own))
    result = CliRunner().invoke(app, ["study", "mine"])
    assert result.exit_code == 0, result.output
    study = params.load("params.yaml")
    assert study.cascade["mine"].init == "utkface"
    assert study.datasets["mine"].grid == study.datasets["utkface"].grid
    assert study.datasets["mine"].options["columns"] == {"path": "filename", "label": "age_years", "gender": "sex"}
