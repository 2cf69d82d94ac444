from __future__ import annotations

import csv
import io
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import csv_table as tables_of_users
from agecascade.datasets.base import ManifestRow, Reject, normal_path
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Dataset, DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_folder, write_tar, write_zip

POINTS = "30 40 70 41.5 50 60 35 80 66 81"


read = partial(rows_of, "csv_table")


def given_table(folder, text, pictures=("a.jpg", "b.jpg"), encoding="utf-8"):
    write_zip(folder / "pictures.zip", {f"top/{name}": b"" for name in pictures})
    (folder / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return folder


def reject(tmp_path, cells, header="path,label", options=None):
    """The one reject of a table of one row."""
    (results,) = read(given_table(tmp_path, f"{header}\n{cells}\n", ["a.jpg"]), options)
    assert isinstance(results, Reject)
    return results


def test_all_columns(tmp_path):
    header = "path,label,sigma,subject,gender,ethnicity,left,top,right,bottom,landmarks,official"
    results = read(given_table(tmp_path, f"{header}\na.jpg,34.5,2.5,ann,F,Asian,12,20,96,104,{POINTS},test\nb.jpg,7,,,,,,,,,,\n"))
    assert results == [
        ManifestRow(
            sample_id="a.jpg",
            member="top/a.jpg",
            subject="ann",
            label=34.5,
            label_sigma=2.5,
            gender="female",
            ethnicity="Asian",
            box=(12.0, 20.0, 96.0, 104.0),
            landmarks=(30.0, 40.0, 70.0, 41.5, 50.0, 60.0, 35.0, 80.0, 66.0, 81.0),
            official="test",
        ),
        ManifestRow(sample_id="b.jpg", member="top/b.jpg", label=7.0),
    ]


@pytest.mark.parametrize("pack", ["zip", "tar", "tar.gz", "folder"])
@pytest.mark.parametrize("inside", [False, True])
def test_however_it_is_packed(tmp_path, pack, inside):
    files = {"top/faces/a.jpg": b""} | ({"top/labels.csv": b"path,label\nfaces/a.jpg,3\n"} if inside else {})
    if pack == "folder":
        write_folder(tmp_path / "mine", files)
    elif pack == "zip":
        write_zip(tmp_path / "mine.zip", files)
    else:
        write_tar(tmp_path / f"mine.{pack}", files)
    if not inside:
        (tmp_path / "labels.csv").write_text("path,label\nfaces/a.jpg,3\n")
    (row,) = read(tmp_path)
    assert (row.sample_id, row.label) == ("faces/a.jpg", 3)
    assert row.member.endswith("top/faces/a.jpg")


@pytest.mark.parametrize(
    "listed",
    [
        "a.jpg",
        "faces/a.jpg",
        "top/faces/a.jpg",
        "./faces/a.jpg",
        "/home/me/top/faces/a.jpg",
        "C:\\me\\top\\faces\\a.jpg",
        "../top/x/../faces/a.jpg",
    ],
)
def test_a_path_fits_where_one_ends_in_the_other(tmp_path, listed):
    (row,) = read(given_table(tmp_path, f"path,label\n{listed},3\n", ["faces/a.jpg"]))
    assert row.member == "top/faces/a.jpg"


@pytest.mark.parametrize("listed", ["masks/a.jpg", "xfaces/a.jpg", "A.jpg", "a.png", "aces/a.jpg"])
def test_other_paths_do_not_fit(tmp_path, listed):
    results = read(given_table(tmp_path, f"path,label\n{listed},3\n", ["faces/a.jpg"]))
    assert [(one.member, one.reason) for one in results] == [("top/faces/a.jpg", "not_listed"), (listed, "file_missing")]
    assert "line 2" in results[1].detail


def test_equal_names_are_told_apart_by_their_folders(tmp_path):
    results = read(given_table(tmp_path, "path,label\n/x/top/ann/1.jpg,3\n/x/top/bob/1.jpg,4\n", ["ann/1.jpg", "bob/1.jpg", "cid/1.jpg"]))
    assert [(row.member, row.label) for row in results if isinstance(row, ManifestRow)] == [("top/ann/1.jpg", 3), ("top/bob/1.jpg", 4)]
    assert [(one.member, one.reason) for one in results if isinstance(one, Reject)] == [("top/cid/1.jpg", "not_listed")]


def test_a_path_that_fits_two_pictures_takes_none(tmp_path):
    results = read(given_table(tmp_path, "path,label\n1.jpg,3\n", ["ann/1.jpg", "bob/1.jpg"]))
    assert [(one.member, one.reason) for one in results] == [("top/ann/1.jpg", "ambiguous_path"), ("top/bob/1.jpg", "ambiguous_path")]
    assert "line 2: 1.jpg fits 2 pictures" in results[0].detail


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_byte_order_marks_line_ends_quotes_and_delimiters(tmp_path, mark, end, delimiter):
    text = io.StringIO(newline="")
    table = csv.writer(text, delimiter=delimiter, lineterminator=end)
    table.writerows([["path", "label", "subject"], ["a.jpg", "3", f'Ann "A"{delimiter} of{end}two lines'], [], ["b.jpg", "x", ""]])
    row, fault = read(given_table(tmp_path, mark + text.getvalue()), {"delimiter": delimiter})
    assert (row.label, row.subject) == (3, f'Ann "A"{delimiter} of{end}two lines')
    assert fault.reason == "label_missing"
    assert "line 5" in fault.detail  # the second row takes two lines, and one is empty


def test_decimal_commas_and_other_encodings(tmp_path):
    text = "path;label;sigma;landmarks;subject\na.jpg;3,5;0,25;1,5 2 3 4 5 6 7 8 9 10;Zoë\n"
    options = {"delimiter": ";", "decimal": ","}
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        (row,) = read(given_table(tmp_path, text, ["a.jpg"], encoding), options | {"encoding": encoding})
        assert (row.label, row.label_sigma, row.landmarks[:2], row.subject) == (3.5, 0.25, (1.5, 2), "Zoë")
    with pytest.raises(ArchiveError, match=r"labels\.csv, line 2, is not utf-8-sig text"):
        read(given_table(tmp_path, text, ["a.jpg"], "latin-1"), options)
    with pytest.raises(ParamsError, match=r"options\.encoding: .*no such encoding.*found 'utf-88'"):
        tables_of_users.sources({"encoding": "utf-88"})


def test_columns_of_other_names(tmp_path):
    columns = {"path": "file", "label": "Alter", "gender": "sex", "official": "part"}
    results = read(
        given_table(tmp_path, "n,file,Alter,sex,part,label\n1,a.jpg,3,0,fold2,99\n2,b.jpg,4,1,val,99\n"),
        {"columns": columns, "genders": {"0": "male", "1": "female"}},
    )
    assert [(row.label, row.gender, row.official) for row in results] == [(3, "male", "fold2"), (4, "female", "validation")]


def test_identities_need_no_label(tmp_path):
    results = read(given_table(tmp_path, "path,subject,label\na.jpg,ann,x\nb.jpg,bob,y\n"), {"columns": {"label": None}})
    assert [(row.subject, row.label) for row in results] == [("ann", None), ("bob", None)]


def test_split_is_another_name_of_official_and_landmarks_may_be_ten_columns(tmp_path):
    names = "x1,y1,x2,y2,x3,y3,x4,y4,x5,y5"
    text = f"path,label,split,{names}\na.jpg,3,Train,{POINTS.replace(' ', ',')}\nb.jpg,4,,,,,,,,,,,\n"
    first, second = read(given_table(tmp_path, text))
    assert (first.official, first.landmarks[2:4], second.official, second.landmarks) == ("train", (70, 41.5), None, None)
    own = text.replace("x1,y1", "ex,ey")
    first, _ = read(given_table(tmp_path, own), {"columns": {"landmarks": ["ex", "ey", *names.split(",")[2:]]}})
    assert first.landmarks[:2] == (30, 40)


@pytest.mark.parametrize("text", [f'"[{POINTS}]"', '"(30,40),(70,41.5),(50,60),(35,80),(66,81)"', POINTS.replace(" ", ";")])
def test_ways_of_writing_landmarks(tmp_path, text):
    (row,) = read(given_table(tmp_path, f"path,label,landmarks\na.jpg,3,{text}\n", ["a.jpg"]))
    assert row.landmarks == tuple(map(float, POINTS.split()))


@pytest.mark.parametrize(
    ("header", "cells", "reason"),
    [
        ("path,label", "a.jpg,", "label_missing"),
        ("path,label", "a.jpg,nan", "label_missing"),
        ("path,label", "a.jpg,inf", "label_missing"),
        ("path,label", "a.jpg,thirty", "label_missing"),
        ("path,label", "a.jpg,3_4", "label_missing"),
        ("path,label", "a.jpg,\uff13\uff14", "label_missing"),
        ("path,label", "a.jpg,0x22", "label_missing"),
        ("path,label,official", "a.jpg,3,fold\uff11", "role_unknown"),
        ("path,label", 'a.jpg,"3,5"', "label_missing"),
        ("path,label,sigma", "a.jpg,3,-1", "sigma_unreadable"),
        ("path,label,sigma", "a.jpg,3,nan", "sigma_unreadable"),
        ("path,label,gender", "a.jpg,3,0", "gender_unknown"),
        ("path,label,official", "a.jpg,3,dev", "role_unknown"),
        ("path,label,official", "a.jpg,3,foldx", "role_unknown"),
        ("path,label,left,top,right,bottom", "a.jpg,3,1,2,,4", "box_unreadable"),
        ("path,label,left,top,right,bottom", "a.jpg,3,9,2,3,4", "box_unreadable"),
        ("path,label,left,top,right,bottom", "a.jpg,3,1,nan,3,4", "box_unreadable"),
        ("path,label,landmarks", "a.jpg,3,1 2 3 4 5 6 7 8", "landmarks_unreadable"),
        ("path,label,landmarks", "a.jpg,3,1 2 3 4 5 6 7 8 9 10 11", "landmarks_unreadable"),
        ("path,label,landmarks", "a.jpg,3,1 2 3 4 5 6 7 8 9 nan", "landmarks_unreadable"),
        ("path,label", "a.jpg,3,4", "row_malformed"),
        ("path,label,subject", "a.jpg,3", "row_malformed"),
        ("path,label,sigma", "a.jpg,3,1e300", "sigma_unreadable"),
        ("path,label,official", "a.jpg,3,fold" + "9" * 5000, "role_unknown"),
    ],
)
def test_every_fault_of_a_row_is_one_reject_with_its_line(tmp_path, header, cells, reason):
    results = reject(tmp_path, cells, header)
    assert (results.member, results.reason) == ("top/a.jpg", reason) or (results.member, results.reason) == ("a.jpg", reason)
    assert "line 2" in results.detail


def test_empty_cells_beyond_the_header_are_no_fault(tmp_path):
    assert [row.label for row in read(given_table(tmp_path, "path,label\na.jpg,3,\nb.jpg,4,,\n"))] == [3, 4]


def test_a_decimal_comma_leaves_no_place_for_points(tmp_path):
    options = {"delimiter": ";", "decimal": ","}
    assert reject(tmp_path, "a.jpg;1.234", "path;label", options).reason == "label_missing"


@pytest.mark.parametrize(("key", "value"), [("encoding", "rot13"), ("encoding", "base64"), ("delimiter", '"'), ("delimiter", "\n")])
def test_what_can_separate_or_encode_nothing_is_refused(key, value):
    with pytest.raises(ParamsError, match=rf"options\.{key}"):
        tables_of_users.sources({key: value})


def test_labels_are_given_as_they_stand(tmp_path):
    assert [row.label for row in read(given_table(tmp_path, "path,label\na.jpg,-3\nb.jpg,4e3\n"))] == [-3, 4000]


def test_rows_twice_and_rows_without_a_path(tmp_path):
    results = read(given_table(tmp_path, "path,label\na.jpg,3\n./a.jpg,4\n,5\nb.jpg,6\n,\n"))
    assert [(one.member, one.reason) for one in results if isinstance(one, Reject)] == [
        ("a.jpg", "duplicate_row"),
        ("labels.csv line 4", "path_missing"),
    ]
    assert "line 3: it stands in line 2 too" in results[0].detail
    assert [row.label for row in results if isinstance(row, ManifestRow)] == [3, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,lable\na.jpg,3\n",
            r"labels\.csv has no column 'label'; its columns: path, lable \(nearest: lable\); options",
        ),
        (
            "path;label\na.jpg;3\n",
            r"path;label \(nearest: path;label\); options\.columns\.path and options\.delimiter",
        ),
        ("", r"labels\.csv has no column 'path'; its columns: none"),
        ("file,age\na.jpg,3\n", r"labels\.csv has no column 'path'; its columns: file, age;"),
        ("path,label,label\na.jpg,3,4\n", r"the column 'label' stands twice"),
        ("path,label,left,top\na.jpg,3,4,5\n", r"right and bottom is missing in options\.columns"),
        ('path,label\na.jpg,3\nb.jpg,"4\n', r"labels\.csv, line 3, is no row of a table"),
    ],
)
def test_faults_of_the_table_are_one_clear_line(tmp_path, text, message):
    with pytest.raises(ArchiveError, match=message) as caught:
        read(given_table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_columns_without_a_name_are_no_matter(tmp_path):
    assert [row.label for row in read(given_table(tmp_path, "path,label,,\na.jpg,3,,\nb.jpg,4,x,\n"))] == [3, 4]


def test_a_missing_table_is_named(tmp_path):
    write_zip(tmp_path / "pictures.zip", {"a.jpg": b""})
    with pytest.raises(ArchiveError, match=r"lacks labels\.csv"):
        read(tmp_path)


names = st.text(st.characters(blacklist_categories=("C", "Z"), blacklist_characters='/\\:"'), min_size=1, max_size=8).map(
    lambda text: normal_path(text.strip(" .")) or "x"
)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.dictionaries(st.tuples(names, names), st.floats(-1e6, 1e6), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
)
def test_what_a_spreadsheet_writes_comes_back(tmp_path_factory, rows, delimiter):
    labels = {f"{folder}/{file}.jpg": label for (folder, file), label in rows.items()}
    text = io.StringIO(newline="")
    table = csv.writer(text, delimiter=delimiter)
    table.writerow(["path", "label"])
    table.writerows(labels.items())
    folder = given_table(tmp_path_factory.mktemp("set"), text.getvalue(), sorted(labels))
    results = read(folder, {"delimiter": delimiter})
    assert {row.sample_id: row.label for row in results if isinstance(row, ManifestRow)} == labels


def test_sources():
    assert [source.file for source in tables_of_users.sources({})] == ["pictures.zip", "labels.csv"]
    assert [source.file for source in tables_of_users.sources({"file": "faces", "table_inside": True})] == ["faces"]
    with pytest.raises(ParamsError, match=r"options\.columns\.lable: unknown key"):
        tables_of_users.sources({"columns": {"lable": "age"}})
    with pytest.raises(ParamsError, match=r"options\.delimiter: .*found ',,'"):
        tables_of_users.sources({"delimiter": ",,"})


def test_the_drawn_archive(tmp_path):
    write("csv_table", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "pictures.zip"]
    Dataset(reader="csv_table", origin="publisher", **tables_of_users.INFO.settings)
    results = read(tmp_path)
    rows = [row for row in results if isinstance(row, ManifestRow)]
    assert sorted(one.reason for one in results if isinstance(one, Reject)) == ["file_missing", "label_missing", "not_listed"]
    assert len(rows) == 33
    assert len({row.subject for row in rows}) == 6
    assert all(1 <= row.label <= 95 and 0.5 <= row.label_sigma <= 4 for row in rows)
    assert {row.gender for row in rows} == {"female", "male"}


def test_halves_of_characters_are_no_text(tmp_path):
    with pytest.raises(ArchiveError, match=r"labels\.csv, line \d, is not utf-7 text"):
        read(given_table(tmp_path, b"path,label\n+2AA-.jpg,3\n"), {"encoding": "utf-7"})


@pytest.mark.parametrize("key", ["file", "table"])
def test_a_name_is_not_empty(key):
    with pytest.raises(ParamsError, match=rf"options\.{key}: String should have at least 1 character"):
        tables_of_users.sources({key: ""})
