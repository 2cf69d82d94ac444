"""Search for integers that differ in few bits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
