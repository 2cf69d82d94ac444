"""Copies of one picture: of one file, or near ones that were scaled, cropped a little, compressed anew or mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
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

Hashes = NDArray[np.int64]

# Bits in which the hashes of copies differ at most. Of UTKFace's 20,726 crops, looked at as pictures, 795 pairs are within 4 bits
# and 3 of them show two people, all three at 4; at 5 bits it is 5 of 36, at 6 bits about 30 of 49. Mirrored, 23 further pairs
# are within 4 bits, 2 of them of two people. FG-NET has no pair within 4 bits.
DISTANCE = 4
HASHED = 1024  # pictures decoded at once


def hashes(images: Sequence[bytes], workers: int) -> Hashes:
    """Perceptual hashes (N,) of encoded crops of one size; raises FaceError naming the first that is no picture."""
    found = np.empty(len(images), np.int64)
    with ThreadPoolExecutor(workers) as threads:  # OpenCV lets go of the interpreter while it decodes
        for start in range(0, len(images), HASHED):
            scale = min(_grey(images, start, 1).shape) // (2 * fingerprints.SIDE)
            group = range(start, min(start + HASHED, len(images)))
            small = threads.map(lambda number, scale=scale: fingerprints.hash_thumbnail(_grey(images, number, scale)), group)
            found[start : start + HASHED] = fingerprints.perceptual_hash(np.stack(list(small)))
    return found


def _grey(images: Sequence[bytes], number: int, scale: int) -> NDArray[np.uint8]:
    """One picture, grey, at most `scale` times smaller: a JPEG's halves, quarters and eighths decode as much faster."""
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


def copies(left: Hashes, right: Hashes, distance: int = DISTANCE) -> Pairs:
    """near_pairs, of pictures as they are and mirrored, as training mirrors them too; the smaller distance where both are near."""
    mirrored = right ^ fingerprints.MIRRORED
    both = ordered(near_pairs(left, right, distance), near_pairs(left, mirrored, distance))
    again = (np.diff(both.left, prepend=-1) == 0) & (np.diff(both.right, prepend=-1) == 0)
    return Pairs(*(column[~again] for column in both))


def excluded(rows: pd.DataFrame, mode: str, others: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """What a split leaves out (columns as of to_drop), and of how many rows each other data set has the file, or a near copy.

    rows and each of others: columns sample_id, digest, hash. Copies of other data sets go first: only a picture that stays puts
    another one out.
    """
    across = {name: also_in(rows, other, name) for name, other in others.items()}
    counts = {
        name: {"exact": int(found["distance"].isna().sum()), "near": int(found["distance"].count())} for name, found in across.items()
    }
    apart = pd.concat([_found([], "", [], []), *across.values()], ignore_index=True).drop_duplicates("sample_id")
    within = to_drop(rows[~rows["sample_id"].isin(apart["sample_id"])], mode)
    return pd.concat([apart, within], ignore_index=True).sort_values("sample_id", ignore_index=True), counts


def to_drop(rows: pd.DataFrame, mode: str) -> pd.DataFrame:
    """What is a copy of an earlier picture, by sample_id, of one data set: columns sample_id, reason, copy_of, distance.

    rows: columns sample_id, digest, hash. mode: keep, nothing is dropped; exact, one crop of one file (a file may show several
    faces); near, also what is near to a picture that stays, each by that picture itself and never through a chain of others.
    distance is null for copies of a file. Labels are not asked: of UTKFace's copies more than half stand with two ages.
    """
    rows = rows.sort_values("sample_id", ignore_index=True)
    again = rows.duplicated(["digest", "hash"]).to_numpy()
    first = rows.groupby(["digest", "hash"], sort=False)["sample_id"].transform("first")
    exact = _found(rows["sample_id"][again], "duplicate", first[again], None)
    if mode == "near":
        return pd.concat([exact, _near(rows[~again])], ignore_index=True)
    return exact if mode == "exact" else exact.iloc[:0]


def _near(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, given by sample_id, that are near to an earlier one that stays."""
    names, keys = rows["sample_id"].to_numpy(), rows["hash"].to_numpy()
    pairs = copies(keys, keys)
    earlier = pairs.left < pairs.right
    left, right, distance = (column[earlier] for column in pairs)
    order = np.lexsort((left, distance, right))
    put_out: dict[int, tuple[int, int]] = {}  # row -> the row that stays, distance
    for stays, row, bits in zip(left[order].tolist(), right[order].tolist(), distance[order].tolist(), strict=True):
        if row not in put_out and stays not in put_out:
            put_out[row] = (stays, bits)
    # the pairs name the first row of each hash; the others share its fate, or are its copies
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    fates = [put_out.get(head, (head, 0)) for head in first[group].tolist()]
    out = [row for row, (stays, _) in enumerate(fates) if row != stays]
    return _found(names[out], "near_duplicate", [names[fates[row][0]] for row in out], [fates[row][1] for row in out])


def also_in(rows: pd.DataFrame, other: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows that are copies of a picture of the data set `name`: columns as of to_drop, the nearest picture named.

    rows, other: columns sample_id, digest, hash. A file that both have counts even where their crops of it differ.
    """
    other = other.sort_values("sample_id", ignore_index=True)
    files = other.drop_duplicates("digest").set_index("digest")["sample_id"]
    same = rows["digest"].isin(files.index).to_numpy()
    reason = f"duplicate_of_{name}"
    exact = _found(rows["sample_id"][same], reason, files.loc[rows["digest"][same]], None)
    rest = rows[~same]
    pairs = pd.DataFrame(copies(rest["hash"].to_numpy(), other["hash"].to_numpy())._asdict())
    nearest = pairs.sort_values(["distance", "right"]).drop_duplicates("left")
    # the pairs name the first row of each hash, and all rows of it are meant
    nearest["hash"] = rest["hash"].to_numpy()[nearest["left"]]
    met = rest.merge(nearest, on="hash")
    near = _found(met["sample_id"], reason, other["sample_id"].to_numpy()[met["right"]], met["distance"])
    return pd.concat([exact, near], ignore_index=True)


def rejects(found: pd.DataFrame, manifest: pd.DataFrame) -> pa.Table:
    """What was found (columns as of to_drop) as schema.REJECTS, by member; manifest: columns sample_id, member."""
    rows = found.merge(manifest[["sample_id", "member"]], on="sample_id")
    told = zip(rows["copy_of"], rows["distance"], strict=True)
    far = f"of {fingerprints.BITS} bits from"
    rows["detail"] = [f"the same file as {name}" if pd.isna(bits) else f"{bits} {far} {name}" for name, bits in told]
    return pa.Table.from_pandas(rows.sort_values(["member", "detail"]), schema=REJECTS, preserve_index=False)


def _found(names: Any, reason: str, copy_of: Any, distance: Any) -> pd.DataFrame:
    """names, copy_of: (N,) sample ids; distance: (N,), or None for copies of a file."""
    ids = {column: pd.Series(list(values), dtype=object) for column, values in (("sample_id", names), ("copy_of", copy_of))}
    bits = pd.array([None] * len(ids["sample_id"]) if distance is None else list(distance), dtype="Int64")
    return pd.DataFrame({"sample_id": ids["sample_id"], "reason": reason, "copy_of": ids["copy_of"], "distance": bits})


Integers = NDArray[np.int64]

CANDIDATES = 1 << 22  # compared at once; 100 MiB


class Pairs(NamedTuple):
    """Rows of two arrays whose integers are near, by left and right: (P,) each."""

    left: Integers
    right: Integers
    distance: Integers


def near_pairs(left: Integers, right: Integers, distance: int) -> Pairs:
    """All pairs that differ in at most `distance` of 64 bits, exactly; of equal integers of one side the first alone is named.

    left: (N,); right: (M,). 100,000 copies of one integer would make 5e9 pairs. The bits are dealt into distance + 2 bands
    (multi-index hashing, Norouzi et al. 2012): a differing bit spoils one band, so that near integers agree in two at the least,
    and for every two bands only those are compared that agree in both. For bits that are about independent the time is that of
    sorting.
    """
    a, first_a = np.unique(left, return_index=True)
    b, first_b = np.unique(right, return_index=True)
    masks = _masks(distance)
    found = [Pairs(*np.empty((3, 0), np.int64))]
    for number, mask in enumerate(masks):
        for i, j in _agreeing(a & mask, b & mask):
            differing = a[i] ^ b[j]
            bits = np.bitwise_count(differing.view(np.uint64))  # of signed integers it counts those of the absolute value
            near = np.flatnonzero(bits <= distance)
            for earlier in masks[:number]:  # found there already
                near = near[differing[near] & earlier != 0]
            found.append(Pairs(first_a[i[near]], first_b[j[near]], bits[near].astype(np.int64)))
    return ordered(*found)


def ordered(*pairs: Pairs) -> Pairs:
    """Several as one, by left, right and distance."""
    left, right, distance = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
    order = np.lexsort((distance, right, left))
    return Pairs(left[order], right[order], distance[order])


def _masks(distance: int) -> list[int]:
    """A mask for every two of distance + 2 bands; neighbouring bits, which may depend on each other, are in different bands."""
    count = distance + 2
    bands = [sum(1 << bit for bit in range(band, 64, count)) for band in range(count)]
    signed = [band - (1 << 64) if band >> 63 else band for band in bands]
    return [one | other for one, other in combinations(signed, 2)]


def _agreeing(a: Integers, b: Integers) -> Iterator[tuple[Integers, Integers]]:
    """(rows of a, rows of b) of all pairs of equal keys; CANDIDATES at a time, or those of one row where they are more."""
    order_a, order_b = np.argsort(a), np.argsort(b)
    a, b = a[order_a], b[order_b]
    start = np.searchsorted(b, a, "left")
    count = np.searchsorted(b, a, "right") - start
    reached = np.cumsum(count)
    low = 0
    while low < len(a):
        before = int(reached[low - 1]) if low else 0
        high = max(int(np.searchsorted(reached, before + CANDIDATES, "right")), low + 1)
        some = count[low:high]
        i = np.repeat(np.arange(low, high), some)
        offset = np.arange(len(i)) - np.repeat(np.cumsum(some) - some, some)  # of each pair among those of its row
        yield order_a[i], order_b[np.repeat(start[low:high], some) + offset]
        low = high
