"""agecascade.splits: what each protocol promises, on any small data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agecascade import params, schema, splits
from agecascade.errors import ParamsError
from places import sample_params

quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(counts: list[int], label: float | None = 30.0, official: list[str | None] | None = None) -> pd.DataFrame:
    """A data set whose subject number i has counts[i] pictures."""
    subjects = [f"s{i:02}" for i, count in enumerate(counts) for _ in range(count)]
    frame = pd.DataFrame({"sample_id": [f"{i:04}" for i in range(len(subjects))], "subject": subjects})
    return frame.assign(label=label, official=official if official is not None else None)


def roles(
    frame: pd.DataFrame,
    protocol: str,
    folds: int = 1,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
    test_subjects: Sequence[str] = (),
) -> pd.DataFrame:
    result = splits.split(frame, protocol, folds, test, validation, seed, test_subjects)
    assert result.schema.equals(schema.SPLITS)
    return result.to_pandas().merge(frame, on="sample_id", how="left")


def assert_each_row_once_per_fold(result: pd.DataFrame, rows: int) -> None:
    assert not result.duplicated(["sample_id", "fold"]).any()
    assert (result.groupby("fold").size() == rows).all()
    assert set(result["role"]) <= {"train", "validation", "test"}


def assert_test_folds_partition_the_rows(result: pd.DataFrame, frame: pd.DataFrame) -> None:
    assert sorted(result.loc[result["role"] == "test", "sample_id"]) == sorted(frame["sample_id"])


def assert_subjects_on_one_side(result: pd.DataFrame) -> None:
    assert (result.groupby(["fold", "subject"])["role"].nunique() == 1).all()


counts_of_subjects = st.lists(st.integers(1, 9), min_size=5, max_size=14)


@quick
@given(counts_of_subjects, st.integers(3, 5), st.floats(0.01, 0.4), st.integers(0, 99))
def test_subject_kfold(counts: list[int], folds: int, validation: float, seed: int):
    frame = table(counts)
    result = roles(frame, "subject_kfold", folds, validation=validation, seed=seed)
    assert result["fold"].nunique() == folds
    assert_each_row_once_per_fold(result, len(frame))
    assert_test_folds_partition_the_rows(result, frame)
    assert_subjects_on_one_side(result)
    sizes = result[result["role"] == "test"].groupby("fold").size()
    assert sizes.max() - sizes.min() <= max(counts)
    assert (result.groupby("fold")["role"].nunique() == 3).all()


@quick
@given(counts_of_subjects, st.floats(0.05, 0.5), st.floats(0.01, 0.4), st.integers(0, 99))
def test_subject_exclusive(counts: list[int], test: float, validation: float, seed: int):
    frame = table(counts)
    result = roles(frame, "subject_exclusive", test=test, validation=validation, seed=seed)
    assert_each_row_once_per_fold(result, len(frame))
    assert_subjects_on_one_side(result)
    sizes = result["role"].value_counts()
    assert abs(sizes["test"] - test * len(frame)) <= max(counts)
    assert abs(sizes["validation"] - validation * (len(frame) - sizes["test"])) <= max(counts)


def test_subject_exclusive_comes_near_to_its_shares_and_varies_with_the_seed():
    """The 80/20 SE protocol of MORPH II in small: many subjects of few pictures."""
    frame = table([int(n) for n in np.random.default_rng(0).integers(1, 8, 400)])
    result = roles(frame, "subject_exclusive", test=0.2, validation=0.1)
    share = result["role"].value_counts() / len(frame)
    assert share["test"] == pytest.approx(0.2, abs=0.005)
    assert share["validation"] == pytest.approx(0.08, abs=0.005)
    other = roles(frame, "subject_exclusive", test=0.2, validation=0.1, seed=1)
    assert set(result.loc[result["role"] == "test", "subject"]) != set(other.loc[other["role"] == "test", "subject"])


def test_subject_exclusive_without_a_test_share_is_one_fold():
    result = roles(table([3, 3, 3]), "subject_exclusive", test=0.0, validation=0.3)
    assert set(result["fold"]) == {0}
    assert result["role"].value_counts().to_dict() == {"train": 6, "validation": 3}


@quick
@given(counts_of_subjects, st.integers(0, 99))
def test_leave_one_subject_out(counts: list[int], seed: int):
    frame = table(counts)
    result = roles(frame, "leave_one_subject_out", seed=seed)
    assert_each_row_once_per_fold(result, len(frame))
    assert_test_folds_partition_the_rows(result, frame)
    assert_subjects_on_one_side(result)
    tested = result[result["role"] == "test"].groupby("fold")["subject"].unique()
    assert [names.tolist() for names in tested] == [[f"s{i:02}"] for i in range(len(counts))]


@quick
@given(counts_of_subjects, st.sets(st.integers(0, 3), min_size=1), st.integers(0, 99))
def test_subjects_that_are_named_are_held_out_together(counts: list[int], tested: set[int], seed: int):
    frame = table(counts)
    named = [f"s{i:02}" for i in sorted(tested)]
    result = roles(frame, "held_out_subjects", test=0.0, validation=0.0, seed=seed, test_subjects=named)
    assert result["fold"].unique().tolist() == [0]
    assert_each_row_once_per_fold(result, len(frame))
    assert_subjects_on_one_side(result)
    assert sorted(result.loc[result["role"] == "test", "subject"].unique()) == named


@quick
@given(st.integers(20, 60), st.floats(0.1, 0.5), st.floats(0.1, 0.5), st.integers(0, 99))
def test_random_has_the_shares_asked_for(rows: int, test: float, validation: float, seed: int):
    frame = table([rows])
    result = roles(frame, "random", test=test, validation=validation, seed=seed)
    assert_each_row_once_per_fold(result, rows)
    sizes = result["role"].value_counts()
    assert sizes["test"] == round(test * rows)
    assert sizes["validation"] == round(validation * (rows - sizes["test"]))


@quick
@given(st.integers(20, 60), st.integers(2, 5), st.integers(0, 99))
def test_random_in_folds(rows: int, folds: int, seed: int):
    frame = table([rows])
    result = roles(frame, "random", folds, seed=seed)
    assert result["fold"].nunique() == folds
    assert_each_row_once_per_fold(result, rows)
    assert_test_folds_partition_the_rows(result, frame)


@quick
@given(st.lists(st.integers(2, 9), min_size=5, max_size=14), st.integers(0, 99))
def test_every_identity_keeps_a_training_picture(counts: list[int], seed: int):
    frame = table(counts, label=None)
    result = roles(frame, "random", test=0.2, validation=0.2, seed=seed)
    assert_each_row_once_per_fold(result, len(frame))
    assert result.loc[result["role"] == "train", "subject"].nunique() == len(counts)
    assert (result["role"] == "test").sum() == round(0.2 * len(frame))


def test_random_knows_no_subjects_where_there_are_labels():
    result = roles(table([10] * 8), "random", test=0.3)
    assert (result.groupby("subject")["role"].nunique() > 1).any()


@pytest.mark.parametrize(
    ("protocol", "folds"), [("random", 1), ("random", 3), ("subject_exclusive", 1), ("subject_kfold", 3), ("leave_one_subject_out", 1)]
)
def test_same_seed_same_split_whatever_the_order_of_the_rows(protocol: str, folds: int):
    frame = table([5, 1, 7, 3, 4, 9])
    first = splits.split(frame, protocol, folds, 0.2, 0.2, 7)
    shuffled = frame.sample(frac=1, random_state=1)
    assert splits.split(shuffled, protocol, folds, 0.2, 0.2, 7).equals(first)
    assert not splits.split(frame, protocol, folds, 0.2, 0.2, 8).equals(first)


def test_official_roles_are_kept_and_validation_is_carved_from_training():
    official = ["train"] * 20 + ["test"] * 5 + [None] * 3
    result = roles(table([28], official=official), "official", validation=0.1)
    assert result["role"].value_counts().to_dict() == {"train": 18, "validation": 2, "test": 5}
    assert (result.loc[result["role"] == "test", "official"] == "test").all()
    assert (result.loc[result["role"] != "test", "official"] == "train").all()


def test_official_validation_is_kept():
    official = ["train"] * 6 + ["validation"] * 3 + ["test"] * 2
    result = roles(table([11], official=official), "official", validation=0.3)
    assert (result["role"] == result["official"]).all()


def test_official_folds_are_tested_in_turn():
    official = [f"fold{i}" for i in (0, 1, 2, 10) for _ in range(5)]
    frame = table([20], official=official)
    result = roles(frame, "official")
    assert_each_row_once_per_fold(result, 20)
    assert_test_folds_partition_the_rows(result, frame)
    tested = result[result["role"] == "test"].groupby("fold")["official"].unique()
    assert [names.tolist() for names in tested] == [["fold0"], ["fold1"], ["fold2"], ["fold10"]]


def test_shares_of_zero_leave_roles_out():
    assert set(roles(table([9]), "random", test=0.0, validation=0.0)["role"]) == {"train"}
    assert set(roles(table([3, 3, 3]), "subject_kfold", folds=3, validation=0.0)["role"]) == {"train", "test"}


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (table([3, 3]), {"protocol": "subject_kfold", "folds": 3}, "^folds: 3 asked for, but subject_kfold over 2 subjects needs 2 to 2"),
        (table([3, 3]), {"protocol": "subject_kfold", "folds": 1}, "^folds: 1 asked for"),
        (table([3, 3]), {"protocol": "subject_kfold", "folds": 2}, "^train: fold 0 of 6 pictures has none"),
        (
            table([3, 3]),
            {"protocol": "subject_exclusive", "folds": 5},
            "^folds: 5 .* subject_exclusive is one draw; take subject_kfold",
        ),
        (table([3, 3]), {"protocol": "subject_exclusive"}, "^train: fold 0 of 6 pictures has none"),
        (table([3, 3]).assign(subject=None), {"protocol": "subject_exclusive"}, "subjects, but those of 6 of 6 .* unknown"),
        (table([6]), {"protocol": "leave_one_subject_out"}, "needs two subjects, this data set has 1"),
        (table([3, 3]).assign(subject=None), {"protocol": "subject_kfold", "folds": 2}, "subjects, but those of 6 of 6 .* unknown"),
        (table([6]), {"protocol": "official"}, "gives no roles"),
        (table([2], official=["train", "tset"]), {"protocol": "official"}, r"roles are \['train', 'tset'\]"),
        (table([4], official=["train"] * 4), {"protocol": "official"}, "^test: fold 0"),
        (table([2]), {"protocol": "random", "test": 0.2}, "^test: fold 0 of 2 pictures has none in this role"),
        (table([6]), {"protocol": "random", "validation": 0.05}, "^validation: fold 0"),
        (table([1] * 9, label=None), {"protocol": "random"}, "^test: fold 0 of 9 pictures"),
        (table([9] * 9, label=None), {"protocol": "random", "folds": 2}, "^folds: 2 asked for, but identities"),
        (
            table([3, 3]),
            {"protocol": "held_out_subjects", "test_subjects": ["s1"]},
            "^test_subjects: unknown subject 's1'; did you mean s01",
        ),
        (table([3, 3]), {"protocol": "held_out_subjects", "test_subjects": ["s00", "s01"]}, "^train: fold 0 of 6 pictures has none"),
        (table([9]), {"protocol": "randon"}, "did you mean random"),
        (pd.concat([table([9])] * 2), {"protocol": "random"}, "'0000' stands twice"),
    ],
)
def test_what_cannot_be_split_is_named(frame: pd.DataFrame, arguments: dict, message: str):
    with pytest.raises(ParamsError, match=message):
        roles(frame, **arguments)


def test_validation_is_about_its_share_of_what_is_not_test():
    frame = table([int(n) for n in np.random.default_rng(0).integers(5, 16, 60)])
    result = roles(frame, "subject_kfold", folds=5, validation=0.2)
    sizes = result.groupby(["fold", "role"]).size().unstack()
    share = sizes["validation"] / (sizes["validation"] + sizes["train"])
    assert share.between(0.17, 0.23).all()


def test_the_target_of_a_study_needs_test_pictures_in_every_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its publisher gives none: that is said before anything trains."""
    content = sample_params()
    content["datasets"]["sample_fgnet"] |= {"protocol": "official", "folds": 1}
    study = params.check(content)
    frame = table([4, 4], official=["train"] * 7 + ["validation"]).assign(member="x")
    for name in ("sample_fgnet", "sample_agedb"):
        frame.to_parquet(tmp_path / f"{name}.parquet")
    hashes = frame[["sample_id"]].assign(digest=[f"{i:064}" for i in range(8)], hash=np.arange(8) << 40)
    monkeypatch.setattr(splits.duplicates, "read_fingerprints", lambda folder: hashes)
    with pytest.raises(ParamsError, match=r"datasets\.sample_fgnet\.test: fold 0 has no test picture, and this is evaluate\.target"):
        splits.split_dataset(study, "sample_fgnet", tmp_path, tmp_path)
    content["datasets"]["sample_agedb"] |= {"protocol": "official", "test": 0.0}
    assert splits.split_dataset(params.check(content), "sample_agedb", tmp_path, tmp_path).table.num_rows == 8


def test_copies_that_are_left_out_are_named_by_their_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = sample_params()
    content["datasets"]["sample_agedb"] |= {"duplicates": "exact", "test": 0.25, "validation": 0.25}
    frame = table([4, 4])
    frame.assign(member="AgeDB/" + frame["sample_id"] + ".jpg").to_parquet(tmp_path / "sample_agedb.parquet")
    digests = np.arange(len(frame))
    digests[5] = digests[2]
    hashes = frame[["sample_id"]].assign(digest=digests, hash=digests << 40)
    monkeypatch.setattr(splits.duplicates, "read_fingerprints", lambda folder: hashes)
    first, copy = frame["sample_id"][2], frame["sample_id"][5]
    result = splits.split_dataset(params.check(content), "sample_agedb", tmp_path, tmp_path)
    assert result.excluded.to_pylist() == [{"member": f"AgeDB/{copy}.jpg", "reason": "duplicate", "detail": f"the same file as {first}"}]
    assert result.table.num_rows == result.figures["pictures"] - 1 == 7


FGNET = params.check(sample_params()).datasets["sample_fgnet"]


def settings_of(**changes: object) -> params.Dataset:
    return FGNET.model_copy(update=changes)


@quick
@given(counts_of_subjects, st.integers(1, 20), st.integers(1, 20), st.integers(0, 9))
def test_fewer_training_pictures_are_among_the_more_and_nothing_else_changes(counts: list[int], fewer: int, more: int, seed: int) -> None:
    frame = table(counts)
    whole = splits.split(frame, "subject_kfold", 3, 0.2, 0.2, seed)
    small, large = (splits.learned_from(whole, settings_of(train_pictures=most), seed)[0].to_pandas() for most in sorted((fewer, more)))
    before = whole.to_pandas()
    for fold, part in before.groupby("fold"):
        ids = [set(kept.loc[(kept["fold"] == fold) & (kept["role"] == "train"), "sample_id"]) for kept in (small, large, before)]
        assert ids[0] <= ids[1] <= ids[2]
        assert [len(some) for some in ids] == [min(count, len(ids[2])) for count in (*sorted((fewer, more)), len(ids[2]))]
        assert len(part)
    for kept in (small, large):
        others = (frame[frame["role"] != "train"].reset_index(drop=True) for frame in (kept, before))
        pd.testing.assert_frame_equal(*others)


def test_pictures_that_are_not_learned_from_are_tested_as_before(tmp_path: Path) -> None:
    frame = table([5] * 6)
    whole = splits.split(frame, "random", 1, 0.3, 0.1, 0)
    before = whole.to_pandas()
    listed = [before.loc[before["role"] == role, "sample_id"].iloc[0] for role in ("train", "train", "test", "validation")]
    path = tmp_path / "list.csv"
    path.write_text("sample_id,reason\n" + "".join(f"{name},doubtful\n" for name in (*listed, "of another data set")))
    kept, counts = splits.learned_from(whole, settings_of(train_exclude=str(path), train_pictures=10), 0)
    left = before[~before["sample_id"].isin(kept.to_pandas()["sample_id"])]
    assert set(left["role"]) == {"train"}
    assert listed[0] in set(left["sample_id"])
    train = int((before["role"] == "train").sum())
    assert counts == {"train_excluded": 1, "train_left_out": train - 1 - 10}
    path.write_text("sample_id\n" + "".join(f"{name}\n" for name in before["sample_id"]))
    with pytest.raises(ParamsError, match=r"train_exclude: .* leaves fold 0 no picture to learn from"):
        splits.learned_from(whole, settings_of(train_exclude=str(path)), 0)
    path.write_text("name\n1\n")
    with pytest.raises(ParamsError, match=r"train_exclude: .*sample_id"):
        splits.learned_from(whole, settings_of(train_exclude=str(path)), 0)
    assert splits.learned_from(whole, settings_of(), 0) == (whole, {})
