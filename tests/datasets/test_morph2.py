from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import morph2
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Dataset, DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_folder, write_tar, write_zip

CSV = "morph_2008_nonCommercial.csv"
TABLE = {"table": CSV}
HEADER = "id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"
FIRST, SECOND, THIRD = "009055_1M54.JPG", "122148_04M45.JPG", "224970_01F26.JPG"
LINES = [
    f"009055,1,06/02/1948,06/19/2003,W,M,,54,0,,Album2/{FIRST}",
    f"122148,4,01/01/1960,02/01/2005,B,M,mustache,45,365,,Album2/{SECOND}",
    f"224970,1,12/31/1978,04/01/2005,H,F,,26,0,,Album2/{THIRD}",
]
PARTIAL = {"setting": "partial"}


read = partial(rows_of, "morph2")


def album(folder, lines=None, names=(FIRST, SECOND, THIRD), header=HEADER, end="\n", **lists):
    files = {f"MORPH_nonCommercial/Album2/{name}": b"" for name in names}
    if lines is not None:
        files[f"MORPH_nonCommercial/{CSV}"] = "".join(f"{line}{end}" for line in [header, *lines]).encode()
    path = write_zip(folder / "MORPH_Album2.zip", files)
    for name, content in lists.items():
        (folder / f"{name}.txt").write_text(content)
    return folder if lists else path


def test_rows_by_name_alone(tmp_path):
    results = read(album(tmp_path))
    assert results[0] == ManifestRow(
        sample_id="009055_1M54", member=f"MORPH_nonCommercial/Album2/{FIRST}", subject="009055", label=54.0, gender="male"
    )
    assert [(row.subject, row.label, row.gender) for row in results[1:]] == [("122148", 45, "male"), ("224970", 26, "female")]


def test_the_albums_table_adds_the_race(tmp_path):
    assert [row.ethnicity for row in read(album(tmp_path, LINES), TABLE)] == ["White", "Black", "Hispanic"]
    assert [row.ethnicity for row in read(album(tmp_path, LINES))] == [None] * 3  # not asked for


@pytest.mark.parametrize(("letter", "race"), [("A", "Asian"), ("O", "Other"), ("I", "Indian"), ("w", "White"), ("U", "U"), ("", None)])
def test_races(tmp_path, letter, race):
    assert read(album(tmp_path, [LINES[0].replace(",W,", f",{letter},"), *LINES[1:]]), TABLE)[0].ethnicity == race


@pytest.mark.parametrize("packed", ["folder", "tar.gz"])
def test_however_it_is_packed(tmp_path, packed):
    files = {"CD2/Album2/" + FIRST.lower(): b"", f"CD2/{CSV}": f"{HEADER}\n{LINES[0]}\n".encode()}
    path = write_folder(tmp_path / "set", files) if packed == "folder" else write_tar(tmp_path / "set.tar.gz", files)
    (row,) = read(path, TABLE)
    assert (row.sample_id, row.member, row.ethnicity) == ("009055_1M54", "CD2/Album2/009055_1m54.jpg", "White")


@pytest.mark.parametrize("name", ["009055_M54.JPG", "009055_1X54.JPG", "009055_1M.JPG", "1M54.JPG", "009055_1M-4.JPG", "009055_1M1000.JPG"])
def test_names_that_do_not_parse(tmp_path, name):
    (reject,) = read(album(tmp_path, names=[name]))
    assert (reject.member, reject.reason) == (f"MORPH_nonCommercial/Album2/{name}", "name_does_not_parse")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((",54,", ",55,"), "labels_disagree"),
        ((",54,", ",-54,"), "labels_disagree"),
        ((",54,", ",5400,"), "labels_disagree"),
        ((",M,", ",F,"), "labels_disagree"),
        ((",54,", ",nan,"), "label_missing"),
        ((",54,", ",,"), "label_missing"),
        ((",54,", ",old,"), "label_missing"),
    ],
)
def test_a_row_that_contradicts_the_name_or_has_no_label_is_a_reject(tmp_path, change, reason):
    reject, *others = read(album(tmp_path, [LINES[0].replace(*change), *LINES[1:]]), TABLE)
    assert (reject.member, reject.reason) == (f"MORPH_nonCommercial/Album2/{FIRST}", reason)
    assert "line 2" in reject.detail
    assert len(others) == 2


def test_pictures_and_rows_without_each_other_and_rows_twice(tmp_path):
    results = read(album(tmp_path, [LINES[1], LINES[1], LINES[2], "1,1,,,W,M,,30,0,,"], names=(FIRST, SECOND)), TABLE)
    assert [(reject.member, reject.reason) for reject in results if isinstance(reject, Reject)] == [
        (f"MORPH_nonCommercial/{CSV} line 3", "duplicate_row"),
        (f"MORPH_nonCommercial/{CSV} line 5", "file_missing"),
        (f"MORPH_nonCommercial/Album2/{FIRST}", "not_listed"),
        ("224970_01F26", "file_missing"),
    ]
    assert [row.subject for row in results if isinstance(row, ManifestRow)] == ["122148"]


def test_a_byte_order_mark_quotes_and_crlf(tmp_path):
    lines = [line.replace(",W,", ',"W",') for line in LINES]
    assert [row.ethnicity for row in read(album(tmp_path, lines, header=f"\ufeff{HEADER}", end="\r\n"), TABLE)] == [
        "White",
        "Black",
        "Hispanic",
    ]


def test_faults_of_the_table_are_one_clear_line(tmp_path):
    with pytest.raises(ArchiveError, match=r"has no column 'race'; its columns: .*\(nearest: raze\)"):
        read(album(tmp_path, LINES, header=HEADER.replace("race", "raze")), TABLE)
    with pytest.raises(ArchiveError, match=r"lacks MORPH_Album2_comp\.csv"):
        read(album(tmp_path, LINES), {"table": "MORPH_Album2_comp.csv"})
    path = write_zip(tmp_path / "bad.zip", {FIRST: b"", CSV: f"{HEADER}\n".encode() + b"1,1,,,W,M,b\xe9rd,54,0,,x.JPG\n"})
    with pytest.raises(ArchiveError, match=rf"{CSV}, line 2, is not utf-8-sig text"):
        read(path, TABLE)


# the first of the published lists is written with spaces, the others with commas and a column without a name; others have tabs
SPACES = "race gender age filename database\n0 1 54 {} morph\n"
COMMAS = ",race,gender,age,filename,database\n131,0,0,29,{},morph\n"
TABS = "database\tfilename\tfold\tage\nmorph\t{}\t0\t25\n"


@pytest.mark.parametrize("form", [SPACES, COMMAS, TABS])
def test_the_partial_setting(tmp_path, form):
    lists = {"Setting_1_fold0_train": form.format(FIRST), "Setting_1_fold0_test": form.format("330001_00M20.JPG")}
    results = read(album(tmp_path, LINES, **lists), PARTIAL | TABLE)
    assert [(row.subject, row.official, row.ethnicity) for row in results if isinstance(row, ManifestRow)] == [("009055", "train", "White")]
    assert [(reject.member, reject.reason) for reject in results if isinstance(reject, Reject)] == [
        (f"MORPH_nonCommercial/Album2/{SECOND}", "not_in_setting"),
        (f"MORPH_nonCommercial/Album2/{THIRD}", "not_in_setting"),
        ("330001_00M20", "file_missing"),
    ]


def test_faults_of_the_lists(tmp_path):
    lists = {"Setting_1_fold0_train": SPACES.format(FIRST), "Setting_1_fold0_test": SPACES.format(FIRST)}
    with pytest.raises(ArchiveError, match=r"Setting_1_fold0_test\.txt: 009055_1M54 stands on both sides"):
        read(album(tmp_path, **lists), PARTIAL)
    with pytest.raises(ArchiveError, match=r"Setting_1_fold0_test\.txt has no column 'filename'"):
        read(album(tmp_path, **lists | {"Setting_1_fold0_test": f"{FIRST}\n"}), PARTIAL)
    with pytest.raises(ArchiveError, match=r"lacks mine\.txt"):
        read(tmp_path, PARTIAL | {"lists": {"train": "mine.txt"}})


@settings(max_examples=30, deadline=None)
@given(subject=st.integers(0, 999999), number=st.integers(0, 60), gender=st.sampled_from("MF"), age=st.integers(10, 99), wide=st.booleans())
def test_every_name_of_the_publishers_form_is_taken_apart(tmp_path_factory, subject, number, gender, age, wide):
    name = f"{subject:06d}_{number:0{1 + wide}d}{gender}{age}.JPG"
    (row,) = read(album(tmp_path_factory.mktemp("set"), names=[name]))
    assert (row.subject, row.gender[0].upper(), row.label) == (f"{subject:06d}", gender, age)


def test_sources():
    (source,) = morph2.sources({})
    assert (source.file, source.url) == ("MORPH_Album2.zip", None)
    assert morph2.PAGE in source.instructions
    _, train, test = morph2.sources(PARTIAL)
    assert train.url.endswith("/datalist/morph/RS_partial/Setting_1_fold0_train.txt")
    assert test.file == "Setting_1_fold0_test.txt"
    other = morph2.sources(PARTIAL | {"lists": {"train": "Setting_1_fold4_train.txt", "test": "mine.txt"}})
    assert other[1].url.endswith("Setting_1_fold4_train.txt")
    assert other[2].url is None
    with pytest.raises(ParamsError, match=r"options\.setting: .*found 'part'"):
        morph2.sources({"setting": "part"})


def test_the_drawn_archive(tmp_path):
    write("morph2", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    Dataset(reader="morph2", origin="publisher", **morph2.INFO.settings)
    rows = read(tmp_path)
    assert len(rows) == 36
    assert len({row.subject for row in rows}) == 6
    assert all(16 <= row.label <= 80 for row in rows)
    listed = read(tmp_path, TABLE)
    assert [reject.reason for reject in listed if isinstance(reject, Reject)] == ["labels_disagree"]
    assert {row.ethnicity for row in listed if isinstance(row, ManifestRow)} <= {"White", "Black", "Hispanic"}
    partial = Counter(row.official if isinstance(row, ManifestRow) else row.reason for row in read(tmp_path, PARTIAL))
    assert partial["train"] > partial["test"] > 0
    assert partial.total() == 36
