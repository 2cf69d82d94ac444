from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import READERS, reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from publishers import rows_of, write_tar, write_zip

read = partial(rows_of, "identity_folders")


def test_the_last_folder_is_the_identity(tmp_path):
    names = ["train/n000002/0001_01.jpg", "train/n000002/0002_01.jpg", "train/n000003/0001_01.png", "train/list.txt"]
    assert read(write_tar(tmp_path / "vggface2_train.tar.gz", dict.fromkeys(names, b""))) == [
        ManifestRow(sample_id="n000002/0001_01", member=names[0], subject="n000002"),
        ManifestRow(sample_id="n000002/0002_01", member=names[1], subject="n000002"),
        ManifestRow(sample_id="n000003/0001_01", member=names[2], subject="n000003"),
    ]


def test_a_picture_outside_every_folder_is_a_reject(tmp_path):
    results = read(write_zip(tmp_path / "set.zip", dict.fromkeys(["a.jpg", "1/a.jpg", "2/a.jpg"], b"")))
    assert [(reject.member, reject.reason) for reject in results if isinstance(reject, Reject)] == [("a.jpg", "name_does_not_parse")]


def test_any_names_packed_in_any_way(tmp_path):
    files = {"Zo\xeb K/a b.jpg": b"", "people.zip": b"", "Li/1.jpg": b"", "Li/1.png": b""}
    inner = write_zip(tmp_path / "people.zip", {"Ann/1.jpg": b"", "Bob/1.jpg": b""})
    files["people.zip"] = inner.read_bytes()
    inner.unlink()
    results = read(write_tar(tmp_path / "faces.tgz", files))
    assert [(row.sample_id, row.subject) for row in results] == [
        ("Zo\xeb K/a b", "Zo\xeb K"),
        ("Ann/1", "Ann"),
        ("Bob/1", "Bob"),
        ("Li/1", "Li"),
        ("Li/1", "Li"),  # cleaning takes the first
    ]


@settings(max_examples=30)
@given(
    people=st.sets(st.from_regex(r"[A-Za-z0-9_ \u00e9\u4e2d-]{1,12}[A-Za-z0-9]", fullmatch=True), min_size=2, max_size=5),
    top=st.sampled_from(["", "a/b/"]),
)
def test_people_of_any_name(tmp_path_factory, people, top):
    names = [f"{top}{person}/{number}.jpg" for person in sorted(people) for number in (1, 2)]
    results = read(write_zip(tmp_path_factory.mktemp("set") / "set.zip", dict.fromkeys(names, b"")))
    assert [row.member for row in results] == names
    assert {row.subject for row in results} == people


def test_all_pictures_in_one_folder_are_another_data_set(tmp_path):
    with pytest.raises(ArchiveError, match=r"one folder of pictures \(AgeDB\)"):
        read(write_zip(tmp_path / "AgeDB.zip", dict.fromkeys(["AgeDB/0_A_3_f.jpg", "AgeDB/1_B_3_f.jpg"], b"")))


def test_sources():
    module = reader("identity_folders")
    sources = module.sources({"files": ["train.tar.gz", "test.tar.gz"]})
    assert [(source.file, source.url) for source in sources] == [("train.tar.gz", None), ("test.tar.gz", None)]
    assert "one folder for each person" in sources[0].instructions
    with pytest.raises(ParamsError, match=r"options\.files: name the archives"):
        module.sources({})


def test_the_registry():
    for name in READERS:
        assert callable(reader(name).rows)
        assert callable(reader(name).sources)
    with pytest.raises(ParamsError, match="unknown reader 'utkfaces'; did you mean utkface"):
        reader("utkfaces")
