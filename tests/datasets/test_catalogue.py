"""The catalogue of data sets, and the docs that repeat it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agecascade import params
from agecascade.archives import open_archives
from agecascade.cli import app
from agecascade.datasets import READERS, catalogue, reader
from agecascade.datasets.base import Info, ManifestRow, Reject
from agecascade.errors import ParamsError
from agecascade.io.places import Source
from agecascade.io.yaml_text import load_yaml
from agecascade.params import Block, Dataset
from images import picture
from places import ROOT
from publishers import write_zip

TABLE = ROOT / "docs" / "reference" / "datasets.md"
ADDING = ROOT / "docs" / "how_to" / "add_a_data_set.md"
ACCESS = {"direct", "by hand", "on request", "withdrawn", "your own"}
STUDIED = ("grid", "detector", "protocol", "folds", "test", "validation", "options")  # what a reader must say itself


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch) -> Path:
    """An empty repository."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["datasets", *arguments])


# --- what every reader must tell


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_reader_tells_all_of_its_data_set(name):
    info = catalogue.info(name)
    assert isinstance(info, Info)
    own = info.access == "your own"
    assert info.title
    assert info.label
    assert info.licence
    assert info.access in ACCESS
    assert (info.pictures is None) == own
    assert own or info.paper
    assert own or info.page.startswith("http")
    assert info.sigma > 0
    assert all(count > 0 for count in info.kept.values())
    assert all(key in info.settings for key in STUDIED)
    assert not {"reader", "origin", "draw"} & set(info.settings)


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_entry_is_valid_and_whole(name):
    entry = catalogue.entry(name)
    dataset = Dataset.model_validate(entry)
    assert list(entry) == list(Dataset.model_fields)
    assert set(entry["clean"]) == set(params.Clean.model_fields)
    assert dataset.reader == name
    assert load_yaml(catalogue.block(name)) == {name: entry}
    if dataset.grid is not None:  # a label outside the grid cannot be learnt
        assert dataset.clean.low is not None
        assert dataset.clean.high is not None
        if dataset.grid.is_range:
            assert dataset.grid.low <= dataset.clean.low < dataset.clean.high <= dataset.grid.high


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_file_can_be_had(name):
    card = catalogue.card(name)
    assert card.files
    assert len({file.source.file for file in card.files}) == len(card.files)
    for file in card.files:
        assert "/" not in file.source.file
        assert file.source.url is None or re.match(r"https?://", file.source.url)
        assert file.source.url is not None or file.source.instructions
    if card.info.access == "direct":
        assert any(file.source.url for file in card.files)


# --- what is here


@pytest.fixture
def two(monkeypatch, repository) -> Iterator[None]:
    """A registry of one data set of two files, `two`."""

    class Options(Block):
        set: str = "big"
        sizes: list[int] | None = None

    def sources(options: dict) -> list[Source]:
        return [Source("two.zip", url="https://example.org/two.zip"), Source("two.csv", instructions="ask the two")]

    module = types.ModuleType("two")
    settings = {"grid": {"low": 0, "high": 9, "step": 1}, "clean": {"low": 0, "high": 9}, "detector": "whole", "protocol": "random"}
    module.INFO = Info(  # type: ignore[attr-defined]
        title="The two | both",
        pictures=1234,
        label="age, years",
        licence="free",
        access="direct",
        page="https://example.org",
        paper="Two, 2002",
        kept={"DAA": 1000},
        settings={**settings, "folds": 1, "test": 0.2, "validation": 0.1, "options": {}},
    )
    module.Options, module.sources = Options, sources  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "two", module)
    before = dict(READERS)
    READERS.clear()
    READERS["two"] = "two"
    yield
    READERS.clear()
    READERS.update(before)


@pytest.mark.usefixtures("two")
def test_present_files_are_found_in_the_mirror_in_archives_and_in_raw(repository, monkeypatch):
    assert [file.present for file in catalogue.card("two").files] == [(), ()]
    (repository / "mirror").mkdir()
    monkeypatch.setenv("AGECASCADE_MIRROR", "mirror")
    for folder, name in [
        ("mirror", "two.zip"),
        ("archives", "two.zip"),
        ("archives", "two.csv"),
        ("data/raw/mine", "two.zip"),
        ("data/raw/.half", "two.zip"),
    ]:
        (repository / folder).mkdir(parents=True, exist_ok=True)
        (repository / folder / name).write_bytes(b"")
    archive, table = catalogue.card("two").files
    assert archive.present == (repository / "mirror/two.zip", repository / "data/raw/mine/two.zip")  # what a stage would take, then raw
    assert table.present == (repository / "archives/two.csv",)
    assert table.place == repository / "archives" / "two.csv"


@pytest.mark.usefixtures("two")
def test_an_unpacked_archive_is_present(repository):
    (repository / "archives" / "two").mkdir(parents=True)
    assert catalogue.card("two").files[0].present == (repository / "archives" / "two",)


@pytest.mark.usefixtures("two")
def test_drawn_faces_are_not_the_publishers(repository):
    for name in ("drawn", "real"):
        (repository / "data" / "raw" / name).mkdir(parents=True)
        (repository / "data" / "raw" / name / "two.zip").write_bytes(b"")
    stages = [f"  download@{name}:\n    params: {{params.yaml: {{datasets.{name}.draw: {draw}}}}}\n" for name, draw in
              (("drawn", "{pictures: 9}"), ("real", "null"))]  # fmt: skip
    (repository / "dvc.lock").write_text("schema: '2.0'\nstages:\n  check: {cmd: x}\n" + "".join(stages))
    assert call("two", "--json").exit_code == 0
    (listed,) = json.loads(call("two", "--json").output)
    assert listed["files"][0]["present"] == [str(repository / "data" / "raw" / "real" / "two.zip")]


# --- how it is printed


@pytest.mark.usefixtures("two")
def test_the_table_fits_its_width_and_loses_nothing(repository):
    (repository / "archives").mkdir()
    (repository / "archives" / "two.csv").write_bytes(b"")
    words = ["two", "The", "|", "both", "1,234", "age,", "years", "free", "direct", "two.zip,", "two.csv", "1", "of", "2"]
    for width in (60, 90, 200):
        printed = catalogue.table(catalogue.cards(), width)
        assert max(map(len, printed.splitlines())) <= max(width, 9 * catalogue.NARROWEST + 16)
        assert all(word in printed for word in words)
    assert len(printed.splitlines()) == 2


@pytest.mark.usefixtures("two")
def test_the_page_says_what_to_get_what_to_place_where_and_what_to_paste(repository):
    printed = call("two").output
    for line in (
        "The two | both",
        "  cleaned   1,000 (DAA)",
        "    will be downloaded from https://example.org/two.zip",
        "    missing: ask the two",
        f"    place it at {repository / 'archives' / 'two.csv'}",
        '  set: "big"   (text)',
        "  sizes: null   (list of whole number | null)",
        "Or let `agecascade study two` make a study of it; with --drawn on faces that it draws, with nothing downloaded.",
    ):
        assert line in printed.splitlines()
    pasted = printed[printed.index("  two:\n") : printed.index("Or let")]
    assert load_yaml(pasted)["two"] == catalogue.entry("two")


@pytest.mark.usefixtures("two")
def test_json_holds_everything(repository):
    (listed,) = json.loads(call("--json").output)
    assert (listed["name"], listed["pictures"], listed["kept"]) == ("two", 1234, {"DAA": 1000})
    assert listed["entry"] == catalogue.entry("two")
    assert listed["options"]["set"] == {"kind": "text", "default": "big"}
    assert [file["file"] for file in listed["files"]] == ["two.zip", "two.csv"]


@pytest.mark.usefixtures("two")
def test_faulty_settings_name_reader_and_key(monkeypatch):
    monkeypatch.setitem(sys.modules["two"].INFO.settings, "detector", "mtcnn")
    with pytest.raises(ParamsError, match=r"reader two: INFO\.settings: detector: Input should be"):
        catalogue.entry("two")


def test_an_unknown_reader_is_one_line():
    result = call("fgnett")
    assert (result.exit_code, result.stderr) == (1, "error: reader: unknown reader 'fgnett'; did you mean fgnet?\n")


def test_a_renamed_reader_says_its_new_name():
    with pytest.raises(ParamsError, match="reader: the reader csv is called csv_table now"):
        reader("csv")


def test_params_with_a_renamed_reader_say_the_new_name(repository):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    name = next(iter(load_yaml(text)["datasets"]))
    before = re.search(rf"^  {name}:\n    reader: \w+$", text, re.MULTILINE)
    assert before is not None
    (repository / "params.yaml").write_text(text.replace(before[0], f"  {name}:\n    reader: csv"))
    with pytest.raises(ParamsError, match=rf"datasets\.{name}\.reader: .*the reader csv is called csv_table now"):
        params.load(repository / "params.yaml")


# --- the docs


def block(heading: str, language: str) -> str:
    """The first fenced block of that language below a heading of the how-to."""
    below = ADDING.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1]
    match = re.search(rf"^```{language}\n(.*?)^```$", below, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def test_the_table_in_the_docs_is_what_the_command_prints():
    text = TABLE.read_text(encoding="utf-8")
    table = text.split("<!-- agecascade datasets --markdown -->\n", 1)[1].split("<!-- end -->", 1)[0]
    printed = call("--markdown")
    assert printed.exit_code == 0
    assert table == printed.output, "run: agecascade datasets --markdown, and put what it prints into docs/reference/datasets.md"


def test_the_docs_keep_the_counts_on_real_archives():
    assert "| FG-NET, 0 to 69 years | 1,002 | 1,002 |" in (ROOT / "docs" / "results" / "datasets.md").read_text(encoding="utf-8")


def test_the_reader_of_the_docs_is_short_and_runs(tmp_path, monkeypatch):
    code = block("The file", "python")
    assert len([line for line in code.splitlines() if line]) <= 30
    (tmp_path / "villagers.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(READERS, "villagers", "villagers")
    assert catalogue.entry("villagers")["reader"] == "villagers"
    assert catalogue.card("villagers").files[0].source.file == "villagers.zip"
    write_zip(tmp_path / "villagers.zip", {"faces/anna_034.jpg": picture(), "faces/bert.jpg": picture()})
    with open_archives(tmp_path / "villagers.zip") as archive:
        row, reject = reader("villagers").rows(archive, {})
    assert isinstance(row, ManifestRow)
    assert (row.sample_id, row.subject, row.label) == ("anna_034", "anna", 34.0)
    assert isinstance(reject, Reject)
    assert reject.reason == "name_does_not_parse"
    with pytest.raises(ParamsError, match="unknown key 'fille'; did you mean file"):
        reader("villagers").sources({"fille": "x"})
    sys.modules.pop("villagers")


def test_the_test_of_the_docs_passes(tmp_path, monkeypatch, repository):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "villagers.py").write_text(block("The file", "python"))
    monkeypatch.setitem(READERS, "villagers", "villagers")
    tested: dict = {}
    exec(block("The test", "python"), tested)
    (name,) = [name for name in tested if name.startswith("test_")]
    shutil.rmtree(tmp_path / "raw", ignore_errors=True)
    (tmp_path / "raw").mkdir()
    tested[name](tmp_path / "raw")
    sys.modules.pop("villagers")


def test_a_file_and_its_copy_are_told_apart(repository):
    (repository / "archives" / "pictures").mkdir(parents=True)
    (repository / "data" / "raw" / "mine" / "pictures").mkdir(parents=True)
    lines = call("csv_table").output.splitlines()
    assert f"    is at {repository / 'archives' / 'pictures'}" in lines
    assert f"    was copied to {repository / 'data' / 'raw' / 'mine' / 'pictures'}" in lines
