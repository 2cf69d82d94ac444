from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets.base import Reject
from agecascade.datasets.tables import PathSuffixes, Table, find, join, number, sheet_rows, text_lines, text_rows
from agecascade.errors import ArchiveError
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
        (b"nom,age\n", r"list\.csv: unknown column 'name'"),
        (b"", r"unknown column 'name'"),
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
    with pytest.raises(ArchiveError, match="unknown column 'Median'"):
        list(sheet_rows(Table("scores.xlsx", content), ["Median"], header=2))
    with pytest.raises(ArchiveError, match=r"unknown sheet 'Score'; did you mean Scores"):
        list(sheet_rows(Table("scores.xlsx", content), [], "Score"))
    with pytest.raises(ArchiveError, match=r"scores\.xlsx is no spreadsheet"):
        list(sheet_rows(Table("scores.xlsx", content[:200]), []))


@pytest.mark.parametrize(("cell", "value"), [("3.5", 3.5), (2, 2.0), ("", None), (None, None), ("nan", None), ("inf", None), ("x", None)])
def test_number(cell, value):
    assert number(cell) == value


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
