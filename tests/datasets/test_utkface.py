from __future__ import annotations

import pytest

from agecascade.archives import open_archives
from agecascade.datasets import reader, utkface
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Clean
from publishers import outcome, rows_of, write_tar

OFFICIAL = {"official": {"train": "UTK_train_coral.csv", "test": "UTK_test_coral.csv"}}


def read(folder, names, options=None, **loose):
    write_tar(folder / "UTKFace.tar.gz", dict.fromkeys(names, b""))
    for file, content in loose.items():
        (folder / f"{file}.csv").write_text(content)
    return rows_of("utkface", folder, options)


def test_rows(tmp_path):
    names = ["UTKFace/100_1_0_20170112213500903.jpg.chip.jpg", "UTKFace/1_0_3_20170109150557335.jpg"]
    assert read(tmp_path, names) == [
        ManifestRow(sample_id="100_1_0_20170112213500903", member=names[0], label=100.0, gender="female", ethnicity="White"),
        ManifestRow(sample_id="1_0_3_20170109150557335", member=names[1], label=1.0, gender="male", ethnicity="Indian"),
    ]


@pytest.mark.parametrize(("digit", "race"), list(enumerate(["White", "Black", "Asian", "Indian", "Others"])))
def test_races(tmp_path, digit, race):
    assert read(tmp_path, [f"20_0_{digit}_20170112213500903.png"])[0].ethnicity == race


@pytest.mark.parametrize("suffix", [".jpg", ".jpg.chip.jpg", ".webp", " .jpg.chip.jpg", "jpg.chip.jpg", "jpg.webp"])
def test_names_whose_labels_are_whole_parse(tmp_path, suffix):
    (row,) = read(tmp_path, [f"UTKFace/24_0_1_20170116220224657{suffix}"])
    assert (row.sample_id, row.label, row.ethnicity) == ("24_0_1_20170116220224657", 24.0, "Black")


@pytest.mark.parametrize(
    "name",
    [
        "39_1_20170116174525125.jpg.chip.jpg",  # as published: gender or race is missing
        "61_3_20170109150557335.jpg",
        "53__0_20170116184028385.jpg",  # as published
        "24_2_0_20170116184028385.jpg",
        "24_0_5_20170116184028385.jpg",
        "_0_0_20170116184028385.jpg",
        "24_0_0_.jpg",
        "24_0_0_2017 x.jpg",
        "1000_0_0_20170116184028385.jpg",
        "0_MariaCallas_35_f.jpg",
    ],
)
def test_names_that_do_not_parse(tmp_path, name):
    (reject,) = read(tmp_path, [name])
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (name, "name_does_not_parse")


def test_the_official_split(tmp_path):
    names = [f"{age}_0_0_2017011221350090{i}.webp" for i, age in enumerate([21, 30, 60, 70])]
    train = ",filename,age,database\n1,21_0_0_20170112213500900.jpg,21,utk\n4,55_0_0_20170112213500955.jpg,55,utk\n"
    test = ",file,age\n2,30_0_0_20170112213500901.jpg.chip.jpg,9\n3,60_0_0_20170112213500902.jpg.chip.jpg,39\n"
    results = read(tmp_path, names, OFFICIAL, UTK_train_coral=train, UTK_test_coral=test, other="x")
    assert [(row.label, row.official) for row in results if isinstance(row, ManifestRow)] == [(21, "train"), (30, "test"), (60, "test")]
    assert [(reject.member, reject.reason) for reject in results if isinstance(reject, Reject)] == [
        (names[3], "not_in_official_split"),
        ("55_0_0_20170112213500955", "picture_missing"),
    ]


def test_faults_of_the_split_files(tmp_path):
    name = "21_0_0_20170112213500900.jpg"
    listed = f"filename\n{name}\n"
    with pytest.raises(ArchiveError, match=r"lacks UTK_test_coral\.csv of options\.official"):
        read(tmp_path, [name], OFFICIAL, UTK_train_coral=listed)
    with pytest.raises(ArchiveError, match=r"21_0_0_20170112213500900 stands on both sides"):
        read(tmp_path, [name], OFFICIAL, UTK_train_coral=listed, UTK_test_coral=listed)
    with pytest.raises(ArchiveError, match=r"UTK_test_coral\.csv, line \d+, is no row of a table \(field larger"):
        read(tmp_path, [name], OFFICIAL, UTK_train_coral=listed, UTK_test_coral='filename\n"' + "x" * 200_000)
    with pytest.raises(ArchiveError, match=r"UTK_test_coral\.csv has no column 'filename'; its columns: picture"):
        read(tmp_path, [name], OFFICIAL, UTK_train_coral=listed, UTK_test_coral="picture\n")
    (tmp_path / "UTK_test_coral.csv").write_bytes("filename\n20_\u00e9.jpg\n".encode("latin-1"))
    with pytest.raises(ArchiveError, match=r"UTK_test_coral\.csv, line 2, is not utf-8-sig text"):
        read(tmp_path, [name], OFFICIAL, UTK_train_coral=listed)


def test_short_and_empty_rows_of_a_split_file_list_nothing(tmp_path):
    name = "21_0_0_20170112213500900.jpg"
    (row,) = read(tmp_path, [name], OFFICIAL, UTK_train_coral=f"age,filename\n21,{name}\n33\n34,\n\n", UTK_test_coral="filename\n")
    assert row.official == "train"


def test_sources():
    archive, train, test = utkface.sources(OFFICIAL)
    assert (archive.file, archive.url) == ("UTKFace.tar.gz", None)
    assert "susanqq.github.io/UTKFace" in archive.instructions
    assert train.url.endswith("/datalist/utk/UTK_train_coral.csv")
    assert test.file == "UTK_test_coral.csv"
    assert utkface.sources({"official": {"train": "a.csv", "test": "b.csv"}})[1].url is None
    with pytest.raises(ParamsError, match=r"options\.official\.test"):
        utkface.sources({"official": {"train": "a.csv"}})


@pytest.fixture
def raw(mirror, tmp_path):
    for name in ("UTKFace.tar.gz", "UTK_train_coral.csv", "UTK_test_coral.csv"):
        (tmp_path / name).symlink_to(mirror / name)
    return tmp_path


def test_the_real_names_and_split(raw):
    with open_archives(raw) as archive:
        results = list(reader("utkface").rows(archive, OFFICIAL))
    roles = [row.official for row in results if isinstance(row, ManifestRow)]
    reasons = [reject.reason for reject in results if isinstance(reject, Reject)]
    assert (roles.count("train"), roles.count("test")) == (11223, 3287)
    assert {reason: reasons.count(reason) for reason in set(reasons)} == {
        "name_does_not_parse": 3,
        "not_in_official_split": 20726 - 3 - 11223 - 3287,
        "picture_missing": 13146 - 11223,
    }


@pytest.mark.slow
def test_the_real_archive(raw):
    with open_archives(raw) as archive:
        result = outcome(archive, reader("utkface"), Clean(low=0, high=116), name="utkface", workers=2)
    assert result.counts["kept"] == 20723
    assert result.counts["rejected"] == {"name_does_not_parse": 3}
    assert (result.counts["label"]["min"], result.counts["label"]["max"]) == (1, 116)
