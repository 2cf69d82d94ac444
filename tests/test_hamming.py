"""agecascade.hamming: the search finds what comparing everything with everything finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade import hamming
from agecascade.duplicates import near_pairs, ordered

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
    found = []
    for i, one in enumerate(left.tolist()):
        for j, other in enumerate(right.tolist()):
            bits = bin((one ^ other) & (2**64 - 1)).count("1")
            if bits <= distance and one not in left[:i] and other not in right[:j]:
                found.append((i, j, bits))
    return found


def listed(pairs: hamming.Pairs) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in pairs), strict=True))


@settings(max_examples=60, deadline=None)
@given(centres, turned, turned, st.integers(0, 10))
def test_the_search_equals_brute_force(chosen: list[int], first: list, second: list, distance: int):
    left, right = around(chosen, first), around(chosen, second)
    assert listed(near_pairs(left, right, distance)) == brute_force(left, right, distance)


@pytest.mark.parametrize("candidates", [1, 7, 1 << 22])
def test_portions_change_nothing(candidates: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**12, 300)  # crowded: all agree in most bands
    expected = brute_force(values, values, 2)
    monkeypatch.setattr(hamming, "CANDIDATES", candidates)
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


def test_ordered_joins_by_left_right_distance():
    one = hamming.Pairs(np.array([2, 0]), np.array([1, 5]), np.array([3, 0]))
    other = hamming.Pairs(np.array([2]), np.array([1]), np.array([1]))
    assert listed(ordered(one, other)) == [(0, 5, 0), (2, 1, 1), (2, 1, 3)]
