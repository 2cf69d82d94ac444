from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import reader, vggface2
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.catalogue import entry
from agecascade.datasets.cleaning import clean
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Clean, DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_folder, write_tar, write_zip

META = """Class_ID, Name, Sample_Num, Flag, Gender
n000002, "A_Fine_Frenzy", 315, 1, f
n000003, "Sammy_Davis,_Jr.", 424, 1, m
n000004, Harry_Connick,_Jr., 2, 1, m
n000005, "Nobody_Knows", 1, 1, x
"""
NAMES = ["train/n000002/0001_01.jpg", "train/n000002/0003_02.jpg", "train/n000003/0001_01.jpg", "train/n000004/0102_01.jpg"]
ALL = {"lists": ["train_list.txt"], "identities": "identity_meta.csv"}


def read(folder, names, options=None, **loose):
    """What the reader says of an archive with empty pictures; `loose` are the files beside it, less their suffixes."""
    write_tar(folder / "vggface2_train.tar.gz", dict.fromkeys(names, b""))
    files = {"train_list": "train_list.txt", "test_list": "test_list.txt", "meta": "identity_meta.csv"}
    write_folder(folder, {files[name]: content if isinstance(content, bytes) else content.encode() for name, content in loose.items()})
    return rows_of("vggface2", folder, options)


def rejects(results):
    return {reject.member: reject.reason for reject in results if isinstance(reject, Reject)}


def test_every_picture_with_its_folder_as_the_subject(tmp_path):
    results = read(tmp_path, [*NAMES[:2], "test/n000001/0012_01.jpg", "VGG-Face2/data/train/n009278/0999_03.JPG"])
    assert results == [
        ManifestRow(sample_id="n000002/0001_01", member=NAMES[0], subject="n000002", official="train"),
        ManifestRow(sample_id="n000002/0003_02", member=NAMES[1], subject="n000002", official="train"),
        ManifestRow(sample_id="n000001/0012_01", member="test/n000001/0012_01.jpg", subject="n000001", official="test"),
        ManifestRow(sample_id="n009278/0999_03", member="VGG-Face2/data/train/n009278/0999_03.JPG", subject="n009278", official="train"),
    ]


def test_without_a_part_above_the_people(tmp_path):
    (row,) = read(tmp_path, ["n000002/0001_01.jpg"])
    assert (row.subject, row.official) == ("n000002", None)


@pytest.mark.parametrize(
    "name", ["0001_01.jpg", "train/n2/0001_01.jpg", "train/n000002/1_1.jpg", "train/n000002/0001.jpg", "m000002/0001_01.jpg"]
)
def test_names_that_do_not_parse(tmp_path, name):
    assert rejects(read(tmp_path, [name])) == {name: "name_does_not_parse"}


def test_gender_comes_from_the_table_whatever_commas_its_names_hold(tmp_path):
    results = read(
        tmp_path, [*NAMES, "train/n000005/0001_01.jpg", "train/n000006/0001_01.jpg"], {"identities": "identity_meta.csv"}, meta=META
    )
    assert [row.gender for row in results] == ["female", "female", "male", "male", None, None]


@pytest.mark.parametrize("header_end", ["", ",", " , ,"])
@pytest.mark.parametrize("row_end", ["", ",", " ,"])
def test_rows_and_header_may_end_in_commas(tmp_path, header_end, row_end):
    header, *people = META.splitlines()
    meta = "\n".join([header + header_end, *(person + row_end for person in people)])
    results = read(tmp_path, [*NAMES, "train/n000005/0001_01.jpg"], {"identities": "identity_meta.csv"}, meta=meta)
    assert [row.gender for row in results] == ["female", "female", "male", "male", None]


@pytest.mark.parametrize("header", ["Class_ID, Gender, Name", "Gender, Class_ID, Name", "Gender, Name, Class_ID", "Name, Gender, Class_ID"])
def test_columns_are_known_by_the_header_wherever_they_stand(tmp_path, header):
    person = {"Class_ID": "n000002", "Name": "Fine, Frenzy, A", "Gender": "f"}
    meta = f"{header}\n{', '.join(person[column] for column in header.split(', '))}\n"
    assert [row.gender for row in read(tmp_path, NAMES[:1], {"identities": "identity_meta.csv"}, meta=meta)] == ["female"]


def test_an_empty_gender_is_none(tmp_path):
    meta = "Class_ID, Name, Sample_Num, Flag, Gender\nn000002, A, 1, 1, \nn000003, B, Jr., 1, 1, ,\n"
    assert [row.gender for row in read(tmp_path, NAMES[:3], {"identities": "identity_meta.csv"}, meta=meta)] == [None] * 3


def test_a_list_restricts_and_what_is_wrong_with_it_is_told(tmp_path):
    listed = "\ufeffn000002/0001_01.jpg\r\nn000003/0001_01.jpg\n\nn000003/0001_01.jpg\nn000009/0001_01.jpg\nnan\nn000002/0001_01.jpg.part\n"
    results = read(tmp_path, NAMES, {"lists": ["train_list.txt"]}, train_list=listed)
    assert [row.sample_id for row in results if isinstance(row, ManifestRow)] == ["n000002/0001_01", "n000003/0001_01"]
    assert rejects(results) == {
        "train_list.txt line 6": "name_does_not_parse",
        "train_list.txt line 7": "name_does_not_parse",
        "n000003/0001_01": "duplicate_row",
        NAMES[1]: "not_listed",
        NAMES[3]: "not_listed",
        "n000009/0001_01": "file_missing",
    }


def test_two_lists(tmp_path):
    options = {"lists": ["train_list.txt", "test_list.txt"]}
    results = read(tmp_path, NAMES, options, train_list=NAMES[0], test_list="n000003/0001_01.jpg")
    assert [row.sample_id for row in results if isinstance(row, ManifestRow)] == ["n000002/0001_01", "n000003/0001_01"]
    assert results[1].detail == "train_list.txt and test_list.txt do not name it"


def test_rows_of_people_that_do_not_parse_or_stand_twice(tmp_path):
    results = read(tmp_path, NAMES[:1], {"identities": "identity_meta.csv"}, meta=META + "n000002, Other, 1, 1, m\nn000007, m\n\n")
    assert rejects(results) == {"identity_meta.csv line 6": "duplicate_id", "identity_meta.csv line 7": "row_does_not_parse"}
    assert results[-1].gender == "female"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train_list": NAMES[0], "meta": "Class_ID, Name, Sex\n"},
            "csv has no column 'Gender'; its columns: Class_ID, Name, Sex",
        ),
        ({"train_list": NAMES[0], "meta": ""}, "identity_meta.csv has no column 'Class_ID'; its columns: none"),
        ({"train_list": NAMES[0], "meta": META.encode() + b"n000008, Zo\xeb, 1, 1, f\n"}, "identity_meta.csv, line 6, is not utf-8-sig"),
        ({"train_list": b"n000002/0001_01.jpg\n\xff\xfe", "meta": META}, "train_list.txt, line 2, is not utf-8-sig text"),
        ({"meta": META}, "lacks train_list.txt"),
    ],
)
def test_tables_that_are_none(tmp_path, files, message):
    with pytest.raises(ArchiveError, match=message):
        read(tmp_path, NAMES, ALL, **files)


def test_a_picture_that_stands_twice_is_cleanings_to_reject(tmp_path):
    results = read(tmp_path, [NAMES[0], NAMES[0].replace(".jpg", ".png")], {"lists": ["train_list.txt"]}, train_list="n000002/0001_01.jpg")
    assert [row.sample_id for row in results] == ["n000002/0001_01"] * 2


@settings(max_examples=30)
@given(
    pictures=st.sets(st.tuples(st.integers(0, 999_999), st.integers(0, 9999), st.integers(0, 99)), min_size=1, max_size=9), data=st.data()
)
def test_a_list_of_any_pictures(tmp_path_factory, pictures, data):
    names = [f"n{person:06d}/{number:04d}_{face:02d}" for person, number, face in sorted(pictures)]
    there = data.draw(st.sets(st.sampled_from(names)))
    listed = data.draw(st.lists(st.sampled_from(names), unique=True))
    folder = tmp_path_factory.mktemp("set")
    more = ["n999999/9999_99"]
    results = read(
        folder,
        [f"train/{name}.jpg" for name in sorted(there | set(more))],
        {"lists": ["train_list.txt"]},
        train_list="".join(f"{name}.jpg\n" for name in [*listed, *more]),
    )
    wanted = {*listed, *more}
    assert {row.sample_id for row in results if isinstance(row, ManifestRow)} == wanted & (there | set(more))
    assert {name for name, reason in rejects(results).items() if reason == "file_missing"} == wanted - there - set(more)
    assert {name for name, reason in rejects(results).items() if reason == "not_listed"} == {f"train/{name}.jpg" for name in there - wanted}


def test_the_drawn_archive_is_understood(tmp_path):
    write("vggface2", tmp_path, DrawSettings(pictures=36, subjects=6), 3, workers=1)
    assert {path.name for path in tmp_path.iterdir()} == {"vggface2_train.tar.gz", "train_list.txt", "identity_meta.csv"}
    with open_archives(tmp_path) as archive:
        results = list(reader("vggface2").rows(archive, {}))
        assert len({row.subject for row in results}) == 6
        assert len({row.sample_id for row in results}) == 36
        results = list(reader("vggface2").rows(archive, ALL))
        assert list(rejects(results).values()) == ["not_listed"]
        assert {row.gender for row in results if isinstance(row, ManifestRow)} == {"female", "male"}
        files = {"manifest": tmp_path / "m.parquet", "rejects": tmp_path / "r.parquet", "work": tmp_path / "work"}
        counts = clean(archive, reader("vggface2"), Clean(), {}, name="vggface2", **files)
    assert (counts["kept"], counts["rejected"], counts["subjects"]) == (35, {"truncated": 1}, 6)


def test_sources_and_settings():
    (source,) = vggface2.sources({})
    assert (source.file, source.url) == ("vggface2_train.tar.gz", None)
    assert [source.file for source in vggface2.sources(ALL)] == ["vggface2_train.tar.gz", "train_list.txt", "identity_meta.csv"]
    with pytest.raises(ParamsError, match=r"options\.list: unknown key 'list'; did you mean lists"):
        vggface2.sources({"list": "train_list.txt"})
    with pytest.raises(ParamsError, match=r"options\.files"):
        vggface2.sources({"files": []})
    assert entry("vggface2")["clean"]["min_images_per_identity"] == 20


def test_another_data_set_has_no_row(tmp_path):
    with open_archives(write_zip(tmp_path / "set.zip", {"CASIA-WebFace/0000045/001.jpg": b""})) as archive:
        assert [type(row) for row in reader("vggface2").rows(archive, {})] == [Reject]
