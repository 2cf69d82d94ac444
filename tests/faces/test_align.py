"""Manifest and archive -> aligned Parquet parts."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agecascade.archives import Member, open_archives
from agecascade.errors import ArchiveError, FaceError, RejectRateError
from agecascade.faces.align import AlignResult, align
from agecascade.faces.crops import TEMPLATE, Frame
from agecascade.faces.fingerprints import hash_thumbnail, perceptual_hash
from agecascade.imaging import decode_image, encode_image
from agecascade.loading import load_faces
from agecascade.params import Align, Compute
from agecascade.schema import ALIGNED, MANIFEST, REJECTS
from images import noise

SIZE = 32
POINTS = [float(value) for value in (np.array(TEMPLATE) * 50 + 20).ravel()]


def picture(seed: int, side: int = 90) -> bytes:
    return encode_image(noise(seed, side, side), "png", 100)


def write_archive(folder: Path, members: dict[str, bytes]) -> Path:
    """A raw folder with one zip."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return folder


def manifest_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"sample_id": row["member"], **row} for row in rows], schema=MANIFEST)


def read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(part) for part in sorted(folder.glob("part-*.parquet"))])


def write_manifest(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(manifest_of(rows), folder / "manifest.parquet")
    return folder / "manifest.parquet"


def run(tmp_path: Path, members: dict[str, bytes], rows: list[dict[str, Any]], detector: str = "annotation", **changes: Any) -> AlignResult:
    options = {"size": SIZE, "encoding": "png", "max_reject_rate": 1.0, **changes}
    archive = open_archives(write_archive(tmp_path / "raw", members))
    manifest = write_manifest(tmp_path, rows)
    return align(archive, manifest, Align(**options), detector, tmp_path / "aligned", Compute(workers=1), tmp_path / "work")


def test_crops_keep_their_labels_and_their_points_stand_on_the_template(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"member": "a.png", "sample_id": "A", "landmarks": POINTS, "label": 31.5, "subject": "s", "gender": "female", "label_sigma": 2.0},
        {"member": "b.png", "sample_id": "B", "landmarks": [*POINTS, 1.0, 2.0], "label": None},
    ]
    result = run(tmp_path, {name: picture(i) for i, name in enumerate(["a.png", "other.png", "b.png"])}, rows)
    assert result.counts == {"rows": 2, "aligned": 2, "rejected": 0, "reasons": {}}
    table = read(tmp_path / "aligned")
    assert table.schema.equals(ALIGNED)
    first, second = table.to_pylist()
    assert (first["sample_id"], first["label"], first["subject"], first["gender"], first["label_sigma"]) == ("A", 31.5, "s", "female", 2.0)
    assert (second["sample_id"], second["label"], second["subject"]) == ("B", None, None)
    assert (first["width"], first["height"], first["detector"], first["face_score"]) == (SIZE, SIZE, "annotation", None)
    np.testing.assert_allclose(np.reshape(first["landmarks"], (5, 2)), Frame(SIZE).points, atol=1e-4)
    assert decode_image(first["image"]).shape == (SIZE, SIZE, 3)


def test_a_published_crop_of_the_final_size_keeps_its_pixels(tmp_path: Path) -> None:
    run(tmp_path, {"a.png": picture(0, SIZE)}, [{"member": "a.png"}], detector="whole")
    (row,) = read(tmp_path / "aligned").to_pylist()
    np.testing.assert_array_equal(decode_image(row["image"]), decode_image(picture(0, SIZE)))
    assert row["landmarks"] is None


def test_a_picture_may_hold_several_faces_of_the_manifest(tmp_path: Path) -> None:
    rows = [{"member": "a.png", "sample_id": name, "box": box} for name, box in [("x", [0, 0, 40, 40]), ("y", [40, 40, 80, 80])]]
    run(tmp_path, {"a.png": picture(0)}, rows)
    table = read(tmp_path / "aligned")
    assert table["sample_id"].to_pylist() == ["x", "y"]
    assert len(set(table["image"].to_pylist())) == 2


def test_copies_of_a_file_share_its_digest_and_copies_of_a_crop_its_hash(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"member": f"{name}.png", "sample_id": name, "box": [0, 0, 40, 40]} for name in "abc"]
    rows.append({"member": "a.png", "sample_id": "d", "box": [40, 40, 80, 80]})
    run(tmp_path, {"a.png": picture(0), "b.png": picture(0), "c.png": picture(1)}, rows)
    table = read(tmp_path / "aligned").sort_by("sample_id")
    a, b, c, d = table["digest"].to_pylist()
    assert a == b == d != c
    assert a == int(np.frombuffer(hashlib.blake2b(picture(0)).digest()[:8], "<i8")[0])
    hashes = table["hash"].to_pylist()
    stored = np.stack([hash_thumbnail(decode_image(image)) for image in table["image"].to_pylist()])
    assert hashes == perceptual_hash(stored).tolist()  # PNG loses nothing
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


BROKEN = {"truncated.png": picture(1)[:2000], "text.png": b"no picture", "empty.png": b""}


def test_what_cannot_be_aligned_is_rejected_with_its_reason(tmp_path: Path) -> None:
    members = {"good.png": picture(0), **BROKEN, "nan.png": picture(2), "flat.png": picture(3), "bare.png": picture(4)}
    rows: list[dict[str, Any]] = [{"member": name, "landmarks": POINTS} for name in ["good.png", *BROKEN]]
    rows += [{"member": "nan.png", "landmarks": [math.nan, *POINTS[1:]]}, {"member": "flat.png", "landmarks": [30.0] * 10}]
    rows += [{"member": "bare.png"}, {"member": "absent.png", "landmarks": POINTS}]
    result = run(tmp_path, members, rows)
    reasons = {"bad_landmarks": 2, "missing": 1, "no_face": 1, "unreadable": 3}
    assert result.counts == {"rows": 8, "aligned": 1, "rejected": 7, "reasons": reasons}
    rejects = pq.read_table(tmp_path / "aligned" / "rejects.parquet")
    assert rejects.schema.equals(REJECTS)
    by_member = {row["member"]: row["reason"] for row in rejects.to_pylist()}
    assert by_member["nan.png"] == "bad_landmarks"
    assert by_member["absent.png"] == "missing"
    assert by_member["truncated.png"] == "unreadable"
    assert read(tmp_path / "aligned")["sample_id"].to_pylist() == ["good.png"]


def test_the_whole_picture_stands_in_where_the_settings_say_so(tmp_path: Path) -> None:
    members = {"nan.png": picture(0, SIZE), "bare.png": picture(1, SIZE), "text.png": b"no picture"}
    rows: list[dict[str, Any]] = [{"member": "nan.png", "landmarks": [math.nan] * 10}, {"member": "bare.png"}, {"member": "text.png"}]
    result = run(tmp_path, members, rows, if_no_face="whole")
    assert result.counts["reasons"] == {"unreadable": 1}
    table = read(tmp_path / "aligned")
    assert table["detector"].to_pylist() == ["whole", "whole"]
    np.testing.assert_array_equal(decode_image(table["image"][0].as_py()), decode_image(members["nan.png"]))


def test_too_many_rejects_name_the_key_and_leave_the_earlier_folder_whole(tmp_path: Path) -> None:
    (tmp_path / "aligned").mkdir()
    (tmp_path / "aligned" / "part-00000.parquet").write_bytes(b"earlier")
    rows = [{"member": "a.png", "landmarks": POINTS}, {"member": "text.png", "landmarks": POINTS}]
    with pytest.raises(RejectRateError, match=r"1 of 2 pictures .*1 unreadable.*align\.max_reject_rate = 0\.4.*text\.png"):
        run(tmp_path, {"a.png": picture(0), "text.png": b"no picture"}, rows, max_reject_rate=0.4)
    assert (tmp_path / "aligned" / "part-00000.parquet").read_bytes() == b"earlier"
    assert {path.name for path in (tmp_path / "aligned").iterdir()} == {"part-00000.parquet"}


def test_a_detector_that_does_not_exist_ends_it_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match="unknown detector"):
        run(tmp_path, {"a.png": picture(0)}, [{"member": "a.png"}], detector="retina")
    assert not (tmp_path / "aligned").exists()


def test_too_many_rejects_end_it_before_the_rest_is_read(tmp_path: Path) -> None:
    members = {f"{i:04d}.png": b"no picture" for i in range(5000)}
    read: list[str] = []
    archive = open_archives(write_archive(tmp_path / "raw", members))
    manifest = write_manifest(tmp_path, [{"member": name} for name in members])
    archive.members = counted(archive.members, read)  # type: ignore[method-assign]
    with pytest.raises(RejectRateError, match="of 5000 pictures rejected"):
        align(archive, manifest, Align(size=SIZE), "whole", tmp_path / "aligned", Compute(workers=1), tmp_path / "work")
    assert len(read) < 2500


def counted(members: Any, read: list[str]) -> Any:
    """The archive's method, noting the names that it gives."""

    def noted(*arguments: Any) -> Iterator[Any]:
        for member in members(*arguments):
            read.append(member.name)
            yield member

    return noted


@pytest.mark.parametrize("workers", [1, 2])
def test_a_torn_archive_ends_it_with_its_own_line(tmp_path: Path, workers: int) -> None:
    def torn(*_: Any) -> Iterator[Member]:
        for i in range(200):
            yield Member(f"{i:03d}.png", lambda: picture(0))
        raise ArchiveError("faces.tar is truncated; fetch it again")

    manifest = write_manifest(tmp_path, [{"member": f"{i:03d}.png", "landmarks": POINTS} for i in range(300)])
    archive = open_archives(write_archive(tmp_path / "raw", {"a.png": b""}))
    archive.members = torn  # type: ignore[assignment]
    with pytest.raises(ArchiveError, match="truncated"):
        align(archive, manifest, Align(size=SIZE), "annotation", tmp_path / "aligned", Compute(workers=workers), tmp_path / "work")
    assert not (tmp_path / "aligned").exists()


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    members = {f"{i:03d}.jpg": cv2.imencode(".jpg", decode_image(picture(i)))[1].tobytes() for i in range(200)}
    members["117.jpg"] = b"no picture"
    manifest = write_manifest(tmp_path, [{"member": name, "landmarks": POINTS, "label": float(i)} for i, name in enumerate(members)][::-1])
    archive = open_archives(write_archive(tmp_path / "raw", members))
    for workers in (1, 2):
        folder, compute = tmp_path / str(workers), Compute(workers=workers)
        align(archive, manifest, Align(size=SIZE, part_pictures=60), "annotation", folder, compute, tmp_path / "work")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / str(workers)).iterdir()} for workers in (1, 2))
    assert set(one) == {*(f"part-{i:05d}.parquet" for i in range(4)), "rejects.parquet"}
    assert one == two
    table = read(tmp_path / "1")
    assert table["sample_id"].to_pylist() == [name for name in members if name != "117.jpg"]  # the archive's order, not the manifest's
    assert table["label"].to_pylist() == [float(i) for i in range(200) if i != 117]


def test_archive_manifest_and_faces_may_stand_at_addresses(tmp_path: Path) -> None:
    members = {f"{i:03d}.png": picture(i) for i in range(50)}
    rows = [{"member": name, "landmarks": POINTS} for name in members]
    run(tmp_path, members, rows, part_pictures=20)
    store = fsspec.filesystem("memory")
    try:
        store.put(str(tmp_path / "raw"), "/bucket/raw", recursive=True)
        store.put(str(tmp_path / "manifest.parquet"), "/bucket/manifest.parquet")
        settings = Align(size=SIZE, encoding="png", part_pictures=20)
        archive = open_archives("memory://bucket/raw/faces.zip")
        address = "memory://bucket/aligned"
        align(archive, "memory://bucket/manifest.parquet", settings, "annotation", address, Compute(), tmp_path / "work")
        files = {path.rpartition("/")[2]: store.cat(path) for path in store.ls("/bucket/aligned", detail=False)}
        faces = load_faces(address, SIZE)
    finally:
        store.rm("/bucket", recursive=True)
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "aligned").iterdir()}
    assert len(faces) == 50


def test_opencv_gets_its_threads_back(tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(3)
    run(tmp_path, {"a.png": picture(0)}, [{"member": "a.png"}], detector="whole")
    after = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    assert after == 3


def test_parts_and_row_groups_are_bounded(tmp_path: Path) -> None:
    members = {f"{i:04d}.png": picture(i, 64) for i in range(300)}  # noise, 12 KiB each
    run(tmp_path, members, [{"member": name} for name in members], detector="whole", size=64, part_mib=1)
    parts = sorted((tmp_path / "aligned").glob("part-*.parquet"))
    assert len(parts) == 6
    assert all(part.stat().st_size <= 1 << 20 for part in parts)
    assert read(tmp_path / "aligned")["sample_id"].to_pylist() == list(members)


def test_a_row_group_holds_at_most_1024_rows(tmp_path: Path) -> None:
    members = {f"{i:04d}.jpg": cv2.imencode(".jpg", np.full((16, 16, 3), i % 250, np.uint8))[1].tobytes() for i in range(1100)}
    run(tmp_path, members, [{"member": name} for name in members], detector="whole", size=16, encoding="jpeg")
    metadata = pq.ParquetFile(tmp_path / "aligned" / "part-00000.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [1024, 76]


def test_nothing_to_align_leaves_one_empty_part(tmp_path: Path) -> None:
    result = run(tmp_path, {"a.png": picture(0)}, [])
    assert result.counts["aligned"] == 0
    assert read(tmp_path / "aligned").num_rows == 0


def test_yunet_aligns_real_portraits_upright(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpg"))[:20]
        members = {name: archive.read(name) for name in names}
    run(tmp_path, members, [{"member": name} for name in names], detector="yunet", size=64)
    table = read(tmp_path / "aligned")
    assert table.num_rows >= 19
    assert min(table["face_score"].to_pylist()) >= 0.7
    points = np.array(table["landmarks"].to_pylist()).reshape(-1, 5, 2)
    assert np.abs(np.median(points, axis=0) - Frame(64).points).max() < 4
