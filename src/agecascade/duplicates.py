"""Copies of a picture: the same file, or near copies that were scaled, cropped slightly, recompressed or mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import combinations
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agecascade.errors import FaceError, SplitError
from agecascade.faces import fingerprints
from agecascade.schema import REJECTS

Integers = NDArray[np.int64]

# The most bits in which the hashes of copies differ. Of UTKFace's 20,726 crops, 795 pairs are within 4 bits; viewed as pictures,
# 3 of them show two people, all three at 4 bits; at 5 bits it is 5 of 36, at 6 bits about 30 of 49. Mirrored, 23 further pairs
# are within 4 bits, 2 of them of two people. FG-NET has no pair within 4 bits.
DISTANCE = 4
HASHED = 1024  # pictures decoded at once
CANDIDATES = 1 << 22  # pairs compared at once, in 100 MiB
ROW = np.uint64(2**32 - 1)  # the lower half of an integer
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: the upper half of a product with it differs where two keys differ, but for one pair in 2^31


def hashes(images: Sequence[bytes], workers: int) -> Integers:
    """Perceptual hashes (N,) of encoded crops of one size; raises FaceError naming the first that is no picture."""
    values = np.empty(len(images), np.int64)
    with ThreadPoolExecutor(workers) as threads:  # OpenCV releases the interpreter while it decodes
        for start in range(0, len(images), HASHED):
            scale = min(_grey(images, start, 1).shape) // (2 * fingerprints.SIDE)
            group = range(start, min(start + HASHED, len(images)))
            small = threads.map(lambda number, scale=scale: fingerprints.hash_thumbnail(_grey(images, number, scale)), group)
            values[start : start + HASHED] = fingerprints.perceptual_hash(np.stack(list(small)))
    return values


def _grey(images: Sequence[bytes], number: int, scale: int) -> NDArray[np.uint8]:
    """One picture, grey, reduced at most by `scale`: a JPEG reduced to a half, quarter or eighth decodes as much faster."""
    scales = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}
    flag = next((flag for smaller, flag in scales.items() if smaller <= scale), cv2.IMREAD_GRAYSCALE)
    data = np.frombuffer(images[number], np.uint8)
    image = cv2.imdecode(data, flag) if len(data) else None
    if image is None:
        raise FaceError(f"crop {number} of {len(images)} is no picture; run the align stage again")
    return np.asarray(image, dtype=np.uint8)


def read_fingerprints(folder: Path) -> pd.DataFrame:
    """Columns sample_id, digest, hash of an aligned folder; raises SplitError where there is none or a face has none."""
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise SplitError(f"{folder} holds no aligned faces; run the align stage")
    table = pa.concat_tables([pq.read_table(part, columns=["sample_id", "digest", "hash"]) for part in parts])
    missing = max(table["digest"].null_count, table["hash"].null_count)
    if missing:
        raise SplitError(f"{folder}: {missing} of {table.num_rows} faces have no digest or hash; run the align stage again")
    return table.to_pandas()


def copies(left: Integers, right: Integers, distance: int = DISTANCE) -> Pairs:
    """Pairs of copies, also of mirrored pictures, for training mirrors them too; the smaller distance where both are near."""
    mirrored = right ^ fingerprints.MIRRORED
    both = join_pairs(near_pairs(left, right, distance), near_pairs(left, mirrored, distance))
    again = (np.diff(both.left, prepend=-1) == 0) & (np.diff(both.right, prepend=-1) == 0)
    return Pairs(*(column[~again] for column in both))


def excluded(rows: pd.DataFrame, mode: str, others: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """The rows that a split leaves out (columns as of to_drop), and the number of exact and near copies in each other data set.

    rows and each of others: columns sample_id, digest, hash. Copies of other data sets are left out first, so that a row is never
    left out as the copy of a row that is left out itself.
    """
    across = {name: also_in(rows, other, name) for name, other in others.items()}
    counts = {
        name: {"exact": int(shared["distance"].isna().sum()), "near": int(shared["distance"].count())} for name, shared in across.items()
    }
    apart = pd.concat([_table([], "", [], []), *across.values()], ignore_index=True).drop_duplicates("sample_id")
    within = to_drop(rows[~rows["sample_id"].isin(apart["sample_id"])], mode)
    return pd.concat([apart, within], ignore_index=True).sort_values("sample_id", ignore_index=True), counts


def to_drop(rows: pd.DataFrame, mode: str) -> pd.DataFrame:
    """The rows that copy an earlier one (by sample_id) of the same data set: columns sample_id, reason, copy_of, distance.

    rows: columns sample_id, digest, hash. mode: keep, drop nothing; exact, drop further rows of the same crop of the same file (a
    file may show several faces); near, also drop rows near to one that stays, never through a chain of others. distance is null
    for copies of a file. Labels are ignored: of UTKFace's copies more than half have two different ages.
    """
    rows = rows.sort_values("sample_id", ignore_index=True)
    again = rows.duplicated(["digest", "hash"]).to_numpy()
    first = rows.groupby(["digest", "hash"], sort=False)["sample_id"].transform("first")
    exact = _table(rows["sample_id"][again], "duplicate", first[again], None)
    if mode == "near":
        return pd.concat([exact, _near(rows[~again])], ignore_index=True)
    return exact if mode == "exact" else exact.iloc[:0]


def _near(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, sorted by sample_id, that are near to an earlier one that stays."""
    names, keys = rows["sample_id"].to_numpy(), rows["hash"].to_numpy()
    pairs = copies(keys, keys)
    earlier = pairs.left < pairs.right
    left, right, distance = (column[earlier] for column in pairs)
    order = np.lexsort((left, distance, right))
    copy_of: dict[int, tuple[int, int]] = {}  # row -> the row that stays, distance
    for stays, row, bits in zip(left[order].tolist(), right[order].tolist(), distance[order].tolist(), strict=True):
        if row not in copy_of and stays not in copy_of:
            copy_of[row] = (stays, bits)
    # pairs hold only the first row of each hash; the other rows are copies of the same row, or of the first
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    originals = [copy_of.get(head, (head, 0)) for head in first[group].tolist()]
    dropped = [row for row, (stays, _) in enumerate(originals) if row != stays]
    return _table(names[dropped], "near_duplicate", [names[originals[row][0]] for row in dropped], [originals[row][1] for row in dropped])


def also_in(rows: pd.DataFrame, other: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows that copy a picture of the data set `name`: columns as of to_drop; copy_of is the nearest picture.

    rows, other: columns sample_id, digest, hash. The same file counts as a copy even where the two crops of it differ.
    """
    other = other.sort_values("sample_id", ignore_index=True)
    files = other.drop_duplicates("digest").set_index("digest")["sample_id"]
    same = rows["digest"].isin(files.index).to_numpy()
    reason = f"duplicate_of_{name}"
    exact = _table(rows["sample_id"][same], reason, files.loc[rows["digest"][same]], None)
    rest = rows[~same]
    pairs = pd.DataFrame(copies(rest["hash"].to_numpy(), other["hash"].to_numpy())._asdict())
    nearest = pairs.sort_values(["distance", "right"]).drop_duplicates("left")
    # pairs hold only the first row of each hash; merging gives all rows of it
    nearest["hash"] = rest["hash"].to_numpy()[nearest["left"]]
    matched = rest.merge(nearest, on="hash")
    near = _table(matched["sample_id"], reason, other["sample_id"].to_numpy()[matched["right"]], matched["distance"])
    return pd.concat([exact, near], ignore_index=True)


def rejects(dropped: pd.DataFrame, manifest: pd.DataFrame) -> pa.Table:
    """The dropped rows (columns as of to_drop) as schema.REJECTS, by member; manifest: columns sample_id, member."""
    rows = dropped.merge(manifest[["sample_id", "member"]], on="sample_id")
    originals = zip(rows["copy_of"], rows["distance"], strict=True)
    unit = f"of {fingerprints.BITS} bits from"
    rows["detail"] = [f"the same file as {name}" if pd.isna(bits) else f"{bits} {unit} {name}" for name, bits in originals]
    return pa.Table.from_pandas(rows.sort_values(["member", "detail"]), schema=REJECTS, preserve_index=False)


def _table(names: Any, reason: str, copy_of: Any, distance: Any) -> pd.DataFrame:
    """Columns sample_id, reason, copy_of, distance. names, copy_of: (N,) sample ids; distance: (N,), or None for copies of a file."""
    ids = {column: pd.Series(list(values), dtype=object) for column, values in (("sample_id", names), ("copy_of", copy_of))}
    bits = pd.array([None] * len(ids["sample_id"]) if distance is None else list(distance), dtype="Int64")
    return pd.DataFrame({"sample_id": ids["sample_id"], "reason": reason, "copy_of": ids["copy_of"], "distance": bits})


class Pairs(NamedTuple):
    """Row numbers in two arrays of near integers, and their distance in bits, sorted by left and right: (P,) each."""

    left: Integers
    right: Integers
    distance: Integers


def near_pairs(left: Integers, right: Integers, distance: int) -> Pairs:
    """All pairs that differ in at most `distance` of 64 bits; of equal integers on one side only the first is in a pair.

    left: (N,); right: (M,). Without that rule, 100,000 copies of one integer would make 5e9 pairs. The search is exact: the bits
    are divided into distance + agreeing bands (multi-index hashing, Norouzi et al. 2012); each differing bit changes one band, so that
    near integers agree in at least `agreeing` bands, and only integers that agree in so many are compared. Among more integers more
    bands must agree (`_bands_in_common`), so that few pairs agree by chance and the time grows as that of sorting.
    """
    a, first_a = np.unique(left, return_index=True)
    b, first_b = (a, first_a) if left is right else np.unique(right, return_index=True)
    _, i, j = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    pairs = [Pairs(first_a[i], first_b[j], np.zeros(len(i), np.int64))]
    masks = _masks(distance, _bands_in_common(max(len(a), len(b))))
    for number, mask in enumerate(masks):
        keys = a & mask
        for i, j in _agreeing(keys, keys if a is b else b & mask):
            differing = a[i] ^ b[j]
            bits = np.bitwise_count(differing.view(np.uint64))  # of signed integers, NumPy counts the bits of the absolute value
            near = np.flatnonzero((bits <= distance) & (bits > 0))
            near = near[differing[near] & mask == 0]
            for earlier in masks[:number]:  # these pairs are known from that mask
                near = near[differing[near] & earlier != 0]
            pairs.append(Pairs(first_a[i[near]], first_b[j[near]], bits[near].astype(np.int64)))
    return join_pairs(*pairs)


def join_pairs(*pairs: Pairs) -> Pairs:
    """Several `Pairs` as one, sorted by left, right and distance."""
    left, right, distance = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
    order = np.lexsort((distance, right, left))
    return Pairs(left[order], right[order], distance[order])


def _bands_in_common(count: int) -> int:
    """In how many bands near integers agree: 2 are 21 bits of six bands, 3 are 27 of seven, 4 are 32 of eight at a distance of 4."""
    return 2 + int(count > 1 << 16) + int(count > 1 << 22)


def _masks(distance: int, agreeing: int) -> list[int]:
    """A mask for each choice of `agreeing` of distance + agreeing bands; neighbouring bits, which may be correlated, are in two bands."""
    count = distance + agreeing
    bands = [sum(1 << bit for bit in range(band, 64, count)) for band in range(count)]
    signed = [band - (1 << 64) if band >> 63 else band for band in bands]
    return [reduce(or_, chosen) for chosen in combinations(signed, agreeing)]


def _agreeing(a: Integers, b: Integers) -> Iterator[tuple[Integers, Integers]]:
    """(rows of a, rows of b) of all pairs of equal keys, and of a few others: CANDIDATES pairs at a time, or all of one row if more.

    Where a is b, a row that is alone with its key makes no pair with itself.
    """
    (order_a, a), (order_b, b) = _of_several(a, b)
    start = np.searchsorted(b, a, "left")
    count = np.searchsorted(b, a, "right") - start
    reached = np.cumsum(count)
    low = 0
    while low < len(a):
        before = int(reached[low - 1]) if low else 0
        high = max(int(np.searchsorted(reached, before + CANDIDATES, "right")), low + 1)
        counts = count[low:high]
        i = np.repeat(np.arange(low, high), counts)
        offset = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)  # of each pair among those of its row
        yield order_a[i], order_b[np.repeat(start[low:high], counts) + offset]
        low = high


def _of_several(a: Integers, b: Integers) -> tuple[tuple[Integers, Integers], tuple[Integers, Integers]]:
    """Of a and of b the rows by their keys, and the keys in 32 bits, without those of a key that only one row has: most of them.

    A key in 32 bits and its row are one integer, for NumPy sorts integers in a third of the time that it takes to sort rows by them.
    """
    keys = (a if a is b else np.concatenate([a, b])).view(np.uint64)
    keys = (keys * SPREAD & ~ROW) | np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    again = np.zeros(len(keys) + 1, dtype=bool)
    again[1:-1] = (keys[1:] ^ keys[:-1]) <= ROW
    keys = keys[again[1:] | again[:-1]]
    rows, short = (keys & ROW).view(np.int64), (keys >> np.uint64(32)).view(np.int64)
    if a is b:
        return (rows, short), (rows, short)
    first = rows < len(a)
    return (rows[first], short[first]), (rows[~first] - len(a), short[~first])
