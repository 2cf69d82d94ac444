from __future__ import annotations

import csv
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import adience
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import DrawSettings
from agecascade.synthetic import write
from images import picture
from places import ROOT
from publishers import rows_of, write_tar, write_zip

REAL = ROOT.parent / "shared" / "annotations" / "adience"
HEADER = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score"
GROUPS = [(0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100)]


def line(user="1@N01", image="10_a_o.jpg", face=1, age="(25, 32)", gender="f"):
    return f"{user}\t{image}\t{face}\t{age}\t{gender}\t0\t414\t1086\t1383\t-115\t30\t17"


def member(user="1@N01", image="10_a_o.jpg", face=1, prefix="aligned/{}/landmark_aligned_face"):
    return f"{prefix.format(user)}.{face}.{image}"


def read(folder, folds, members, options=None, header=HEADER):
    """folds: the lines of each of the five tables."""
    for k, lines in enumerate([*folds, *[[]] * (5 - len(folds))]):
        (folder / f"fold_{k}_data.txt").write_text("\n".join([header, *lines]) + "\n")
    write_tar(folder / "aligned.tar.gz", dict.fromkeys([*members, "aligned/readme.txt"], b""))
    return rows_of("adience", folder, options)


def test_rows(tmp_path):
    folds = [[line()], [line("2@N02", "20_b_o.jpg", 7, "(60, 100)", "m")], [], [], [line("3@N03", "30_c_o.jpg", 9, "(0, 2)", "u")]]
    members = [member(), member("2@N02", "20_b_o.jpg", 7), member("3@N03", "30_c_o.jpg", 9)]
    assert read(tmp_path, folds, members) == [
        ManifestRow(
            sample_id="1@N01/1.10_a_o",
            member=members[0],
            subject="1@N01",
            label=28.5,
            label_low=25.0,
            label_high=32.0,
            group="(25, 32)",
            gender="female",
            official="fold0",
        ),
        ManifestRow(
            sample_id="2@N02/7.20_b_o",
            member=members[1],
            subject="2@N02",
            label=80.0,
            label_low=60.0,
            label_high=100.0,
            group="(60, 100)",
            gender="male",
            official="fold1",
        ),
        ManifestRow(
            sample_id="3@N03/9.30_c_o",
            member=members[2],
            subject="3@N03",
            label=1.0,
            label_low=0.0,
            label_high=2.0,
            group="(0, 2)",
            official="fold4",
        ),
    ]


def test_the_coarsely_turned_pictures(tmp_path):
    name = member(prefix="faces/{}/coarse_tilt_aligned_face")
    (row,) = read(tmp_path, [[line()]], [name], {"pictures": "faces"})
    assert (row.member, row.sample_id) == (name, "1@N01/1.10_a_o")
    unlisted, missing = read(tmp_path, [[line()]], [name], {"pictures": "aligned"})
    assert (unlisted.member, unlisted.reason) == (name, "not_listed")
    assert (missing.member, missing.reason) == ("1@N01/landmark_aligned_face.1.10_a_o.jpg", "file_missing")


@pytest.mark.parametrize(("group", "broad"), list(zip(GROUPS, [(0, 12)] * 3 + [(15, 20)] + [(25, 100)] * 4, strict=True)))
def test_three_groups(tmp_path, group, broad):
    (row,) = read(tmp_path, [[line(age=f"({group[0]}, {group[1]})")]], [member()], {"groups": 3})
    assert (row.label_low, row.label_high, row.label) == (*broad, sum(broad) / 2)
    assert row.group == f"({broad[0]}, {broad[1]})"


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        ("None", "label_missing"),
        ("", "label_missing"),
        ("35", "label_not_a_group"),
        ("(38, 42)", "label_not_a_group"),
        ("nan", "label_not_a_group"),
        ("-3", "label_not_a_group"),
        ("(60, 1000)", "label_not_a_group"),
    ],
)
def test_other_ages_are_rejects(tmp_path, age, reason):
    (reject,) = read(tmp_path, [[line(age=age)]], [member()])
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (member(), reason)


@pytest.mark.parametrize(
    ("age", "group"),
    [
        ("2", "(0, 2)"),
        ("3", "(0, 2)"),
        ("13", "(8, 12)"),
        ("22", "(15, 20)"),
        ("(8, 23)", "(15, 20)"),
        ("(25, 23)", "(25, 32)"),
        ("34", "(25, 32)"),
        ("35", "(38, 43)"),
        ("42", "(38, 43)"),
        ("(38, 48)", "(38, 43)"),
        ("55", "(48, 53)"),
        ("58", "(60, 100)"),
    ],
)
def test_mapped_ages(tmp_path, age, group):
    (row,) = read(tmp_path, [[line(age=age)]], [member()], {"labels": "mapped"})
    assert row.group == group


def test_the_mapping_is_the_nearest_group():
    """But for 3 and 35, which are as far from one as from the other."""
    for age, mapped in adience._MAPPED.items():
        numbers = [int(part) for part in age.strip("()").split(",")]
        middle = sum(numbers) / len(numbers)
        distance = {group: max(group[0] - middle, middle - group[1], 0) for group in GROUPS}
        assert distance[mapped] == min(distance.values()), age


def test_a_repeated_row_is_a_row_of_its_own(tmp_path):
    first, second = read(tmp_path, [[line(), line()]], [member()])
    assert (first.sample_id, second.sample_id) == ("1@N01/1.10_a_o", "1@N01/1.10_a_o#2")
    assert first.member == second.member
    missing = [reject.reason for reject in read(tmp_path, [[line(), line()]], [member(face=2)])]
    assert missing == ["not_listed", "file_missing", "file_missing"]


def test_a_picture_that_stands_twice(tmp_path):
    results = read(tmp_path, [[line()]], [member(), f"copy/{member()}"])
    assert [getattr(row, "reason", "row") for row in results] == ["row", "duplicate_picture"]


def test_faults_of_the_tables(tmp_path):
    with pytest.raises(ArchiveError, match=r"fold_0_data\.txt has no column 'age'"):
        read(tmp_path, [[line()]], [member()], header=HEADER.replace("\tage\t", "\tyears\t"))
    read(tmp_path, [[line()]], [member()])
    (tmp_path / "fold_3_data.txt").write_bytes(f"{HEADER}\n".encode() + "é".encode("latin-1"))
    with open_archives(tmp_path) as archive, pytest.raises(ArchiveError, match=r"fold_3_data\.txt, line 2, is not utf-8"):
        list(adience.rows(archive, {}))
    (tmp_path / "fold_3_data.txt").unlink()
    with open_archives(tmp_path) as archive, pytest.raises(ArchiveError, match=r"lacks fold_3_data\.txt"):
        list(adience.rows(archive, {}))


@settings(max_examples=15, deadline=None)
@given(
    user=st.from_regex(r"[0-9]{1,9}@N0[0-9]", fullmatch=True),
    image=st.from_regex(r"[0-9]{1,11}_[0-9a-f]{10}_o\.jpg", fullmatch=True),
    face=st.integers(1, 99999),
    group=st.integers(0, 7),
    fold=st.integers(0, 4),
)
def test_every_name_finds_its_row(tmp_path_factory, user, image, face, group, fold):
    age = f"({GROUPS[group][0]}, {GROUPS[group][1]})"
    folds = [[line(user, image, face, age)] if k == fold else [] for k in range(5)]
    (row,) = read(tmp_path_factory.mktemp("set"), folds, [member(user, image, face)])
    assert (row.subject, row.group, row.official) == (user, age, f"fold{fold}")


def test_sources():
    results = adience.sources({"pictures": "faces"})
    assert [source.file for source in results] == ["faces.tar.gz", *(f"fold_{k}_data.txt" for k in range(5))]
    assert all(source.url is None and "talhassner" in source.instructions for source in results)
    with pytest.raises(ParamsError, match=r"options\.groups: .*found 4"):
        adience.sources({"groups": 4})


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The real tables, and a picture of one pixel for every row."""
    if not REAL.is_dir():
        pytest.skip(f"no annotations of Adience at {REAL}")
    folder = tmp_path_factory.mktemp("adience")
    pictures, pixel = {}, picture(1, 1)
    for table in sorted(REAL.glob("fold_?_data.txt")):
        (folder / table.name).symlink_to(table)
        with table.open(newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                pictures[member(row["user_id"], row["original_image"], row["face_id"])] = pixel
    write_zip(folder / "aligned.zip", pictures)
    with open_archives(folder) as archive:
        yield archive


def test_the_real_tables_under_the_exact_policy(published):
    results = list(adience.rows(published, {}))
    kept = [row for row in results if isinstance(row, ManifestRow)]
    rejects = [reject for reject in results if isinstance(reject, Reject)]
    assert len(results) == 19487
    assert len(kept) == 17424
    assert Counter(reject.reason for reject in rejects) == {"label_missing": 753, "label_not_a_group": 1310}
    assert all(reject.detail for reject in rejects)
    assert len({row.sample_id for row in kept}) == 17424
    assert len({row.member for row in kept}) == 17424 - 103  # the others are listed twice or thrice
    assert Counter(row.official for row in kept).keys() == {f"fold{k}" for k in range(5)}
    assert len({(row.subject, row.official) for row in kept}) == len({row.subject for row in kept}) <= 168  # no album in two folds


def test_the_real_tables_mapped_and_in_three_groups(published):
    results = list(adience.rows(published, {"labels": "mapped", "groups": 3}))
    kept = Counter(row.group for row in results if isinstance(row, ManifestRow))
    assert kept.keys() == {"(0, 12)", "(15, 20)", "(25, 100)"}
    assert kept.total() == 19487 - 753
    assert {row.reason for row in results if isinstance(row, Reject)} == {"label_missing"}


def test_the_drawn_archive(tmp_path):
    write("adience", tmp_path, DrawSettings(pictures=100, subjects=6), 3, workers=1)
    with open_archives(tmp_path) as archive:
        results = list(adience.rows(archive, {}))
    kept = [row for row in results if isinstance(row, ManifestRow)]
    reasons = Counter(reject.reason for reject in results if isinstance(reject, Reject))
    assert len(results) == 101  # one row is repeated
    assert reasons.keys() == {"label_missing", "label_not_a_group", "file_missing"}
    assert reasons["file_missing"] == 1
    assert reasons.total() in (8, 9, 10)
    assert len({row.subject for row in kept}) == 6
    assert {row.official for row in kept} == {f"fold{k}" for k in range(5)}
    assert len({(row.subject, row.official) for row in kept}) == 6
