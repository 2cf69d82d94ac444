from __future__ import annotations

import io
import math
import os
import random
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from agecascade.archives import open_archives
from agecascade.datasets import tables
from agecascade.datasets.base import PathSuffixes, Reject
from agecascade.datasets.tables import LAST_ROW, Table, find, join, mat_fields, number, sheet_rows, text_lines, text_rows
from agecascade.errors import ArchiveError
from places import ROOT
from publishers import write_zip


def rows(content: bytes, columns=("name", "age"), **options):
    return list(text_rows(Table("list.csv", content), columns, **options))


def test_text_rows():
    content = '\ufeffname, age \r\n"Ann, Lee",30\r\n\r\n Bob , 41 \r\nCy\r\n'.encode()
    assert rows(content) == [(2, {"name": "Ann, Lee", "age": "30"}), (4, {"name": "Bob", "age": "41"}), (5, {"name": "Cy", "age": ""})]
    assert rows(b"name;age\nAnn;30\n", delimiter=";") == [(2, {"name": "Ann", "age": "30"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nom,age\n", r"list\.csv has no column 'name'; its columns: nom, age \(nearest: nom\)"),
        (b"", r"list\.csv has no column 'name'; its columns: none"),
        (b"".join(b"c%d," % number for number in range(30)), r"c18, c19 and 10 more"),
        (b"name,age,age\nAnn,1,2\n", r"has two columns age"),
        (b"name,age\nAnn,30,7\n", r"line 2, has 3 cells under 2 columns"),
        (b'name,age\n"Ann,30\n', r"list\.csv, line 2"),
        ("name,age\nAnn,1\nJosé,2\n".encode("latin-1"), r"list\.csv, line 3, is not utf-8-sig text"),
    ],
)
def test_tables_that_are_none(content, message):
    with pytest.raises(ArchiveError, match=message):
        rows(content)


def test_lines():
    assert list(text_lines(Table("list.txt", b"a\n\n b \r\n"))) == [(1, "a"), (3, "b")]


def sheet(*lines, title="Scores") -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    book.active.title = title
    for line in lines:
        book.active.append(line)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def test_sheet_rows():
    content = sheet(["a title"], ["Image", " Mean "], [1, 2.5], [None, None], [2, "n/a"])
    rows_read = list(sheet_rows(Table("scores.xlsx", content), ["Image", "Mean"], "Scores", header=2))
    assert rows_read == [(3, {"Image": 1, "Mean": 2.5}), (5, {"Image": 2, "Mean": "n/a"})]
    with pytest.raises(ArchiveError, match=r"scores\.xlsx has no column 'Median'; its columns: Image, Mean \(nearest: Mean\)"):
        list(sheet_rows(Table("scores.xlsx", content), ["Median"], header=2))
    with pytest.raises(ArchiveError, match=r"unknown sheet 'Score'; did you mean Scores"):
        list(sheet_rows(Table("scores.xlsx", content), [], "Score"))
    with pytest.raises(ArchiveError, match=r"scores\.xlsx is no spreadsheet"):
        list(sheet_rows(Table("scores.xlsx", content[:200]), []))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("3.5", 3.5),
        (2, 2.0),
        (" 12\u00a0", 12.0),
        ("+1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-7", -7.0),
        *[
            (cell, None)
            for cell in (
                "",
                None,
                "nan",
                "inf",
                "Infinity",
                "x",
                "1_0",
                "0x1F",
                "\uff11\uff12",
                "\u0663",
                "1 2",
                "1,5",
                "1e",
                "--1",
                ".",
                "e3",
            )
        ],
        *[(cell, None) for cell in (True, False, 10**400, -(10**400), "1e999", float("nan"), b"\xff", [], (1,), 1j)],
    ],
)
def test_number(cell, value):
    assert number(cell) == value


@pytest.mark.parametrize("cell", ["-0", "-0.0", -0.0, "-0e5", "-1e-999"])
def test_there_is_one_zero(cell):
    assert math.copysign(1, number(cell)) == 1


@settings(max_examples=100)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back_as_it_was_written(value):
    assert number(repr(value)) == number(value) == value


@settings(max_examples=200)
@given(text=st.text(max_size=6))
def test_text_is_a_number_where_python_and_ascii_agree(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    plain = text.strip().isascii() and "_" not in text and math.isfinite(value)
    assert number(text) == (value if plain else None)


def test_empty_cells_beyond_the_header_are_dropped():
    assert rows(b"name,age\nAnn,30,, \nBob,,\n") == [(2, {"name": "Ann", "age": "30"}), (3, {"name": "Bob", "age": ""})]


def changed_sheet(content: bytes, change) -> bytes:
    """A spreadsheet whose first sheet's XML is changed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(stream, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, change(data) if name == "xl/worksheets/sheet1.xml" else data)
    return stream.getvalue()


@pytest.mark.parametrize("stale", [b"A1:B2", b"A1", b"A1:A9", b"A1:B9999999", b"A1:ZZ3"])
def test_the_size_that_a_sheet_states_is_not_believed(stale):
    content = sheet(["Image", "Mean", "Raters"], *([number, number / 2, 60] for number in range(1, 6)))
    content = changed_sheet(content, lambda xml: re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="' + stale + b'"', xml))
    assert b'"A1:C6"' not in content
    read = list(sheet_rows(Table("scores.xlsx", content), ["Image", "Mean", "Raters"]))
    assert read == [(number + 1, {"Image": number, "Mean": number / 2, "Raters": 60}) for number in range(1, 6)]


def test_a_row_far_below_is_read_up_to_the_last_that_a_spreadsheet_has():
    content = sheet(["Image"], [1], [2])
    far = changed_sheet(content, lambda xml: xml.replace(b'<row r="3"', b'<row r="%d"' % LAST_ROW).replace(b'"A3"', b'"A%d"' % LAST_ROW))
    assert [number for number, _ in sheet_rows(Table("scores.xlsx", far), ["Image"])] == [2, LAST_ROW]


@pytest.mark.parametrize("row", [LAST_ROW + 1, 2**40])
def test_rows_without_end_are_one_clear_line(row):
    content = changed_sheet(
        sheet(["Image"], [1], [2]), lambda xml: xml.replace(b'<row r="3"', b'<row r="%d"' % row).replace(b'r="A3"', b"")
    )
    with pytest.raises(ArchiveError, match=r"scores\.xlsx has a row beyond 1,048,576, where spreadsheets end; save it again"):
        list(sheet_rows(Table("scores.xlsx", content), ["Image"]))


def test_a_spreadsheet_that_unpacks_to_too_much_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(tables, "LARGEST_BOOK", 1000)
    with pytest.raises(ArchiveError, match=r"scores\.xlsx unpacks to [0-9,]+ bytes, more than 1,000"):
        list(sheet_rows(Table("scores.xlsx", sheet(["Image"], [1])), ["Image"]))


def test_a_number_of_any_length_in_a_sheet_is_a_cell():
    content = changed_sheet(sheet(["Image", "Mean"], [1, 2]), lambda xml: xml.replace(b"<v>2</v>", b"<v>" + b"9" * 400 + b"</v>"))
    ((_, cells),) = sheet_rows(Table("scores.xlsx", content), ["Image", "Mean"])
    assert number(cells["Mean"]) is None


def damaged(content: bytes, seed: int) -> bytes:
    """The file cut, with some bytes changed, or with a stretch of zeros, or a part of it twice."""
    draw = random.Random(seed)
    start, end = sorted(draw.randrange(len(content)) for _ in range(2))
    kind = seed % 4
    if kind == 0:
        return content[:end]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(draw.randint(1, 12)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed)
    return content[:start] + (bytes(end - start) if kind == 2 else content[start:end] * 2) + content[end:]


def damaged_sheet(content: bytes, seed: int) -> bytes:
    """A whole zip file, one of whose members is damaged: what a damaged zip file would hide."""
    stream, draw = io.BytesIO(), random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(stream, "w") as after:
        chosen = draw.choice(before.namelist())
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, damaged(data, seed) if name == chosen else data)
    return stream.getvalue()


def messages(content: bytes, damage: Callable[[bytes, int], bytes], read: Callable[[bytes], object], seeds: int = 200) -> list[str]:
    """The ArchiveErrors over a file damaged in so many ways; any other error goes through, and ends the test."""
    faults = []
    for seed in range(seeds):
        try:
            read(damage(content, seed))
        except ArchiveError as error:
            faults.append(str(error))
    return faults


@pytest.mark.filterwarnings("ignore")  # what openpyxl thinks of a damaged file
@pytest.mark.parametrize("damage", [damaged, damaged_sheet])
def test_a_damaged_spreadsheet_is_one_clear_line_or_read(damage):
    content = sheet(["Image", "Mean"], *([f"{number}.jpg", number / 3] for number in range(20)))
    faults = messages(content, damage, lambda bad: list(sheet_rows(Table("scores.xlsx", bad), ["Image", "Mean"])))
    assert len(faults) > 20
    assert all("scores.xlsx" in fault and "\n" not in fault for fault in faults)


def faces_mat(packed: bool) -> bytes:
    stream = io.BytesIO()
    text = np.array([[f"{number}.jpg" for number in range(20)]], dtype=object)
    savemat(stream, {"faces": {"path": text, "age": np.arange(20.0)[None], "id": np.arange(20)[None]}}, do_compression=packed)
    return stream.getvalue()


def read_faces(content: bytes) -> dict[str, np.ndarray]:
    return mat_fields(Table("faces.mat", content), "faces", ["path"], ["age", "id"], title="Faces")


@pytest.mark.filterwarnings("ignore")  # what SciPy thinks of a damaged file
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_mat_file_is_one_clear_line_or_read(packed):
    def read(content: bytes) -> None:
        fields = read_faces(content)
        assert len({len(field) for field in fields.values()}) == 1
        assert {fields[name].dtype for name in ("age", "id")} == {np.dtype(float)}

    def cut(content: bytes, seed: int) -> bytes:
        return content[: len(content) * seed // 200]

    # changed bytes that no checksum guards can end SciPy's process: see the next test
    faults = messages(faces_mat(packed), damaged if packed else cut, read)
    assert len(faults) > 20
    assert all("faces.mat" in fault and "\n" not in fault for fault in faults)


def test_a_file_over_which_scipy_dies_is_one_clear_line(monkeypatch):
    whole = read_faces(faces_mat(packed=True))
    worker = tables._mat_worker
    dying = SimpleNamespace(submit=lambda *_: worker().submit(os._exit, 1))
    with monkeypatch.context() as patch:
        patch.setattr(tables, "_mat_worker", Mock(return_value=dying, cache_clear=worker.cache_clear))
        with pytest.raises(ArchiveError, match=r"faces\.mat .* damaged \(SciPy's process ended over it\); fetch it again"):
            read_faces(faces_mat(packed=True))
    for _ in range(2):  # the next files are read as before
        again = read_faces(faces_mat(packed=True))
        assert {name: field.tolist() for name, field in again.items()} == {name: field.tolist() for name, field in whole.items()}


def test_a_file_that_scipy_never_ends_with_is_one_clear_line(monkeypatch):
    worker = tables._mat_worker
    waiting = SimpleNamespace(submit=lambda *_: worker().submit(time.sleep, 60), shutdown=lambda **options: worker().shutdown(**options))
    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(tables, "LONGEST", 0.1)
        patch.setattr(tables, "_mat_worker", Mock(return_value=waiting, cache_clear=worker.cache_clear))
        with pytest.raises(ArchiveError, match=r"faces\.mat is damaged: SciPy has not read it within 0\.1 s; fetch it again"):
            read_faces(faces_mat(packed=True))
    assert len(read_faces(faces_mat(packed=True))["age"]) == 20
    assert time.monotonic() - began < 30


def test_the_process_that_reads_mat_files_takes_no_more_memory_than_it_may():
    pytest.importorskip("resource")
    script = "from agecascade.datasets.tables import _limit_memory as limit\nlimit(2**28)\nbytearray(2**27)\nbytearray(2**30)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "MemoryError"
    assert "line 4" in ended.stderr


@pytest.mark.parametrize("age", [np.array([["1", "x"]], dtype=object), np.ones((2, 2)), np.array([[1 + 2j, 3]]), np.array([["ab", "cd"]])])
def test_a_field_of_another_kind_is_one_clear_line(age):
    stream = io.BytesIO()
    savemat(stream, {"faces": {"path": np.array([["a.jpg", "b.jpg"]], dtype=object), "age": age}})
    with pytest.raises(ArchiveError, match=r"faces\.mat is no table of Faces or is damaged"):
        mat_fields(Table("faces.mat", stream.getvalue()), "faces", ["path"], ["age"], title="Faces")


def test_find(tmp_path):
    path = write_zip(tmp_path / "set.zip", {"set/List/Train.CSV": b"1", "set/list/test.csv": b"2", "set/mytrain.csv": b"3"})
    with open_archives(path) as archive:
        assert [table.content for table in find(archive, "test.csv", "list/train.csv")] == [b"2", b"1"]
        with pytest.raises(ArchiveError, match=r"lacks valid\.csv; fetch it again"):
            find(archive, "valid.csv", "test.csv")


def test_join(tmp_path):
    path = write_zip(tmp_path / "set.zip", {"a/1.jpg": b"", "b/1.jpg": b"", "a/2.jpg": b"", "a/readme.txt": b""})
    with open_archives(path) as archive:
        results = list(join(archive, {"1": "one", "3": "three"}, lambda name: name[-5]))
    assert [(item[0].name, item[1]) for item in results if not isinstance(item, Reject)] == [("a/1.jpg", "one")]
    assert [(item.member, item.reason) for item in results if isinstance(item, Reject)] == [
        ("b/1.jpg", "duplicate_picture"),
        ("a/2.jpg", "not_listed"),
        ("3", "file_missing"),
    ]


parts = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@settings(max_examples=30)
@given(paths=st.lists(parts, unique=True, max_size=12), members=st.lists(parts, min_size=1, max_size=20))
def test_path_suffixes_are_those_of_a_search_through_all_paths(paths, members):
    suffixes = PathSuffixes(paths)
    for member in members:
        fitting = [path for path in paths if f"/{member}".endswith(f"/{path}") or f"/{path}".endswith(f"/{member}")]
        assert suffixes.path_of(member) in ([*fitting, None] if len(fitting) > 1 else fitting or [None])
