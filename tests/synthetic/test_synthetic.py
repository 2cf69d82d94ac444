"""The drawn faces and the archives they come in."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from agecascade.archives import open_archives
from agecascade.datasets import READERS, reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.fgnet import parse_points
from agecascade.errors import ParamsError
from agecascade.faces import crops
from agecascade.params import DrawSettings
from agecascade.synthetic import LAYOUTS, data_set_seed, write
from agecascade.synthetic.camera import TEMPLATE, Style, develop, take
from agecascade.synthetic.curves import similarity
from agecascade.synthetic.drawing import draw
from agecascade.synthetic.geometry import FIVE
from agecascade.synthetic.people import looks, person
from agecascade.synthetic.plan import Seeds
from forms import some

DRAW = DrawSettings(pictures=40, subjects=6)


def members(folder: Path) -> dict[str, bytes]:
    """The members of the one archive in `folder`."""
    (path,) = folder.iterdir()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive.getmembers()}  # type: ignore[union-attr]


def written(tmp_path: Path, name: str, draw: DrawSettings = DRAW, seed: int = 0) -> dict[str, bytes]:
    write(name, tmp_path, draw, seed, workers=1)
    return members(tmp_path)


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def picture(seed: int, age: float, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """A face of a person of its own: (side, side, 3) RGB and the 68 points."""
    rng = np.random.default_rng([seed, 1])
    view = take(style, rng)
    drawing, points = draw(person(np.random.default_rng(seed)), age, view, rng)
    return develop(drawing, view, rng), points


@pytest.mark.parametrize("name", some(sorted(READERS), 8))
def test_same_seed_same_bytes_whatever_the_workers(tmp_path, name):
    few = DrawSettings(pictures=36, subjects=4)  # two batches
    for folder, seed, workers in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        write(name, tmp_path / folder, few, seed, workers)
    one, two, other = ({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys()
    assert one != other


@pytest.mark.parametrize("name", ["agedb", "fgnet", "identity_folders", "imdb_wiki", "utkface"])
def test_the_reader_understands_the_archive(tmp_path, name):
    write(name, tmp_path, DRAW, 1, workers=1)
    results = list(reader(name).rows(open_archives(tmp_path), {"files": ["vggface2_train.tar.gz"]} if name == "identity_folders" else {}))
    rows = [row for row in results if isinstance(row, ManifestRow)]
    rejects = [row.reason for row in results if isinstance(row, Reject)]
    expected = {"agedb": 2, "utkface": 1}.get(name, 0)  # names that do not parse
    assert rejects == ["name_does_not_parse"] * expected
    assert len(rows) == DRAW.pictures - expected
    if name != "utkface":
        assert len({row.subject for row in rows}) == DRAW.subjects
    if name != "identity_folders":
        assert {row.gender for row in rows} <= {"female", "male", None}
        assert all(row.label is not None for row in rows)


def test_identity_folders_show_the_face_square(tmp_path):
    files = written(tmp_path, "identity_folders")
    assert all(re.fullmatch(r"n\d{6}/\d{4}_01\.jpg", name) for name in files)
    assert len(files) == DRAW.pictures
    sides = {decode(data).shape[0] for data in files.values()}
    assert sides <= set(range(80, 113))
    assert len(sides) > 5


def test_agedb_names_tell_subject_age_and_gender(tmp_path):
    files = written(tmp_path, "agedb")
    parsed = [re.fullmatch(r"AgeDB/(\d+)_([A-Za-z]+)_(\d+)_([fm])\.jpg", name) for name in files]
    good = [match for match in parsed if match]
    assert len(good) == DRAW.pictures - 2
    gender_of: dict[str, set[str]] = {}
    for match in good:
        gender_of.setdefault(match[2], set()).add(match[4])
    assert all(len(genders) == 1 for genders in gender_of.values())
    ages = [int(match[3]) for match in good]
    assert min(ages) >= 1
    assert max(ages) <= 101
    assert sum(not data.rstrip().endswith(b"\xff\xd9") for data in files.values()) == 1  # the cut picture


def test_fgnet_letters_twins_of_one_age_and_marks_68_points(tmp_path):
    files = written(tmp_path, "fgnet", DrawSettings(pictures=60, subjects=4))
    images = [name for name in files if name.startswith("FGNET/images/")]
    assert len(images) == 60 == len(files) / 2
    stems = [re.fullmatch(r"FGNET/images/(\d{3}A\d{2})([a-z]?)\.JPG", name) for name in images]
    counts = Counter(match[1] for match in stems if match)
    assert sum(counts.values()) == 60
    assert all(bool(match[2]) == (counts[match[1]] > 1) for match in stems if match)
    assert sum(int(stem[4:]) < 20 for stem in counts) > len(counts) / 2  # mostly children
    for name in images:
        points = np.array(parse_points(files[f"FGNET/points/{Path(name).stem.lower()}.pts"]))
        height, width = decode(files[name]).shape[:2]
        assert (points > 0).all()
        assert (points < [width, height]).all()


def test_markup_is_the_one_of_fgnet(mirror):
    """The mean shape of our points lies on that of the real ones, index by index."""
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        real = [np.array(parse_points(archive.read(name))) for name in archive.namelist() if name.endswith(".pts")][::10]
    ours = [picture(seed, age, Style(sides=(200, 200)))[1] for seed, age in enumerate(np.linspace(1, 50, 60))]

    def mean_shape(shapes: list[np.ndarray]) -> np.ndarray:
        """(68, 2) in eye distances."""
        aligned = [points @ fit[:, :2].T + fit[:, 2] for points in shapes for fit in [similarity(points[FIVE], TEMPLATE)]]
        return np.mean(aligned, axis=0) / 0.4

    distance = np.hypot(*(mean_shape(ours) - mean_shape(real)).T)
    assert distance.mean() < 0.1
    assert distance.max() < 0.2, distance.argmax()


def test_whole_crops_and_aligned_faces_are_framed_alike():
    assert np.allclose(TEMPLATE, crops.TEMPLATE)


def test_landmarks_lie_where_the_face_is_drawn():
    image, points = picture(3, 30, Style(sides=(200, 200), yaw=0, pitch=0, roll=0, blur=0, gray=0))
    right, left = points[31], points[36]
    assert right[0] < left[0]  # the subject's right is left in the picture
    assert points[27, 0] < right[0] < points[29, 0]
    assert points[28, 1] < right[1] < points[30, 1]
    assert points[7, 1] == points[:15, 1].max()  # chin
    assert points[64, 1] <= points[66, 1] <= points[61, 1]
    x, y = np.rint(right).astype(int)
    assert image[y - 1 : y + 2, x - 1 : x + 2].max() < 100  # pupil
    brow = np.rint(points[21:27].mean(0)).astype(int)
    forehead = np.rint(points[[24, 18]].mean(0)).astype(int)
    assert image[brow[1], brow[0]].mean() < image[forehead[1], forehead[0]].mean()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), age=st.floats(0, 120))
def test_any_person_at_any_age_fills_the_face_square(seed, age):
    image, points = picture(seed, age, Style())
    assert image.dtype == np.uint8
    assert image.shape[0] == image.shape[1] in range(88, 113)
    assert np.isfinite(points).all()
    assert np.abs(points[FIVE] / len(image) - TEMPLATE).max() < 0.2
    assert np.abs((points[FIVE] / len(image) - TEMPLATE)[:2]).mean() < 0.1
    assert image.std() > 5


def test_age_shows_in_many_cues_and_in_none_exactly():
    people = [person(np.random.default_rng(seed)) for seed in range(60)]
    at = {age: [looks(who, age, np.random.default_rng([seed, age])) for seed, who in enumerate(people)] for age in (1, 8, 18, 45, 75)}

    def means(cue: str) -> list[float]:
        return [float(np.mean([getattr(look, cue) for look in at[age]])) for age in at]

    chin, iris, lines, hair = means("chin"), means("iris"), means("forehead_lines"), means("recession")
    assert chin[0] < chin[1] < chin[2]
    assert iris[0] > iris[1] > iris[2]
    assert lines[2] < lines[3] < lines[4]
    assert hair[2] < hair[3] < hair[4]
    assert np.std([look.forehead_lines for look in at[45]]) > 0.05
    assert np.std([look.chin for look in at[8]]) > 0.03


def test_a_person_keeps_his_features_and_differs_from_others():
    seeds = Seeds(3, "agedb")
    assert seeds.person(4) == seeds.person(4)
    assert seeds.person(4) != seeds.person(5)
    assert seeds.person(4) != Seeds(3, "fgnet").person(4)  # other data sets show other people
    assert seeds.picture(1).random() != seeds.picture(2).random()


def imdb(tmp_path: Path) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The members and the struct's fields, (n,) each."""
    files = written(tmp_path, "imdb_wiki", DrawSettings(pictures=400, subjects=40))
    table = loadmat(io.BytesIO(files["imdb_crop/imdb.mat"]))["imdb"]
    assert table.shape == (1, 1)
    return files, {name: table[name][0, 0][0] for name in table.dtype.names}


def test_imdb_struct_has_the_publishers_fields_and_dirt(tmp_path):
    files, fields = imdb(tmp_path)
    assert list(fields) == [
        *("dob", "photo_taken", "full_path", "gender", "name", "face_location"),
        *("face_score", "second_face_score", "celeb_names", "celeb_id"),
    ]
    assert {len(field) for name, field in fields.items() if name != "celeb_names"} == {400}
    assert fields["face_location"][0].shape == (1, 4)
    assert fields["celeb_names"][int(fields["celeb_id"][7]) - 1] == fields["name"][7]
    paths = [str(path[0]) for path in fields["full_path"]]
    assert all(re.fullmatch(r"(\d\d)/nm\d{5}\1_rm\d+_\d{4}-\d{1,2}-\d{1,2}_\d{4}\.jpg", path) for path in paths)
    stored = [files.get(f"imdb_crop/{path}") for path in paths]
    age = fields["photo_taken"] + 0.5 - (fields["dob"] - 366) / 365.25
    dirt = {
        "age": (age < 0) | (age > 100),
        "gender": np.isnan(fields["gender"]),
        "no_face": np.isneginf(fields["face_score"]),
        "low_score": (fields["face_score"] < 1) & ~np.isneginf(fields["face_score"]),
        "second": fields["second_face_score"] > 1,
        "missing": np.array([data is None for data in stored]),
        "broken": np.array([data is not None and not data.endswith(b"\xff\xd9") for data in stored]),
    }
    counts = {kind: int(rows.sum()) for kind, rows in dirt.items()}
    assert counts == {"age": 12, "gender": 10, "no_face": 10, "low_score": 8, "second": 18, "missing": 6, "broken": 6}
    assert 0.15 < np.any(list(dirt.values()), axis=0).mean() < 0.2
    assert b"" in stored


def test_imdb_ages_are_mostly_those_of_adults(tmp_path):
    _, fields = imdb(tmp_path)
    age = fields["photo_taken"] + 0.5 - (fields["dob"] - 366) / 365.25
    real = age[(age >= 0) & (age <= 100)]
    assert 0.7 < ((real > 20) & (real < 60)).mean() < 0.95
    assert real.min() < 12
    assert real.max() > 75


def test_unknown_reader_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ParamsError, match=r"'fgnett'.*fgnet"):
        write("fgnett", tmp_path, DRAW, 0, 1)


def test_interrupted_writing_leaves_the_earlier_archive(tmp_path, monkeypatch):
    before = written(tmp_path, "agedb", DrawSettings(pictures=3, subjects=1))

    def broken(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("agecascade.synthetic.render", broken)
    with pytest.raises(KeyboardInterrupt):
        write("agedb", tmp_path, DrawSettings(pictures=4, subjects=1), 0, 1)
    assert members(tmp_path) == before


def test_yunet_finds_frontal_faces_at_the_right_place(mirror):
    detector = cv2.FaceDetectorYN.create(str(mirror / "face_detection_yunet.onnx"), "", (320, 320), 0.6)
    style = Style(sides=(144, 188), margin=0.4, shift=0.04, zoom=0.06, roll=3, yaw=4, pitch=3)
    right = 0
    for seed in range(150):
        image, points = picture(seed, seed * 37 % 101, style)
        detector.setInputSize(image.shape[1::-1])
        _, faces = detector.detect(np.ascontiguousarray(image[:, :, ::-1]))
        if faces is not None:
            eyes = max(faces, key=lambda face: face[14])[4:8].reshape(2, 2)
            true = points[FIVE[:2]]
            error = np.hypot(*(eyes - true).T) / np.hypot(*(true[1] - true[0]))
            right += bool(error.max() < 0.15)
    assert right >= 0.99 * 150


def test_every_reader_has_a_layout():
    assert LAYOUTS.keys() == READERS.keys()


def test_data_sets_of_one_study_are_drawn_with_different_seeds():
    assert data_set_seed(0, "sample_imdb") == data_set_seed(0, "sample_imdb")
    assert len({data_set_seed(seed, name) for seed in (0, 1) for name in ("sample_imdb", "sample_fgnet")}) == 4


def test_more_actors_than_casia_webface_published_have_a_folder_each():
    plan = LAYOUTS["casia_webface"](DrawSettings(pictures=6_000, subjects=6_000), Seeds(0, "casia_webface"))
    assert len({Path(drawn.member).parent for drawn in plan.pictures}) == 6_000


def test_pictures_of_megaage_asian_show_every_subject():
    plan = LAYOUTS["megaage_asian"](DrawSettings(pictures=60, subjects=50), Seeds(0, "megaage_asian"))
    assert {drawn.subject for drawn in plan.pictures} == set(range(50))


def test_vggface2_counts_the_pictures_of_each_person():
    plan = LAYOUTS["vggface2"](DrawSettings(pictures=90, subjects=7), Seeds(0, "vggface2"))
    lines = dict(plan.loose)["identity_meta.csv"].decode().splitlines()[1:]
    told = {int(line.split(",")[0][1:]) - 2: int(line.split(",")[-3]) for line in lines}
    assert told == Counter(drawn.subject for drawn in plan.pictures)
