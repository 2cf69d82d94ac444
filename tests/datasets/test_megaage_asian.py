from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import megaage_asian
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Dataset, DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_folder, write_tar, write_zip

LISTS = {"train_name": "1.jpg\n2.jpg\n", "train_age": "18\n70\n", "test_name": "1.jpg\n", "test_age": "0\n"}
PICTURES = ["train/1.jpg", "train/2.jpg", "test/1.jpg"]


def files(lists=LISTS, pictures=PICTURES, top="megaage_asian/"):
    return {f"{top}{name}": b"" for name in pictures} | {
        f"{top}list/{name}.txt": text.encode() if isinstance(text, str) else text for name, text in lists.items()
    }


read = partial(rows_of, "megaage_asian")


def packed(folder, lists=LISTS, pictures=PICTURES):
    return write_zip(folder / "megaage_asian.zip", files(lists, pictures))


def test_rows(tmp_path):
    assert read(packed(tmp_path)) == [
        ManifestRow(sample_id="train/1", member="megaage_asian/train/1.jpg", label=18.0, official="train"),
        ManifestRow(sample_id="train/2", member="megaage_asian/train/2.jpg", label=70.0, official="train"),
        ManifestRow(sample_id="test/1", member="megaage_asian/test/1.jpg", label=0.0, official="test"),
    ]


@pytest.mark.parametrize("pack", ["tar", "tar.gz", "folder"])
@pytest.mark.parametrize("top", ["", "MegaAge/megaage_asian/megaage_asian/"])
def test_however_it_is_packed(tmp_path, pack, top):
    content = files(top=top)
    path = write_folder(tmp_path / "set", content) if pack == "folder" else write_tar(tmp_path / f"set.{pack}", content)
    rows = read(path)
    assert {(row.sample_id, row.label) for row in rows} == {("train/1", 18), ("train/2", 70), ("test/1", 0)}


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_line_ends_a_byte_order_mark_and_empty_lines_at_the_end(tmp_path, end):
    lists = {name: "\ufeff" + text.replace("\n", end) + (end * 3 if name == "train_age" else "") for name, text in LISTS.items()}
    assert [row.label for row in read(packed(tmp_path, lists))] == [18, 70, 0]


@pytest.mark.parametrize(("name", "text"), [("train_age", "18\n"), ("train_name", "1.jpg\n"), ("test_age", "1\n2\n"), ("train_age", "")])
def test_lists_of_different_length_are_one_clear_error(tmp_path, name, text):
    side = name.partition("_")[0]
    with pytest.raises(ArchiveError, match=rf"{side}_name\.txt has \d lines, \S*{side}_age\.txt \d: they belong together") as caught:
        read(packed(tmp_path, LISTS | {name: text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("age", ["", "nan", "inf", "eighteen", "18 19"])
def test_a_label_that_is_no_number_is_a_reject_and_shifts_no_other(tmp_path, age):
    reject, *others = read(packed(tmp_path, LISTS | {"train_age": f"{age}\n70\n"}))
    assert (reject.member, reject.reason) == ("megaage_asian/train/1.jpg", "label_missing")
    assert "line 1 of train_age.txt" in reject.detail
    assert [row.label for row in others] == [70, 0]


def test_labels_are_given_as_published(tmp_path):
    assert [row.label for row in read(packed(tmp_path, LISTS | {"train_age": "-4\n999\n"}))] == [-4, 999, 0]


def test_pictures_and_lines_without_each_other(tmp_path):
    lists = LISTS | {"train_name": "1.jpg\n\n1.jpg\n9.jpg\n", "train_age": "18\n1\n2\n3\n"}
    results = read(packed(tmp_path, lists, ["train/1.jpg", "train/2.jpg", "test/1.jpg", "valid/1.jpg"]))
    assert [(reject.member, reject.reason) for reject in results if isinstance(reject, Reject)] == [
        ("megaage_asian/list/train_name.txt line 2", "file_missing"),
        ("megaage_asian/list/train_name.txt line 3", "duplicate_row"),
        ("megaage_asian/train/2.jpg", "not_listed"),
        ("megaage_asian/valid/1.jpg", "not_listed"),
        ("train/9.jpg", "file_missing"),
    ]
    assert [(row.sample_id, row.label) for row in results if isinstance(row, ManifestRow)] == [("train/1", 18), ("test/1", 0)]


def test_a_list_in_another_encoding_or_missing_is_one_clear_error(tmp_path):
    with pytest.raises(ArchiveError, match=r"train_name\.txt, line 2, is not utf-8-sig text"):
        read(packed(tmp_path, LISTS | {"train_name": b"1.jpg\n\xe9.jpg\n"}))
    with pytest.raises(ArchiveError, match=r"lacks list/test_age\.txt and list/train_age\.txt"):
        read(packed(tmp_path, {name: text for name, text in LISTS.items() if name.endswith("name")}))


@settings(max_examples=25, deadline=None)
@given(train=st.lists(st.integers(0, 70), min_size=1, max_size=8), test=st.lists(st.integers(0, 70), min_size=1, max_size=8))
def test_lines_belong_to_pictures_by_their_place(tmp_path_factory, train, test):
    lists, pictures = {}, []
    for side, ages in (("train", train), ("test", test)):
        names = [f"{n}.jpg" for n in range(len(ages), 0, -1)]
        lists |= {f"{side}_name": "\n".join(names), f"{side}_age": "\n".join(map(str, ages))}
        pictures += [f"{side}/{name}" for name in names]
    results = read(packed(tmp_path_factory.mktemp("set"), lists, sorted(pictures)))
    assert {row.sample_id: (row.label, row.official) for row in results} == {
        f"{side}/{len(ages) - i}": (age, side) for side, ages in (("train", train), ("test", test)) for i, age in enumerate(ages)
    }


def test_sources():
    (source,) = megaage_asian.sources({})
    assert (source.file, source.url) == ("megaage_asian.zip", None)
    assert megaage_asian.PAGE in source.instructions
    with pytest.raises(ParamsError, match=r"options\.fiel: unknown key 'fiel'; did you mean file"):
        megaage_asian.sources({"fiel": "x"})


def test_the_drawn_archive(tmp_path):
    write("megaage_asian", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    Dataset(reader="megaage_asian", origin="publisher", **megaage_asian.INFO.settings)
    rows = read(tmp_path)
    assert all(isinstance(row, ManifestRow) for row in rows)
    assert [row.official for row in rows].count("test") == 3
    assert [row.official for row in rows].count("train") == 33
    assert all(0 <= row.label <= 70 for row in rows)
    assert {row.subject for row in rows} == {None}
