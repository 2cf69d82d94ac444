from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import mebeauty, reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Clean, DrawSettings
from agecascade.synthetic import write
from images import picture
from publishers import outcome, rows_of, workbook, write_zip

CROPS = "cropped_images/images_crop_align_mtcnn"
RATERS = [f"rater {number}" for number in range(1, 5)]
RATINGS = {"female/asian/1.jpg": [7, 8, None, 6], "male/black/2.jpg": [3, None, None, None], "male/indian/3.jpg": [5, 5, 5, 5]}
SCORES = {"train": {"female/asian/1.jpg": 7, "male/black/2.jpg": 3}, "test": {"male/indian/3.jpg": 5}}


def published(ratings=RATINGS, scores=SCORES, listed_as=f"{CROPS}/{{}}", rated_as="original_images/{}", titles=("image", *RATERS)):
    """The members of the publisher's archive; the photographs and another crop of each picture are there too."""
    pictures = [name for side in scores.values() for name in side]
    members = {f"MEBeauty/{folder}/{name}": b"" for name in pictures for folder in (CROPS, "original_images", "cropped_images/dlib")}
    for side, of in scores.items():
        lines = ["image,score", *(f"{listed_as.format(name)},{score}" for name, score in of.items())]
        members[f"MEBeauty/scores/{side}_crop.csv"] = "\n".join(lines).encode()
    table = [list(titles), *([rated_as.format(name), *own] for name, own in ratings.items())]
    members["MEBeauty/scores/generic_scores_all_2022.xlsx"] = workbook({"Sheet1": table})
    return members


def read(folder, members, options=None):
    return rows_of("mebeauty", write_zip(folder / "MEBeauty.zip", members), options)


def crop_of(name):
    return f"MEBeauty/{CROPS}/{name}"


def test_the_published_layout(tmp_path):
    assert read(tmp_path, published()) == [
        ManifestRow(
            sample_id="female/asian/1",
            member=crop_of("female/asian/1.jpg"),
            label=7.0,
            label_sigma=1.0,
            gender="female",
            ethnicity="Asian",
            official="train",
        ),
        ManifestRow(  # a single rating has no deviation
            sample_id="male/black/2", member=crop_of("male/black/2.jpg"), label=3.0, gender="male", ethnicity="Black", official="train"
        ),
        ManifestRow(
            sample_id="male/indian/3",
            member=crop_of("male/indian/3.jpg"),
            label=5.0,
            label_sigma=0.0,
            gender="male",
            ethnicity="Indian",
            official="test",
        ),
    ]


@pytest.mark.parametrize("listed_as", ["{}", "/home/x/MEBeauty/cropped_images/images_crop_align_mtcnn/{}", r"images_crop_align_mtcnn\{}"])
@pytest.mark.parametrize("rated_as", ["{}", f"{CROPS}/{{}}", "/content/original_images/{}"])
def test_however_the_tables_write_paths(tmp_path, listed_as, rated_as):
    results = read(tmp_path, published(listed_as=listed_as, rated_as=rated_as))
    assert [(row.sample_id, row.label_sigma) for row in results] == [("female/asian/1", 1), ("male/black/2", None), ("male/indian/3", 0)]


def test_pictures_may_be_listed_under_their_file_names(tmp_path):
    members = published()
    for side in SCORES:
        name = f"MEBeauty/scores/{side}_crop.csv"
        members[name] = b"\n".join(line.rpartition(b"/")[2] for line in members[name].split(b"\n"))
    results = read(tmp_path, members)
    assert [(row.sample_id, row.gender, row.ethnicity) for row in results] == [
        ("female/asian/1", "female", "Asian"),
        ("male/black/2", "male", "Black"),
        ("male/indian/3", "male", "Indian"),
    ]


def test_pictures_may_be_rated_under_their_file_names(tmp_path):
    members = published({name.rpartition("/")[2]: own for name, own in RATINGS.items()}, rated_as="{}")
    assert [row.label_sigma for row in read(tmp_path, members)] == [1, None, 0]


def test_only_columns_of_whole_numbers_from_1_to_10_are_raters(tmp_path):
    ratings = {name: [place, sum(filter(None, own)) / 4, 99, *own, name] for place, (name, own) in enumerate(RATINGS.items())}
    ratings = {name: [cells[0], name, *cells[1:]] for name, cells in ratings.items()}
    table = [["", "Image", "mean", "raters", *RATERS, "note"], *ratings.values()]
    members = {**published(), "MEBeauty/scores/generic_scores_all_2022.xlsx": workbook({"Sheet1": table})}
    assert [row.label_sigma for row in read(tmp_path, members)] == [1, None, 0]
    bare = workbook({"Sheet1": [["image", "mean"], ["female/asian/1.jpg", 6.5]]})
    with pytest.raises(ArchiveError, match=r"all_2022\.xlsx has no column of ratings from 1 to 10; fetch it again"):
        read(tmp_path, {**members, "MEBeauty/scores/generic_scores_all_2022.xlsx": bare})


def test_without_ratings_the_study_decides(tmp_path):
    members = {name: content for name, content in published().items() if not name.endswith("xlsx")}
    assert [row.label_sigma for row in read(tmp_path, members, {"sigma": "none"})] == [None] * 3
    with pytest.raises(ArchiveError, match=r"lacks scores/generic_scores_all_2022\.xlsx"):
        read(tmp_path, members)


def test_dirt_of_the_published_layout(tmp_path):
    members = published(scores={"train": {"female/asian/1.jpg": 7, "male/black/2.jpg": "nan"}, "test": {"female/asian/1.jpg": 6}})
    members[crop_of("male/black/9.jpg")] = b""
    members["MEBeauty/scores/test_crop.csv"] += f"\n{CROPS}/male/indian/3.jpg,5\n,4".encode()
    results = read(tmp_path, members)
    assert [row.label for row in results if isinstance(row, ManifestRow)] == [7]
    assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [
        ("MEBeauty/scores/test_crop.csv line 2", "duplicate_row"),  # a picture on both sides stays on the first
        ("MEBeauty/scores/test_crop.csv line 4", "file_missing"),
        (crop_of("male/black/2.jpg"), "label_missing"),
        (crop_of("male/black/9.jpg"), "not_listed"),
        ("male/indian/3.jpg", "file_missing"),
    ]


HEADER = "path,score,score_sd,raters,gender,ethnicity,split"


def repacked(*lines, header=HEADER):
    members = {f"MEBeauty/{number:04d}.webp": b"" for number in (1, 2)}
    return {**members, "MEBeauty/labels.csv": "\n".join([header, *lines]).encode()}


def test_the_repacked_layout(tmp_path):
    lines = ["MEBeauty/0001.webp,6.94186,1.859197,38,male,caucasian,train", "MEBeauty/0002.webp,3.333333,,,female,asian,test"]
    assert read(tmp_path, repacked(*lines)) == [
        ManifestRow(
            sample_id="MEBeauty/0001",
            member="MEBeauty/0001.webp",
            label=6.94186,
            label_sigma=1.859197,
            gender="male",
            ethnicity="Caucasian",
            official="train",
        ),
        ManifestRow(
            sample_id="MEBeauty/0002", member="MEBeauty/0002.webp", label=3.333333, gender="female", ethnicity="Asian", official="test"
        ),
    ]
    assert [row.label_sigma for row in read(tmp_path, repacked(*lines), {"sigma": "none"})] == [None, None]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (",1,9,male,asian,train", "label_missing"),
        ("1_0,1,9,male,asian,train", "label_missing"),
        ("5,-1,9,male,asian,train", "deviation_missing"),
        ("5,x,9,male,asian,train", "deviation_missing"),
        ("5,1,9,male,asian,dev", "role_unknown"),
    ],
)
def test_rows_of_the_repacked_layout_that_cannot_be_read(tmp_path, cells, reason):
    results = read(tmp_path, repacked(f"MEBeauty/0001.webp,{cells}", "MEBeauty/0002.webp,5,1,9,male,asian,train"))
    assert reason in [row.reason for row in results if isinstance(row, Reject)]
    assert [row.sample_id for row in results if isinstance(row, ManifestRow)] == ["MEBeauty/0002"]


def test_faults_of_the_repacked_table(tmp_path):
    with pytest.raises(ArchiveError, match=r"labels\.csv has no column 'split'; its columns: path, score"):
        read(tmp_path, repacked("MEBeauty/0001.webp,6,1,9,male,asian", header=HEADER.removesuffix(",split")))


@settings(max_examples=15, deadline=None)
@given(own=st.lists(st.integers(1, 10), min_size=2, max_size=51))
def test_every_deviation_is_the_sample_deviation(tmp_path_factory, own):
    name = "female/asian/1.jpg"
    members = published({name: own}, {"train": {name: 5}, "test": {}}, titles=["image", *map(str, range(len(own)))])
    (row,) = read(tmp_path_factory.mktemp("set"), members)
    assert row.label_sigma == pytest.approx(statistics.stdev(own))


def test_sources():
    (source,) = mebeauty.sources({})
    assert (source.file, source.url) == ("MEBeauty.zip", None)
    assert "github.com/fbplab" in source.instructions
    with pytest.raises(ParamsError, match=r"options\.sigma: .*'sd'"):
        mebeauty.sources({"sigma": "sd"})


def test_the_drawn_archive(tmp_path):
    write("mebeauty", tmp_path, DrawSettings(pictures=60, subjects=12), 3, workers=1)
    results = rows_of("mebeauty", tmp_path)
    rows = [row for row in results if isinstance(row, ManifestRow)]
    assert [row.reason for row in results if isinstance(row, Reject)] == ["file_missing"]
    assert len(rows) == 59
    assert all(1 <= row.label <= 10 and 0 < row.label_sigma < 4 for row in rows)
    assert {row.official for row in rows} == {"train", "test"}
    assert {row.gender for row in rows} == {"female", "male"}


def test_the_repacked_copy(mirror):
    if not (mirror / "MEBeauty.zip").is_file():
        pytest.skip("no MEBeauty.zip in the mirror")
    with open_archives(mirror / "MEBeauty.zip") as archive:
        result = outcome(archive, reader("mebeauty"), Clean(low=1, high=10), name="mebeauty", workers=2)
    assert (result.counts["kept"], result.counts["rejected"]) == (2056, {})
    manifest = result.manifest.to_pandas()
    assert manifest["label_sigma"].isna().sum() == 5
    assert manifest["official"].value_counts().to_dict() == {"train": 1437, "test": 619}
    assert set(manifest["ethnicity"]) == {"Asian", "Black", "Caucasian", "Hispanic", "Indian"}
    assert manifest["label"].between(1, 10).all()


def test_cleaning_keeps_what_can_be_decoded(tmp_path):
    members = {name: picture() if name.endswith("jpg") else content for name, content in published().items()}
    with open_archives(write_zip(tmp_path / "MEBeauty.zip", {**members, crop_of("male/indian/3.jpg"): b"no picture"})) as archive:
        counts = outcome(archive, reader("mebeauty"), Clean(low=1, high=10, max_reject_rate=0.5)).counts
    assert (counts["kept"], counts["rejected"]) == (2, {"unreadable": 1})
