"""agecascade.leakage: counts by hand, against naive counting, and what raises."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agecascade.errors import SplitError
from agecascade.faces.fingerprints import MIRRORED
from agecascade.leakage import report

FAR = [0, 0x0F0F_F0F0_3333, 0x7000_FFFF_0000_1111, 0x00FF_00FF_00FF_00FF]  # many bits apart, mirrored or not


def rows_of(subjects: list[str | None], digests: list[int], hashes: list[int]) -> pd.DataFrame:
    names = [f"{i:03}" for i in range(len(subjects))]
    return pd.DataFrame({"sample_id": names, "subject": subjects, "digest": digests, "hash": np.array(hashes, dtype=np.int64)})


def split_of(*folds: str, protocol: str = "random") -> pd.DataFrame:
    """A letter for each row and fold: t(rain), v(alidation), e (test), - (none)."""
    roles = {"t": "train", "v": "validation", "e": "test"}
    rows = [(f"{i:03}", protocol, fold, roles[role]) for fold, letters in enumerate(folds) for i, role in enumerate(letters) if role != "-"]
    return pd.DataFrame(rows, columns=["sample_id", "protocol", "fold", "role"])


def test_counts_by_hand():
    """Picture 3 (test) is the file of 0 (train), 4 (test) near to 2 (validation), 2 a mirrored 1 (train); subject b is on all sides."""
    rows = rows_of(
        ["a", "b", "b", "c", "b", None], [1, 2, 3, 1, 4, 5], [FAR[0], FAR[1], FAR[1] ^ MIRRORED, FAR[0], FAR[1] ^ MIRRORED ^ 3, FAR[2]]
    )
    counts = report(split_of("ttveet", "tttev-"), rows)
    first = {"test": {"subjects": 1, "exact": 1, "near": 1}, "validation": {"subjects": 1, "exact": 0, "near": 1}}
    second = {"test": {"subjects": 0, "exact": 1, "near": 0}, "validation": {"subjects": 1, "exact": 0, "near": 1}}
    assert counts == {
        "protocol": "random",
        "folds": 2,
        "left_out": 0,
        "train": 6,
        "validation": 2,
        "test": 3,
        "leaks": {"test": {"subjects": 1, "exact": 2, "near": 1}, "validation": {"subjects": 2, "exact": 0, "near": 2}},
        "by_fold": [
            {"fold": 0, "train": 3, "validation": 1, "test": 2, "leaks": first},
            {"fold": 1, "train": 3, "validation": 1, "test": 1, "leaks": second},
        ],
    }


def test_a_split_without_leaks_has_none():
    rows = rows_of(["a", "b", "c"], [1, 2, 3], FAR[:3])
    leaks = report(split_of("tve", protocol="subject_exclusive"), rows)["leaks"]
    assert leaks == {side: {"subjects": 0, "exact": 0, "near": 0} for side in ("test", "validation")}


def test_rows_without_a_role_are_counted():
    rows = rows_of(["a", "b", "c", "d"], [1, 2, 3, 4], FAR)
    assert report(split_of("te--", protocol="official"), rows)["left_out"] == 2


def test_unknown_subjects_are_no_subject():
    rows = rows_of([None, None, "a"], [1, 2, 3], FAR[:3])
    assert report(split_of("tee"), rows)["leaks"]["test"]["subjects"] == 0
    unknown = report(split_of("tee"), rows.assign(subject=None))
    assert unknown["leaks"]["test"]["subjects"] is None
    assert unknown["by_fold"][0]["leaks"]["validation"]["subjects"] is None


@pytest.mark.parametrize("protocol", ["subject_exclusive", "subject_kfold", "leave_one_subject_out"])
@pytest.mark.parametrize(("fold", "side"), [("tte", "test"), ("vte", "test"), ("tve", "validation")])
def test_a_subject_on_two_sides_ends_a_protocol_that_separates_them(protocol: str, fold: str, side: str):
    subjects = {"tte": ["a", "b", "b"], "vte": ["b", "a", "b"], "tve": ["b", "b", "a"]}[fold]
    rows = rows_of(subjects, [1, 2, 3], FAR[:3])
    with pytest.raises(SplitError, match=rf"^protocol: {protocol} separates subjects, but 1 subjects of the {side} set of fold 1"):
        report(split_of("ttt", fold, protocol=protocol), rows)
    for reports in ("random", "official"):
        assert report(split_of("ttt", fold, protocol=reports), rows)["leaks"][side]["subjects"] == 1


def test_a_protocol_that_separates_subjects_needs_them():
    rows = rows_of(["a", None, "c"], [1, 2, 3], FAR[:3])
    with pytest.raises(SplitError, match="those of 1 of 3 pictures are unknown"):
        report(split_of("tve", protocol="subject_exclusive"), rows)


def test_a_picture_that_is_no_row_is_named():
    rows = rows_of(["a", "b", "c"], [1, 2, 3], FAR[:3])
    with pytest.raises(SplitError, match=r"holds '001', which is no aligned picture"):
        report(split_of("tve"), rows[rows["sample_id"] != "001"])


hashes = st.sampled_from([far ^ turned for far in FAR for turned in (0, 1, 0b111, 0b11111, MIRRORED)])
picture = st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 3), hashes, st.sampled_from("tve-"))


@settings(max_examples=30, deadline=None)
@given(st.lists(picture, min_size=1, max_size=15))
def test_counts_equal_naive_counting(chosen: list[tuple[str | None, int, int, str]]):
    subjects, digests, values, letters = map(list, zip(*chosen, strict=True))
    assume(set(letters) != {"-"})
    counts = report(split_of("".join(letters)), rows_of(subjects, digests, values))["by_fold"][0]["leaks"]
    for side, judged, learnt in (("test", "e", "tv"), ("validation", "v", "t")):
        before = [row for row in chosen if row[3] in learnt]
        exact = near = 0
        for _, digest, value, letter in chosen:
            if letter != judged:
                continue
            bits = [min((value ^ other[2]).bit_count(), (value ^ other[2] ^ MIRRORED).bit_count()) for other in before]
            same = any(other[1:3] == (digest, value) for other in before)
            exact += same
            near += not same and min(bits, default=64) <= 4
        both = {row[0] for row in chosen if row[3] == judged} & {row[0] for row in before} - {None}
        known = None if all(subject is None for subject in subjects) else len(both)
        assert counts[side] == {"subjects": known, "exact": exact, "near": near}
