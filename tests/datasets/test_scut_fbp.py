from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from agecascade.archives import open_archives
from agecascade.datasets import scut_fbp
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import DrawSettings
from agecascade.synthetic import write
from agecascade.synthetic.packing import spreadsheet
from publishers import rows_of, write_zip

HEADER = ["Image", "Attractiveness label", "Standard deviation"]
RATINGS = "Rating_Collection/Attractiveness label.xlsx"


def workbook(rows):
    book = Workbook()
    for row in rows:
        book["Sheet"].append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def picture_of(number):
    return f"Data_Collection/SCUT-FBP-{number}.jpg"


def read(folder, rows, numbers, header=HEADER, content=None):
    files = dict.fromkeys([picture_of(number) for number in numbers], b"")
    files["Rating_Collection/AttractiveData.xlsx"] = b"not read"
    files[RATINGS] = workbook([header, *rows]) if content is None else content
    write_zip(folder / "SCUT-FBP.zip", files)
    return rows_of("scut_fbp", folder)


def test_rows(tmp_path):
    assert read(tmp_path, [[1, 2.6933333, 0.56], [2, 4, 0]], [1, 2]) == [
        ManifestRow(sample_id="SCUT-FBP-1", member=picture_of(1), label=2.6933333, label_sigma=0.56, gender="female", ethnicity="Asian"),
        ManifestRow(sample_id="SCUT-FBP-2", member=picture_of(2), label=4.0, label_sigma=0.0, gender="female", ethnicity="Asian"),
    ]


@pytest.mark.parametrize("image", [7, 7.0, "7", "SCUT-FBP-7.jpg"])
@pytest.mark.parametrize("number", ["Image", "#Image", "# Image", " #image"])
@pytest.mark.parametrize("deviation", ["Standard deviation", "Standard Deviation", " standard deviation "])
def test_names_of_pictures_and_columns(tmp_path, image, number, deviation):
    (row,) = read(tmp_path, [[image, 3, 1]], [7], [number, HEADER[1], deviation])
    assert (row.sample_id, row.label, row.label_sigma) == ("SCUT-FBP-7", 3, 1)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([None, 1], "label_missing"),
        (["nan", 1], "label_missing"),
        (["n/a", 1], "label_missing"),
        ([3, None], "deviation_missing"),
        ([3, "inf"], "deviation_missing"),
        ([3, -0.5], "deviation_missing"),
    ],
)
def test_labels_that_are_no_numbers(tmp_path, cells, reason):
    (reject,) = read(tmp_path, [[1, *cells]], [1])
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (picture_of(1), reason)


@pytest.mark.parametrize("mean", [-3, 50])
def test_absurd_labels_are_left_to_cleaning(tmp_path, mean):
    assert read(tmp_path, [[1, mean, 1]], [1])[0].label == mean


def test_dirt(tmp_path):
    results = read(tmp_path, [[1, 3, 1], [1, 4, 1], [], [2, 3, 1]], [1, 5])
    assert [row.label for row in results if isinstance(row, ManifestRow)] == [3]
    assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [
        (f"{RATINGS} row 3", "duplicate_row"),
        (picture_of(5), "not_listed"),
        ("scut-fbp-2", "file_missing"),
    ]


def test_histograms_of_the_ratings_are_neither_rows_nor_rejects(tmp_path):
    files = {picture_of(number): b"" for number in (1, 2)} | {RATINGS: workbook([HEADER, [1, 3, 1]])}
    files |= {f"Rating_Collection/Histogram/{mark}{number}_Histogram.jpg": b"" for mark in ("#", "") for number in (1, 2)}
    write_zip(tmp_path / "SCUT-FBP.zip", files)
    results = rows_of("scut_fbp", tmp_path)
    assert [row.sample_id for row in results if isinstance(row, ManifestRow)] == ["SCUT-FBP-1"]
    assert [row.member for row in results if isinstance(row, Reject)] == [picture_of(2)]


def test_faults_of_the_spreadsheet(tmp_path):
    with pytest.raises(ArchiveError, match=r"label\.xlsx has no column 'Attractiveness label'; its columns: Image, Beauty"):
        read(tmp_path, [[1, 3, 1]], [1], ["Image", "Beauty", HEADER[2]])
    with pytest.raises(ArchiveError, match=r"label\.xlsx has no column 'Standard deviation'"):
        read(tmp_path, [[1, 3, 1]], [1], [*HEADER[:2], "Votes"])
    with pytest.raises(ArchiveError, match=r"label\.xlsx is no spreadsheet"):
        read(tmp_path, [], [1], content="Image;Attractiveness label;é".encode("latin-1"))
    write_zip(tmp_path / "SCUT-FBP.zip", {picture_of(1): b""})
    with open_archives(tmp_path) as archive, pytest.raises(ArchiveError, match=r"lacks Attractiveness label\.xlsx"):
        list(scut_fbp.rows(archive, {}))


@settings(max_examples=15, deadline=None)
@given(table=st.dictionaries(st.integers(1, 500), st.tuples(st.floats(1, 5), st.floats(0, 2)), min_size=1, max_size=5))
def test_every_row_is_read_as_written(tmp_path_factory, table):
    results = read(tmp_path_factory.mktemp("set"), [[number, *cells] for number, cells in table.items()], list(table))
    assert {row.sample_id: (row.label, row.label_sigma) for row in results} == {
        f"SCUT-FBP-{number}": pytest.approx(cells, rel=1e-12) for number, cells in table.items()
    }


def test_sources():
    (source,) = scut_fbp.sources({})
    assert (source.file, source.url) == ("SCUT-FBP.zip", None)
    assert "hcii-lab.net" in source.instructions
    assert [source.file for source in scut_fbp.sources({"files": ["a.zip", "b.zip"]})] == ["a.zip", "b.zip"]
    with pytest.raises(ParamsError, match=r"options\.files"):
        scut_fbp.sources({"files": []})


def test_drawn_spreadsheets_keep_no_dates():
    content = spreadsheet({"One": [["a", 1, None, 2.5]], "Two": [[]]})
    assert content == spreadsheet({"One": [["a", 1, None, 2.5]], "Two": [[]]})
    assert set(re.findall(rb"(?:19|20)\d\d-\d\d-\d\d", content)) == {b"1980-01-01"}


def test_the_drawn_archive(tmp_path):
    write("scut_fbp", tmp_path, DrawSettings(pictures=36, subjects=6), 3, workers=1)
    with open_archives(tmp_path) as archive:
        results = list(scut_fbp.rows(archive, {}))
    assert len(results) == 36  # and no histogram
    assert all(isinstance(row, ManifestRow) and 1 <= row.label <= 5 and 0 < row.label_sigma < 1.5 for row in results)
    assert len({row.label for row in results}) > 10
