from __future__ import annotations

import hashlib
import io
import json
import math
import os
import tarfile
from types import SimpleNamespace

import pillow_heif
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from agecascade.archives import open_archives
from agecascade.datasets import READERS, cleaning, reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.row_store import RowStore
from agecascade.errors import ArchiveError, ParamsError, RejectRateError
from agecascade.params import Clean
from agecascade.schema import MANIFEST, REJECTS
from images import noise, picture
from publishers import mat, outcome, write_tar, write_zip

ALL = 1.0  # a reject rate that lets everything through


def listing(*rows):
    """A reader that tells these rows."""
    return SimpleNamespace(__name__="agecascade.datasets.agedb", sources=lambda options: [], rows=lambda archive, options: iter(rows))


def row(name="a", **fields) -> ManifestRow:
    return ManifestRow(sample_id=name, member=f"{name}.jpg", **fields)


def cleaned(folder, rows, pictures=None, workers=1, **settings):
    """Clean these rows over an archive that holds a picture for each."""
    files = {row.member: picture() for row in rows} if pictures is None else pictures
    write_zip(folder / "set.zip", files)
    with open_archives(folder / "set.zip") as archive:
        return outcome(archive, listing(*rows), Clean(**({"max_reject_rate": ALL} | settings)), workers=workers)


def reasons(result):
    return {reject["member"]: reject["reason"] for reject in result.rejects.to_pylist()}


@pytest.mark.parametrize(
    ("fields", "settings", "reason"),
    [
        ({"label": -1.0}, {"low": 0.0}, "label_out_of_range"),
        ({"label": 100.5}, {"high": 100.0}, "label_out_of_range"),
        ({}, {"low": 0.0}, "label_missing"),
        ({"face_score": -math.inf}, {"min_face_score": 1.0}, "no_face"),
        ({"face_score": 0.9}, {"min_face_score": 1.0}, "face_score_below_threshold"),
        ({"face_score": math.nan}, {"min_face_score": 1.0}, "face_score_below_threshold"),
        ({"second_face_score": 0.1}, {"max_second_face_score": 0.0}, "second_face"),
        ({}, {"require_gender": True}, "gender_missing"),
    ],
)
def test_filters(tmp_path, fields, settings, reason):
    good = row("good", label=50.0, gender="male")
    assert reasons(cleaned(tmp_path, [good, row(**fields)], **settings)) == {"a.jpg": reason}
    assert reasons(cleaned(tmp_path, [good, row(**fields)])) == {}  # null switches the filter off


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        ({"label": 0.0}, {"low": 0.0, "high": 100.0}),
        ({"label": 100.0}, {"low": 0.0, "high": 100.0}),
        ({"face_score": 1.0}, {"min_face_score": 1.0}),
        ({"face_score": None}, {"min_face_score": 1.0}),  # a publisher without a detector
        ({"second_face_score": None}, {"max_second_face_score": 0.0}),
        ({"second_face_score": 0.0}, {"max_second_face_score": 0.0}),
        ({"gender": "female"}, {"require_gender": True}),
    ],
)
def test_what_stands_on_the_border_is_kept(tmp_path, fields, settings):
    assert cleaned(tmp_path, [row(**fields)], **settings).counts["kept"] == 1


JPEG = picture()


def test_broken_and_missing_pictures_are_rejects(tmp_path):
    rows = [row("cut"), row("empty"), row("gone"), row("good")]
    pictures = {"cut.jpg": JPEG[:200], "empty.jpg": b"", "good.jpg": JPEG, "more.jpg": JPEG}
    result = cleaned(tmp_path, rows, pictures)
    assert reasons(result) == {"cut.jpg": "truncated", "empty.jpg": "empty_file", "gone.jpg": "file_missing"}
    assert result.manifest["sample_id"].to_pylist() == ["good"]


def written(form, **options):
    file = io.BytesIO()
    noisy = Image.fromarray(noise(1, 24, 16))
    if form == "HEIF":
        pillow_heif.from_pillow(noisy).save(file)
    else:
        noisy.save(file, form, **options)
    return file.getvalue()


def test_every_format_that_photos_come_in_is_kept(tmp_path):
    pictures = {
        **{f"of{suffix}": JPEG for suffix in (".jpe", ".jfif", ".JPEG")},
        **{f"heif{suffix}": written("HEIF") for suffix in (".heic", ".HEIF", ".hif")},
        **{"a.avif": written("AVIF"), "b.tif": written("TIFF"), "c.tiff": written("TIFF"), "d.jp2": written("JPEG2000")},
        "film.gif": written("GIF", save_all=True, append_images=[Image.fromarray(noise(2, 24, 16))]),
    }
    rows = [ManifestRow(sample_id=name, member=name, label=1.0, central_box=0.5) for name in pictures]
    result = cleaned(tmp_path, rows, pictures)
    assert reasons(result) == {}
    boxes = dict(zip(result.manifest["sample_id"].to_pylist(), result.manifest["box"].to_pylist(), strict=True))
    assert boxes["heif.heic"] == boxes["a.avif"] == boxes["b.tif"] == boxes["film.gif"] == [4, 6, 12, 18]


def test_only_rows_that_may_stay_are_decoded(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(cleaning, "picture_fault", lambda content, _: decoded.append(content))
    cleaned(tmp_path, [row("a", label=5.0), row("b", label=500.0)], {"a.jpg": b"of a", "b.jpg": b"of b"}, high=100.0)
    assert decoded == [b"of a"]


def test_a_central_box_is_of_the_pictures_size(tmp_path):
    wide = picture(width=36, height=18)
    (results,) = cleaned(tmp_path, [row(central_box=1 / 1.8)], {"a.jpg": wide}).manifest["box"].to_pylist()
    assert results == pytest.approx([8, 4, 28, 14], abs=1e-5)


def test_the_second_of_two_ids_is_a_reject(tmp_path):
    result = cleaned(
        tmp_path, [ManifestRow(sample_id="x", member="1.jpg", label=1.0), ManifestRow(sample_id="x", member="2.jpg", label=2.0)]
    )
    assert reasons(result) == {"2.jpg": "duplicate_id"}
    assert result.manifest["label"].to_pylist() == [1.0]


def test_identities_are_counted_after_the_other_filters(tmp_path):
    rows = [row("a1", subject="a"), row("a2", subject="a"), row("b1", subject="b"), row("b2", subject="b")]
    pictures = {f"{row.sample_id}.jpg": JPEG for row in rows} | {"b2.jpg": b""}
    result = cleaned(tmp_path, rows, pictures, min_images_per_identity=2)
    assert reasons(result) == {"b1.jpg": "identity_too_small", "b2.jpg": "empty_file"}
    assert result.counts == {"kept": 2, "rejected": {"empty_file": 1, "identity_too_small": 1}, "subjects": 1, "label": None}


def test_counts_and_schemas(tmp_path):
    rows = [row("b", label=1.0, subject="s"), row("a", label=4.0, subject="s"), row("c", label=40.0), row("d", label=None, gender="male")]
    result = cleaned(tmp_path, rows, high=None)
    assert result.counts == {"kept": 4, "rejected": {}, "subjects": 1, "label": {"min": 1.0, "max": 40.0, "mean": 15.0}}
    assert result.manifest.schema == MANIFEST
    assert result.rejects.schema == REJECTS
    assert result.manifest["sample_id"].to_pylist() == ["a", "b", "c", "d"]


def test_a_readers_rejects_and_unsafe_members_are_told(tmp_path):
    path = write_tar(tmp_path / "set.tar", {"../a.jpg": JPEG, "b.jpg": JPEG})
    rows = [row("b"), Reject("c.jpg", "name_does_not_parse", "c")]
    with open_archives(path) as archive:
        result = outcome(archive, listing(*rows), Clean(max_reject_rate=ALL))
    assert reasons(result) == {"../a.jpg": "unsafe_member", "c.jpg": "name_does_not_parse"}


def test_too_many_rejects_name_the_data_set_the_counts_and_the_key(tmp_path):
    rows = [row(f"{i}", label=500.0 if i < 2 else 5.0) for i in range(10)]
    assert cleaned(tmp_path, rows, high=100.0, max_reject_rate=0.2).counts["kept"] == 8
    with pytest.raises(RejectRateError) as caught:
        cleaned(tmp_path, rows, {f"{i}.jpg": JPEG for i in range(9)}, high=100.0, max_reject_rate=0.2)
    assert str(caught.value) == (
        "tiny: 3 of 10 rows rejected (label_out_of_range 2, file_missing 1), more than datasets.tiny.clean.max_reject_rate = 0.2 "
        "allows; check the archive and the filters, or raise it"
    )


def test_nothing_left_is_an_error_at_any_rate(tmp_path):
    with pytest.raises(RejectRateError, match=r"tiny: 1 of 1 rows rejected .*none is left"):
        cleaned(tmp_path, [row(label=500.0)], high=100.0)


@pytest.mark.parametrize("name", [name for name in READERS if reader(name).INFO.settings["grid"]])
def test_an_archive_of_another_data_set(tmp_path, name):
    files = {"VGG/n01/1.jpg": JPEG, "VGG/n02/1.jpg": JPEG}
    with (
        open_archives(write_zip(tmp_path / "vgg.zip", files)) as archive,
        pytest.raises(ArchiveError, match=r"vgg\.zip.*of another data set"),
    ):
        outcome(archive, reader(name), Clean(), name=name)


def test_neither_workers_nor_batches_nor_the_archive_change_a_byte(tmp_path, monkeypatch):
    names = [f"{i}_Name{i % 7}_{i}_f.jpg" for i in range(60)]
    files = {name: picture(seed=i) if i % 9 else b"" for i, name in enumerate(names)}
    monkeypatch.setattr(cleaning, "BATCH_PICTURES", 8)
    digests = set()
    for workers, order, write in [(1, names, write_zip), (3, names[::-1], write_tar), (2, sorted(names), write_zip)]:
        folder = tmp_path / str(workers)
        folder.mkdir()
        write(folder / ("set.zip" if write is write_zip else "set.tar.gz"), {name: files[name] for name in order})
        with open_archives(folder) as archive:
            result = outcome(archive, reader("agedb"), Clean(high=50.0, max_reject_rate=ALL), name="agedb", workers=workers)
        digests.add(tuple(hashlib.sha256(_parquet(table)).hexdigest() for table in (result.manifest, result.rejects)))
        assert result.counts["rejected"] == {"empty_file": 6, "label_out_of_range": 9}
    assert len(digests) == 1


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_batches_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(cleaning, "BATCH_BYTES", 2000)
    pictures = {f"{i}.jpg": os.urandom(900) for i in range(10)}
    with open_archives(write_zip(tmp_path / "set.zip", pictures)) as archive, RowStore() as store:
        for name in pictures:
            assert store.add(row(name[:-4]))
        sizes = [len(batch) for batch in cleaning._batches(archive, store, set())]
    assert sizes == [3, 3, 3, 1]


def test_two_faces_of_one_picture_are_two_rows(tmp_path):
    rows = [ManifestRow(sample_id=name, member="couple.jpg", box=box) for name, box in (("ann", (0.0, 0, 5, 5)), ("bob", (5.0, 0, 10, 5)))]
    result = cleaned(tmp_path, rows)
    assert result.manifest["sample_id"].to_pylist() == ["ann", "bob"]
    assert result.manifest["box"].to_pylist() == [[0, 0, 5, 5], [5, 0, 10, 5]]


@pytest.mark.parametrize("label", [math.nan, math.inf, -math.inf])
def test_a_label_that_is_no_number_is_missing(tmp_path, label):
    assert reasons(cleaned(tmp_path, [row("good", label=1.0), row(label=label)])) == {"a.jpg": "label_missing"}


def test_excluded_rows_are_rejects_with_their_reason(tmp_path):
    listed = tmp_path / "doubtful.csv"
    listed.write_text("\ufeffsample_id,reason\na,the label is 40 years off\nb,\nnobody,gone\n", encoding="utf-8")
    result = cleaned(tmp_path, [row("a"), row("b"), row("c")], exclude=str(listed))
    details = {reject["member"]: reject["detail"] for reject in result.rejects.to_pylist()}
    assert details == {"a.jpg": "the label is 40 years off", "b.jpg": f"{listed} lists it"}
    assert result.manifest["sample_id"].to_pylist() == ["c"]


@pytest.mark.parametrize(
    "content", [pytest.param(b'sample_id\n"' + b"x" * 200_000, id="a field without end"), None, b"id\na\n", b"sample_id\n\xff\n", b""]
)
def test_a_list_of_exclusions_that_is_none(tmp_path, content):
    listed = tmp_path / "doubtful.csv"
    if content is not None:
        listed.write_bytes(content)
    with pytest.raises(ParamsError, match=r"clean\.exclude: .*doubtful\.csv"):
        cleaned(tmp_path, [row("a")], exclude=str(listed))


def test_imdbs_dirt(tmp_path):
    """One row of each kind that the real set holds, from the .mat file to the manifest."""
    kinds = {
        "good": {},
        "impossible": {"photo_taken": 1900},
        "date": {"dob": 0},
        "faceless": {"face_score": -math.inf},
        "blurred": {"face_score": 0.5},
        "couple": {"second_face_score": 2.0},
        "ungendered": {"gender": math.nan},
        "broken": {},
        "missing": {},
    }
    default = {
        "dob": 720000,
        "photo_taken": 2005,
        "gender": 1,
        "face_score": 4.0,
        "second_face_score": math.nan,
        "celeb_id": 1,
        "name": "A",
    }
    table = {key: [kind.get(key, value) for kind in kinds.values()] for key, value in default.items()}
    table["full_path"] = [f"00/{name}.jpg" for name in kinds]
    pictures = {f"imdb_crop/00/{name}.jpg": picture(90, 90) for name in kinds if name != "missing"} | {"imdb_crop/00/broken.jpg": JPEG[:99]}
    path = write_tar(tmp_path / "imdb_crop.tar", pictures | {"imdb_crop/imdb.mat": mat(table)})
    limits = Clean(low=0, high=100, min_face_score=1.0, max_second_face_score=0.0, require_gender=True, max_reject_rate=0.9)
    with open_archives(path) as archive:
        result = outcome(archive, reader("imdb_wiki"), limits, name="imdb", workers=2)
    assert {member.rsplit("/", 1)[1][:-4]: reason for member, reason in reasons(result).items()} == {
        "impossible": "label_out_of_range",
        "date": "date_out_of_range",
        "faceless": "no_face",
        "blurred": "face_score_below_threshold",
        "couple": "second_face",
        "ungendered": "gender_missing",
        "broken": "truncated",
        "missing": "file_missing",
    }
    (kept,) = result.manifest.to_pylist()
    assert (kept["sample_id"], kept["gender"], kept["subject"]) == ("00/good", "male", "1")
    assert kept["box"] == pytest.approx([20, 20, 70, 70], abs=1e-4)
    json.dumps(result.counts, allow_nan=False)


def test_tables_and_pictures_that_do_not_meet_show_one_path_of_each(tmp_path):
    write_zip(tmp_path / "pictures.zip", {f"faces/{name}.jpg": picture() for name in "dbc"})
    (tmp_path / "labels.csv").write_text("path,label\nimg/2.jpg,3\nimg/1.jpg,4\n")
    expected = r"no picture of tiny in it \(not_listed 3, file_missing 2\): its table names 'img/1\.jpg', and it holds 'faces/b\.jpg'; make"
    with open_archives(tmp_path) as archive, pytest.raises(ArchiveError, match=expected):
        outcome(archive, reader("csv_table"), Clean())


def test_of_a_picture_that_an_archive_holds_twice_the_first_counts(tmp_path):
    """Whatever the workers: the second one comes while the first is checked, or long after."""
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in (("a.jpg", picture()), ("a.jpg", b"")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    for workers in (1, 2):
        with open_archives(path) as archive:
            result = outcome(archive, listing(row("a")), Clean(max_reject_rate=ALL), workers=workers)
        assert (result.counts["kept"], result.counts["rejected"]) == (1, {})
