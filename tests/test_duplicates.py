"""agecascade.duplicates: copies within and between data sets, which of them stays, and the search for near hashes."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade import duplicates, schema
from agecascade.duplicates import DISTANCE, copies, join_pairs, near_pairs
from agecascade.errors import FaceError, SplitError
from agecascade.faces.fingerprints import MIRRORED, hash_thumbnail, perceptual_hash
from agecascade.io.files import write_table

FAR = 0x0F0F_F0F0_3333  # 24 bits


def table(**rows: tuple[int, int]) -> pd.DataFrame:
    """sample_id -> (digest, hash)."""
    frame = pd.DataFrame([(name, *values) for name, values in rows.items()], columns=["sample_id", "digest", "hash"])
    return frame.astype({"digest": "int64", "hash": "int64"})


def details(dropped: pd.DataFrame) -> dict[str, tuple[str, str, int | None]]:
    assert dropped.columns.tolist() == ["sample_id", "reason", "copy_of", "distance"]
    assert dropped["sample_id"].is_unique
    return {row.sample_id: (row.reason, row.copy_of, None if pd.isna(row.distance) else int(row.distance)) for row in dropped.itertuples()}


def test_a_mirrored_picture_is_a_copy():
    pairs = copies(np.array([0b11, FAR]), np.array([0b1 ^ MIRRORED, FAR]))
    assert [column.tolist() for column in pairs] == [[0, 1], [0, 1], [1, 0]]


def test_a_nearly_symmetric_picture_is_one_pair_at_the_smaller_distance(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates.fingerprints, "MIRRORED", 0b111)
    pairs = copies(np.array([0b000]), np.array([0b011]))
    assert [column.tolist() for column in pairs] == [[0], [0], [1]]


ROWS = table(c=(1, FAR), a=(1, FAR), b=(1, 0), d=(2, FAR ^ 0b1111), e=(3, FAR ^ 0b11111), f=(4, FAR ^ 0b1111), g=(5, MIRRORED ^ 1))


def test_keep_drops_nothing():
    assert details(duplicates.to_drop(ROWS, "keep")) == {}


def test_exact_drops_the_same_crop_of_the_same_file_alone():
    assert details(duplicates.to_drop(ROWS, "exact")) == {"c": ("duplicate", "a", None)}


def test_near_drops_what_is_near_to_a_picture_that_stays():
    """e is near to d, which is not there any more, but not to a."""
    assert details(duplicates.to_drop(ROWS, "near")) == {
        "c": ("duplicate", "a", None),
        "d": ("near_duplicate", "a", 4),
        "f": ("near_duplicate", "a", 4),
        "g": ("near_duplicate", "b", 1),
    }


def test_pictures_of_one_hash_are_copies_of_the_first():
    rows = table(**{f"{i:06}": (i, 0) for i in range(20_000)})
    dropped = duplicates.to_drop(rows, "near")
    assert len(dropped) == 19_999
    assert set(dropped["copy_of"]) == {"000000"}
    assert set(dropped["distance"]) == {0}


fingerprint = st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 0b111, 0b11111, 0x7F, FAR, FAR ^ 3, MIRRORED, MIRRORED ^ 0b1111]))


@settings(max_examples=30, deadline=None)
@given(st.lists(fingerprint, max_size=14), st.randoms())
def test_what_stays_holds_no_copies_and_what_is_near_names_one_that_stays(values: list[tuple[int, int]], random):
    rows = table(**{f"{i:02}": value for i, value in enumerate(values)})
    order = list(range(len(rows)))
    random.shuffle(order)
    dropped = duplicates.to_drop(rows.iloc[order], "near")
    assert details(dropped) == details(duplicates.to_drop(rows, "near"))
    hashes = rows.set_index("sample_id")["hash"]
    stays = hashes[~hashes.index.isin(dropped["sample_id"])].to_numpy()
    pairs = copies(stays, stays)
    assert len(pairs.left) == len(stays)
    for row in dropped.itertuples():
        assert row.copy_of < row.sample_id
        one, other = int(hashes[row.sample_id]), int(hashes[row.copy_of])
        if row.reason == "near_duplicate":
            assert row.copy_of not in set(dropped["sample_id"])
            assert min((one ^ other).bit_count(), (one ^ other ^ MIRRORED).bit_count()) == row.distance
        else:
            assert one == other


def test_copies_of_another_data_set_name_the_nearest_picture():
    rows = table(near=(1, FAR), also=(2, FAR), file=(3, 0), other=(4, MIRRORED ^ FAR ^ 0b1111100))
    other = table(z=(3, FAR ^ 0xFFFF), y=(9, FAR ^ 0b11), x=(8, FAR ^ 0b1), w=(7, FAR ^ 0b1))
    expected = {
        "near": ("duplicate_of_set", "w", 1),
        "also": ("duplicate_of_set", "w", 1),
        "file": ("duplicate_of_set", "z", None),
    }
    assert details(duplicates.also_in(rows, other, "set")) == expected
    assert details(duplicates.also_in(rows, other.iloc[:0], "set")) == {}
    assert details(duplicates.also_in(rows.iloc[:0], other, "set")) == {}


def test_only_a_picture_that_stays_puts_another_out():
    """a goes for the other set's sake, so that b, near to a but not to that set, may stay; c is counted for both sets."""
    rows = table(a=(1, 0b11), b=(2, 0b111111), c=(5, FAR), d=(6, FAR ^ 0b1111))
    others = {"one": table(x=(9, 0), z=(5, 0)), "two": table(y=(8, FAR))}
    dropped, counts = duplicates.excluded(rows, "near", others)
    assert details(dropped) == {
        "a": ("duplicate_of_one", "x", 2),
        "c": ("duplicate_of_one", "z", None),
        "d": ("duplicate_of_two", "y", 4),
    }
    assert counts == {"one": {"exact": 1, "near": 1}, "two": {"exact": 0, "near": 2}}
    assert duplicates.excluded(rows, "keep", {})[0].empty


def test_rejects_name_the_other_picture_and_the_distance():
    dropped = duplicates.to_drop(ROWS, "near")
    manifest = pd.DataFrame({"sample_id": list("abcdefg"), "member": [f"faces/{name}.jpg" for name in "abcdefg"]})
    rejects = duplicates.rejects(dropped, manifest)
    assert rejects.schema.equals(schema.REJECTS)
    assert rejects.slice(0, 2).to_pylist() == [
        {"member": "faces/c.jpg", "reason": "duplicate", "detail": "the same file as a"},
        {"member": "faces/d.jpg", "reason": "near_duplicate", "detail": "4 of 63 bits from a"},
    ]
    assert duplicates.rejects(dropped.iloc[:0], manifest).schema.equals(schema.REJECTS)


def crops(count: int, side: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC) for small in sizes]


@pytest.mark.parametrize("workers", [1, 2])
def test_hashes_of_encoded_crops_are_those_of_the_pictures(workers: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duplicates, "HASHED", 7)
    pictures = crops(20)
    expected = perceptual_hash(np.stack([hash_thumbnail(picture[..., ::-1]) for picture in pictures]))
    for suffix, allowed in ((".png", 1), (".jpg", DISTANCE)):
        computed = duplicates.hashes([cv2.imencode(suffix, picture)[1].tobytes() for picture in pictures], workers)
        assert np.bitwise_count(computed ^ expected).max() <= allowed
    assert duplicates.hashes([], workers).shape == (0,)


@pytest.mark.parametrize("broken", [b"", b"no picture"])
def test_a_crop_that_is_no_picture_is_named(broken: bytes):
    good = cv2.imencode(".png", crops(1)[0])[1].tobytes()
    with pytest.raises(FaceError, match=r"crop 2 of 3 is no picture"):
        duplicates.hashes([good, good, broken], 1)


def write_aligned(path: Path, hashes: list[int | None]) -> None:
    names = [f"{path.stem}-{i}" for i in range(len(hashes))]
    columns = {"sample_id": names, "digest": [2**62 + 1] * len(hashes), "hash": pa.array(hashes, pa.int64())}
    write_table(path, pa.table(columns))


def test_fingerprints_are_read_from_all_parts_without_loss(tmp_path: Path):
    write_aligned(tmp_path / "part-00000.parquet", [2**62 + 3, 0])
    write_aligned(tmp_path / "part-00001.parquet", [5])
    table = duplicates.read_fingerprints(tmp_path)
    assert table["hash"].tolist() == [2**62 + 3, 0, 5]
    assert table["digest"].tolist() == [2**62 + 1] * 3


def test_an_aligned_folder_without_hashes_is_named(tmp_path: Path):
    with pytest.raises(SplitError, match="holds no aligned faces; run the align stage"):
        duplicates.read_fingerprints(tmp_path)
    write_aligned(tmp_path / "part-00000.parquet", [1, None, 3])
    with pytest.raises(SplitError, match="1 of 3 faces have no digest or hash; run the align stage again"):
        duplicates.read_fingerprints(tmp_path)


# the search for integers that differ in few bits

LOWEST, HIGHEST = -(2**63), 2**63 - 1

# a few numbers and what differs from them in a few bits
centres = st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=4)
turned = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=10)), max_size=12)


def around(chosen: list[int], changes: list[tuple[int, list[int]]]) -> np.ndarray:
    values = []
    for which, bits in changes:
        value = chosen[which % len(chosen)] & (2**64 - 1)
        for bit in bits:
            value ^= 1 << bit
        values.append(value)
    return np.array(values, dtype=np.uint64).view(np.int64)


def brute_force(left: np.ndarray, right: np.ndarray, distance: int) -> list[tuple[int, int, int]]:
    pairs = []
    for i, one in enumerate(left.tolist()):
        for j, other in enumerate(right.tolist()):
            bits = bin((one ^ other) & (2**64 - 1)).count("1")
            if bits <= distance and one not in left[:i] and other not in right[:j]:
                pairs.append((i, j, bits))
    return pairs


def listed(pairs: duplicates.Pairs) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in pairs), strict=True))


# distances with the numbers of bands that near integers agree in; few at large distances, where there are thousands of choices
searches = st.sampled_from([(distance, 2) for distance in range(11)] + [(distance, bands) for distance in (0, 2, 4) for bands in (3, 4)])


@settings(max_examples=60, deadline=None)
@given(centres, turned, turned, searches)
def test_the_search_equals_brute_force(chosen: list[int], first: list, second: list, search: tuple[int, int]):
    distance, in_common = search
    left, right = around(chosen, first), around(chosen, second)
    with mock.patch("agecascade.duplicates._bands_in_common", return_value=in_common):
        assert listed(near_pairs(left, right, distance)) == brute_force(left, right, distance)
        assert listed(near_pairs(left, left, distance)) == brute_force(left, left, distance)


def test_more_bands_agree_among_more_integers():
    assert [duplicates._bands_in_common(count) for count in (0, 50_000, 1_000_000, 20_000_000)] == [2, 2, 3, 4]


@pytest.mark.parametrize("candidates", [1, 7, 1 << 22])
def test_portions_change_nothing(candidates: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**12, 300)  # crowded: all agree in most bands
    expected = brute_force(values, values, 2)
    monkeypatch.setattr(duplicates, "CANDIDATES", candidates)
    assert listed(near_pairs(values, values, 2)) == expected


def test_a_hundred_thousand_copies_are_one():
    values = np.full(100_000, 7)
    values[-1] = 8
    assert listed(near_pairs(values, values, 4)) == [(0, 0, 0), (0, 99_999, 4), (99_999, 0, 4), (99_999, 99_999, 0)]


def test_planted_pairs_among_many_are_all_found():
    rng = np.random.default_rng(1)
    left = rng.integers(LOWEST, HIGHEST, 50_000)
    right = rng.integers(LOWEST, HIGHEST, 50_000)
    for row in range(500):
        bits = rng.choice(64, row % 5, replace=False)
        right[row] = left[row] ^ int(np.bitwise_xor.reduce(np.uint64(1) << bits.astype(np.uint64), initial=np.uint64(0)).astype(np.int64))
    assert listed(near_pairs(left, right, 4)) == [(row, row, row % 5) for row in range(500)]


def test_nothing_is_near_to_nothing():
    empty = np.empty(0, np.int64)
    assert listed(near_pairs(empty, np.arange(3), 4)) == []
    assert listed(near_pairs(np.arange(3), empty, 4)) == []


def test_pairs_are_joined_by_left_right_distance():
    one = duplicates.Pairs(np.array([2, 0]), np.array([1, 5]), np.array([3, 0]))
    other = duplicates.Pairs(np.array([2]), np.array([1]), np.array([1]))
    assert listed(join_pairs(one, other)) == [(0, 5, 0), (2, 1, 1), (2, 1, 3)]
