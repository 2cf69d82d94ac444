from __future__ import annotations

import io
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from agecascade.archives import open_archives
from agecascade.datasets import cfd
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_zip

TOP = "CFD Version 3.0"
NORMING = f"{TOP}/CFD 3.0 Norming Data and Codebook.xlsx"
SHEET = "CFD U.S. Norming Data"
HEADER = ["Model", "EthnicitySelf", "GenderSelf", "AgeSelf", "Attractive"]


def workbook(rows, header=HEADER, sheet=SHEET, above=7):
    """The codebook, and the sheet with its title, the columns' codes, their names, and a row that explains them."""
    book = Workbook()
    book["Sheet"].title = "Codebook"
    filled = book.create_sheet(sheet)
    filled.cell(1, 1, "Chicago Face Database")
    filled.cell(above, 1, "VarID")
    for below, row in enumerate([header, [None, "A, B, L, W", "F, M", "years", "1 to 7"], *rows], start=above + 1):
        for column, value in enumerate(row, start=1):
            filled.cell(below, column, value)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def face(model="WF-001", number="003", expression="N", folder="CFD"):
    return f"{TOP}/Images/{folder}/{model}/CFD-{model}-{number}-{expression}.jpg"


def read(folder, rows, members, content=None, options=None, **layout):
    files = dict.fromkeys(members, b"")
    files[NORMING] = workbook(rows, **layout) if content is None else content
    write_zip(folder / "cfd.zip", files)
    return rows_of("cfd", folder, options)


def norm(model="WF-001", rating=3.5):
    return [model, model[0], model[1], 25, rating]


def test_rows(tmp_path):
    members = [face(), face("BM-243", "219")]
    assert read(tmp_path, [norm(), norm("BM-243", 4)], members) == [
        ManifestRow(sample_id="CFD-WF-001-003-N", member=members[0], subject="WF-001", label=3.5, gender="female", ethnicity="White"),
        ManifestRow(sample_id="CFD-BM-243-219-N", member=members[1], subject="BM-243", label=4.0, gender="male", ethnicity="Black"),
    ]


@pytest.mark.parametrize(("letter", "ethnicity"), [("A", "Asian"), ("B", "Black"), ("L", "Latino"), ("W", "White")])
def test_ethnicities(tmp_path, letter, ethnicity):
    assert read(tmp_path, [norm(f"{letter}F-001")], [face(f"{letter}F-001")])[0].ethnicity == ethnicity


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (face(expression="HO"), "other_expression"),
        (face(expression="A"), "other_expression"),
        (face("MF-300", "002", folder="CFD-MR"), "other_set"),
        (face("IF-601", "519", folder="CFD-INDIA"), "other_set"),
        (face("WF-999"), "not_listed"),
        (face("WX-001"), "name_does_not_parse"),
        (f"{TOP}/Images/cover.jpg", "name_does_not_parse"),
    ],
)
def test_pictures_that_were_not_rated(tmp_path, member, reason):
    row, reject = read(tmp_path, [norm()], [face(), member])
    assert isinstance(row, ManifestRow)
    assert (reject.member, reject.reason) == (member, reason)


@pytest.mark.parametrize("rating", [None, "nan", "n/a"])
def test_labels_that_are_no_numbers(tmp_path, rating):
    (reject,) = read(tmp_path, [norm(rating=rating)], [face()])
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (face(), "label_missing")


@pytest.mark.parametrize("rating", [-3, 50])
def test_absurd_labels_are_left_to_cleaning(tmp_path, rating):
    assert read(tmp_path, [norm(rating=rating)], [face()])[0].label == rating


def test_dirt(tmp_path):
    rows = [norm(), norm(rating=5), norm("LM-202"), [None, None, None, None, 4.5]]
    results = read(tmp_path, rows, [face(), face(number="004")])
    assert [row.label for row in results if isinstance(row, ManifestRow)] == [3.5]
    assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [
        (f"{NORMING} row 11", "duplicate_row"),
        (f"{NORMING} row 13", "name_missing"),
        (face(number="004"), "duplicate_picture"),
        ("LM-202", "file_missing"),
    ]


def test_earlier_versions_name_their_spreadsheet_otherwise(tmp_path):
    options = {"sheet": "Norming Data", "header": 5}
    (row,) = read(tmp_path, [norm()], [face()], sheet="Norming Data", above=4, options=options)
    assert row.label == 3.5


def test_faults_of_the_spreadsheet(tmp_path):
    with pytest.raises(ArchiveError, match=r"has no column 'Attractive'; its columns: .*\(nearest: Attractiveness\)"):
        read(tmp_path, [norm()], [face()], header=[*HEADER[:4], "Attractiveness"])
    with pytest.raises(ArchiveError, match=r"has no column 'Model'"):
        read(tmp_path, [norm()], [face()], above=6)
    with pytest.raises(ArchiveError, match=r"unknown sheet 'CFD U\.S\. Norming Data'; did you mean CFD US Norming Data"):
        read(tmp_path, [norm()], [face()], sheet="CFD US Norming Data")
    with pytest.raises(ArchiveError, match=r"Codebook\.xlsx is no spreadsheet"):
        read(tmp_path, [norm()], [face()], content="Model;Attractive;é".encode("latin-1"))


@settings(max_examples=15, deadline=None)
@given(
    table=st.dictionaries(st.from_regex(r"[ABLW][FM]-[0-9]{3}", fullmatch=True), st.floats(1, 7), min_size=1, max_size=5),
    number=st.from_regex(r"[0-9]{3}(-[0-9]{3})?", fullmatch=True),
)
def test_every_model_finds_its_rating(tmp_path_factory, table, number):
    rows = [norm(model, rating) for model, rating in table.items()]
    results = read(tmp_path_factory.mktemp("set"), rows, [face(model, number) for model in table])
    assert {row.subject: row.label for row in results} == pytest.approx(table)


def test_sources():
    (source,) = cfd.sources({})
    assert (source.file, source.url) == ("cfd.zip", None)
    assert "chicagofaces.org" in source.instructions
    with pytest.raises(ParamsError, match=r"options\.header: .*found 0"):
        cfd.sources({"header": 0})


def test_the_drawn_archive(tmp_path):
    write("cfd", tmp_path, DrawSettings(pictures=36, subjects=6), 3, workers=1)
    with open_archives(tmp_path) as archive:
        results = list(cfd.rows(archive, {}))
    kept = [row for row in results if isinstance(row, ManifestRow)]
    assert Counter(row.reason for row in results if isinstance(row, Reject)) == {"other_expression": 4}
    assert len({row.subject for row in kept}) == len(kept) == 32
    assert all(1 <= row.label <= 7 for row in kept)
    assert len({row.label for row in kept}) > 10
