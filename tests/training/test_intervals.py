"""Intervals of a step's networks: of validation pictures, of the other folds, or none; another coverage trains nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agecascade import conformal, model_folder, params
from agecascade.conformal import interval_of, scores
from agecascade.loading import Faces
from agecascade.model_folder import ModelCard
from agecascade.params import Params
from agecascade.scoring import fitted_temperature
from agecascade.training import cascade, frozen
from places import sample_params
from small_sets import random_faces, rolled_splits
from trained_step import trained

STEP, ROW = "target_from_scratch", "dldl_v2-tinyagenet-s0"
HEADS = {"trainable": "head", "augment": "none"}


def study_of(*, coverage: float = 0.8, recipe: dict[str, Any] | None = None, **changes: Any) -> Params:
    content = sample_params() | {"image_size": 32, "compute": {"workers": 1}} | changes
    content["cascade"][STEP] |= {"epochs": 1, "batch_size": 8, **(recipe or {})}
    content["evaluate"]["coverage"] = coverage
    return params.check(content)


@pytest.fixture
def faces() -> Faces:
    return random_faces(sigma="mixed")


@pytest.fixture
def splits(faces: Faces) -> pd.DataFrame:
    return rolled_splits(faces, folds=3)


def read_predictions(root: Path, name: str = "first") -> pa.Table:
    return pq.read_table(root / name / "predictions" / f"{ROW}.parquet")


def without(splits: pd.DataFrame, role: str) -> pd.DataFrame:
    """The splits with this role's pictures to train on instead."""
    return splits.assign(role=splits["role"].where(splits["role"] != role, "train"))


def cards(models: Path, row: str = ROW) -> list[ModelCard]:
    return [model_folder.read_card(folder) for folder in sorted((models / row).glob("fold*"))]


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "train_fold", lambda *_, **__: pytest.fail("a training has begun"))
    monkeypatch.setattr(frozen, "train_heads", lambda *_, **__: pytest.fail("a training has begun"))


@pytest.mark.parametrize("recipe", [{}, HEADS], ids=["networks", "heads"])
def test_without_validation_pictures_the_interval_is_of_the_other_folds(
    recipe: dict[str, Any], faces: Faces, splits: pd.DataFrame, tmp_path: Path
) -> None:
    models = trained(study_of(recipe=recipe), STEP, faces, without(splits, "validation"), tmp_path, "first")
    frame = pq.read_table(tmp_path / "first" / "predictions" / f"{ROW}.parquet").to_pandas()
    grid = np.arange(70.0)
    for fold, card in enumerate(cards(models)):
        others = frame[frame["fold"] != fold]
        distribution = np.stack(others["distribution"]).astype(float)
        of_others = scores(others["prediction"].to_numpy(), others["label"].to_numpy(), distribution, grid)
        label = others["label"].to_numpy()
        assert card.interval == interval_of(of_others, 0.8, True, "other_folds", label, grid)
        assert card.interval_95 == interval_of(of_others, 0.95, True, "other_folds", label, grid)
        assert card.validation is None
        network, _, loaded = model_folder.load(models / ROW / f"fold{fold}")
        assert loaded == card
        assert not network.training


@pytest.mark.parametrize("recipe", [{}, HEADS], ids=["networks", "heads"])
def test_too_few_validation_pictures_for_bands_give_way_to_the_other_folds(
    recipe: dict[str, Any], faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four validation pictures make no two bands of three, sixteen test pictures of the other folds do."""
    monkeypatch.setattr(conformal, "LEAST_IN_BAND", 3)
    models = trained(study_of(recipe=recipe, coverage=0.6), STEP, faces, splits, tmp_path, "first")
    frame, grid = read_predictions(tmp_path).to_pandas(), np.arange(70.0)
    for fold, card in enumerate(cards(models)):
        others = frame[frame["fold"] != fold]
        value, label = (others[name].to_numpy() for name in ("prediction", "label"))
        distribution = np.stack(others["distribution"]).astype(float)
        expected = interval_of(scores(value, label, distribution, grid), 0.6, True, "other_folds", label, grid)
        note = "of the other folds' test pictures: the 4 validation pictures of this one make no two bands"
        assert card.interval == replace(expected, note=note)
        assert len(expected.quantiles) >= 2
        assert card.interval_95 is not None
        assert card.interval_95.calibrated_on == "other_folds"
        assert card.temperature == fitted_temperature(distribution, label, grid)
        assert card.validation is not None
        assert card.validation["validation_pictures"] == 4


def test_the_own_pictures_stay_where_no_others_make_bands(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    for run, some in (("first", splits), ("second", splits[splits["fold"] == 0])):
        for card in cards(trained(study_of(), STEP, faces, some, tmp_path / run, run)):
            assert card.interval is not None
            assert (card.interval.calibrated_on, card.interval.pictures) == ("validation", 4)
            assert card.interval.note == "one quantile for all labels: 4 pictures make no two bands of 50"


def test_one_fold_without_validation_pictures_has_no_interval(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    models = trained(study_of(), STEP, faces, without(splits[splits["fold"] == 0], "validation"), tmp_path, "first")
    (card,) = cards(models)
    assert (card.interval, card.validation) == (None, None)


@pytest.mark.parametrize("recipe", [{}, HEADS], ids=["networks", "heads"])
def test_a_step_on_the_way_needs_no_test_pictures(recipe: dict[str, Any], faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    plain = without(without(splits[splits["fold"] == 0], "validation"), "test")
    models = trained(study_of(recipe=recipe), STEP, faces, plain, tmp_path, "first")
    (card,) = cards(models)
    assert card.interval is None
    table = pq.read_table(tmp_path / "first" / "predictions" / f"{ROW}.parquet")
    assert (len(table), json.loads(table.schema.metadata[b"models"])) == (0, {})


@pytest.mark.parametrize("recipe", [{}, HEADS], ids=["networks", "heads"])
@pytest.mark.parametrize("role", ["validation", "none"])
def test_another_coverage_trains_nothing_and_moves_the_interval(
    recipe: dict[str, Any], role: str, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(study_of(recipe=recipe), STEP, faces, without(splits, role), tmp_path, "first")
    no_training(monkeypatch)
    second = trained(study_of(recipe=recipe, coverage=0.4), STEP, faces, without(splits, role), tmp_path, "second")
    for before, after in zip(cards(first), cards(second), strict=True):
        assert before.interval is not None
        assert after.interval is not None
        assert (before.interval.coverage, after.interval.coverage) == (0.8, 0.4)
        assert after.interval.quantile < before.interval.quantile
    for path in first.rglob("*.*"):
        same = path.read_bytes() == (second / path.relative_to(first)).read_bytes()
        assert same == (path.name not in ("model.json", "README.md")), path
    fresh = trained(study_of(recipe=recipe, coverage=0.8), STEP, faces, without(splits, role), tmp_path, "third")
    assert cards(fresh) == cards(first)


@pytest.mark.parametrize("recipe", [{}, HEADS], ids=["networks", "heads"])
def test_a_further_row_trains_the_others_no_second_time(
    recipe: dict[str, Any], faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(study_of(recipe=recipe), STEP, faces, splits, tmp_path, "first")
    begun: list[str] = []
    real_fold, real_learn = cascade.train_fold, frozen.HeadTrainings._learn

    def counted(job: Any, *arguments: Any, **options: Any) -> None:
        begun.append(job.row.method)
        real_fold(job, *arguments, **options)

    def counted_heads(self: Any, group: Any, *arguments: Any) -> None:
        begun.extend(job.row.method for job in group)
        real_learn(self, group, *arguments)

    monkeypatch.setattr(cascade, "train_fold", counted)
    monkeypatch.setattr(frozen.HeadTrainings, "_learn", counted_heads)
    more = study_of(recipe=recipe, compare={"methods": ["dex"], "backbones": [], "seeds": []})
    second = trained(more, STEP, faces, splits, tmp_path, "second")
    assert begun == ["dex"] * 3
    for path in (first / ROW).rglob("*.*"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_settings_of_daa_are_nothing_to_other_heads(
    faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(study_of(), STEP, faces, splits, tmp_path, "first")
    no_training(monkeypatch)
    trained(study_of(daa={"width": 8, "draw": 3, "sampling": 2}), STEP, faces, splits, tmp_path, "second")


@pytest.mark.parametrize("role", ["validation", "none"])
def test_predictions_have_the_intervals_of_the_delivered_models(role: str, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    models = trained(study_of(coverage=0.6), STEP, faces, without(splits, role), tmp_path, "first")
    table = read_predictions(tmp_path)
    known = {name: json.loads(table.schema.metadata[name.encode()]) for name in ("grid", "coverage", "temperatures")}
    assert known["coverage"] == 0.6
    assert known["grid"] == [float(age) for age in range(70)]
    frame, grid = table.to_pandas(), np.array(known["grid"])
    assert ((frame["low"] <= frame["prediction"]) & (frame["prediction"] <= frame["high"])).all()
    assert ((frame["low_95"] <= frame["low"]) & (frame["high"] <= frame["high_95"])).all()
    for card in cards(models):
        part = frame[frame["fold"] == card.fold]
        assert known["temperatures"][str(card.fold)] == card.temperature
        assert card.interval is not None
        expected = card.interval.bounds(part["prediction"].to_numpy(), np.stack(part["distribution"]).astype(float), grid)
        np.testing.assert_array_equal(part[["low", "high"]].to_numpy().T, expected)


def test_methods_without_distributions_have_intervals_and_no_temperature(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    trained(study_of(method="mr_l1"), STEP, faces, splits, tmp_path, "first")
    table = pq.read_table(tmp_path / "first" / "predictions" / "mr_l1-tinyagenet-s0.parquet")
    assert b"temperatures" not in table.schema.metadata
    frame = table.to_pandas()
    assert frame["distribution"].isna().all()
    assert frame[["low", "high", "low_95", "high_95"]].notna().all().all()


@pytest.mark.parametrize("role", ["validation", "none"])
def test_bands_where_there_are_pictures_enough_and_split_trains_nothing(
    role: str, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = cards(trained(study_of(), STEP, faces, without(splits, role), tmp_path, "first"))
    monkeypatch.setattr(conformal, "LEAST_IN_BAND", 2)
    no_training(monkeypatch)
    study = study_of(coverage=0.6)  # two bands of two hold it
    banded = cards(trained(study, STEP, faces, without(splits, role), tmp_path, "second"))
    content = study.model_dump(by_alias=True)
    content["evaluate"]["interval"] = "split"
    plain = cards(trained(params.check(content), STEP, faces, without(splits, role), tmp_path, "third"))
    for card, with_bands, without_bands in zip(few, banded, plain, strict=True):
        assert card.interval is not None
        assert with_bands.interval is not None
        assert without_bands.interval is not None
        assert "make no two bands" in card.interval.note
        assert len(with_bands.interval.quantiles) >= 2
        assert with_bands.interval.on_grid
        assert with_bands.interval.calibrated_on == ("other_folds" if role == "validation" else "validation")
        assert (without_bands.interval.edges, without_bands.interval.note) == ([], "")
        assert without_bands.interval.quantile == with_bands.interval.quantile
