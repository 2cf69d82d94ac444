"""Every objective through a step of the cascade, a whole network or the head alone, and back from its folder into use."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from agecascade import methods, metrics, model_folder, params
from agecascade.errors import LossError, ModelError, ParamsError, TrainingError
from agecascade.estimator import Estimator
from agecascade.evaluation.rows import evaluated_rows
from agecascade.evaluation.tables import mae_table, to_markdown
from agecascade.loading import Faces
from agecascade.methods import dldl
from agecascade.params import Params
from agecascade.training.initial_weights import initialise
from agecascade.training.jobs import jobs_of
from forms import some
from places import sample_params
from small_sets import random_faces, rolled_splits
from trained_step import trained

STEP = "target_from_scratch"
REGRESSIONS = ("mr_l1", "mr_l2", "smooth_l1")


def study(step: dict[str, Any] | None = None, **changes: Any) -> Params:
    content = sample_params()
    content |= {"image_size": 32, "compute": {"backend": "local", "workers": 1}, **changes}
    for entry in [*content["cascade"].values(), *content["pretrain"].values()]:
        entry |= {"epochs": 1, "batch_size": 8}
    content["cascade"][STEP] |= step or {}
    return params.check(content)


@pytest.fixture
def faces() -> Faces:
    return random_faces()


@pytest.fixture
def splits(faces: Faces) -> pd.DataFrame:
    return rolled_splits(faces)


@pytest.mark.parametrize("step", [{}, {"trainable": "head", "augment": "none", "class_weights": "inverse", "label_smoothing": 0.1}])
def test_every_method_is_trained_written_and_used(faces: Faces, splits: pd.DataFrame, tmp_path: Path, step: dict[str, Any]) -> None:
    folder = trained(study(step, compare={"methods": sorted(methods.METHODS)}), STEP, faces, splits, tmp_path)
    for name in methods.METHODS:
        row = f"{name}-tinyagenet-s0"
        network, method, card = model_folder.load(folder / row / "fold1")
        assert (card.method, len(card.grid), card.outputs) == (name, 70, method.outputs)
        assert network.head.bias.shape == (method.outputs,) if name != "daa" else len(network.head.ages) == method.outputs
        assert card.interval is not None
        assert card.interval.scaled == (name not in REGRESSIONS)
        tested = pq.read_table(tmp_path / "predictions" / STEP / f"{row}.parquet").to_pandas()
        assert tested["prediction"].between(0, 69).all()
        lengths = {0 if row is None else len(row) for row in tested["distribution"]}
        assert lengths == ({0} if name in REGRESSIONS else {70})
        first = tested[tested["fold"] == 1].iloc[0]
        image = np.asarray(faces.images[np.flatnonzero(faces.sample_id == first["sample_id"])[0]])
        used = Estimator.load(folder / row / "fold1").predict([image], aligned=True).iloc[0]
        assert used["value"] == pytest.approx(first["prediction"], abs=1e-3)
        assert used["low"] <= used["value"] <= used["high"]


def test_the_decoding_is_kept_with_the_model(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    folder = trained(study(method="ranking", decoding="count"), STEP, faces, splits, tmp_path)
    _, method, card = model_folder.load(folder / "ranking-tinyagenet-s0" / "fold0")
    assert (card.method_options["decoding"], method.options.decoding) == ("count", "count")


def test_a_method_without_the_decoding_is_told_before_the_first_epoch(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="method dldl_v2: unknown decoding 'count'"):
        trained(study(decoding="count", compare={"methods": ["ranking"]}), STEP, faces, splits, tmp_path)
    with pytest.raises(ModelError, match="unknown method 'rankin'; did you mean ranking"):
        trained(study(compare={"methods": ["rankin"]}), STEP, faces, splits, tmp_path)


def test_a_missing_sigma_is_told_where_one_is_needed(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    trained(study(method="ranking", sigma=None), STEP, faces, splits, tmp_path)
    with pytest.raises(TrainingError, match=r"target_from_scratch: dldl_v2 needs a sigma, and \d+ pictures have none, p\d\d among them"):
        trained(study(method="dldl_v2", sigma=None), STEP, faces, splits, tmp_path)


def test_a_loss_that_is_not_finite_is_told_with_step_row_and_fold(
    faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dldl, "expectation_loss", lambda outputs, *_: outputs.sum() * math.nan)
    message = r"^target_from_scratch/er-tinyagenet-s0/fold\d: the loss is nan in epoch 1, batch 1 of \d+, on p\d\d, .*; lower learning_rate"
    with pytest.raises(LossError, match=message):
        trained(study(method="er"), STEP, faces, splits, tmp_path)


GROUPS = [1.0, 5.0, 10.0, 17.5, 28.5, 40.5, 50.5, 69.0]


GRIDS: list[dict[str, Any]] = [{"groups": True}, {"present": True}, {"values": [0.0, 3.5, 20.0, 69.0]}, {"low": 0, "high": 72, "step": 4}]


@pytest.mark.parametrize("grid", some(GRIDS, 2))
def test_every_method_learns_over_any_grid(faces: Faces, splits: pd.DataFrame, tmp_path: Path, grid: dict[str, Any]) -> None:
    grouped = "groups" in grid
    if grouped:
        faces = replace(faces, label=np.resize(GROUPS, 24), grouped=True)
    settings = study({"class_weights": "inverse_sqrt"}, compare={"methods": sorted(methods.METHODS)})
    content = settings.model_dump(by_alias=True)
    content["datasets"]["sample_fgnet"]["grid"] = grid
    folder = trained(params.check(content), STEP, faces, splits, tmp_path)
    expected = (
        content["datasets"]["sample_fgnet"]["grid"].get("values")
        or {
            "groups": GROUPS,
            "present": sorted(set(faces.label)),
            "low": list(range(0, 73, 4)),
        }[next(iter(grid))]
    )
    for row in study(compare={"methods": sorted(methods.METHODS)}).rows:
        _, method, card = model_folder.load(folder / row.name / "fold0")
        assert card.grid == expected
        assert card.outputs == method.outputs
    metadata = pq.read_schema(tmp_path / "predictions" / STEP / "dldl_v2-tinyagenet-s0.parquet").metadata
    assert metadata.get(b"groups") == (json.dumps(GROUPS).encode() if grouped else None)


def test_groups_are_evaluated_as_groups(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    content = study(decoding="mode", regressors={}, features={}, explain={}, evaluate={"target": "sample_fgnet"}).model_dump(by_alias=True)
    content["datasets"]["sample_fgnet"]["grid"] = {"groups": True}
    content["cascade"] = {STEP: content["cascade"][STEP]}
    settings = params.check(content)
    trained(settings, STEP, replace(faces, label=np.resize(GROUPS, 24), grouped=True), splits, tmp_path)
    (result,) = evaluated_rows(settings, tmp_path / "predictions")
    frame = result.predictions
    assert set(frame["prediction"]) <= {(first + second) / 2 for first in GROUPS for second in GROUPS}  # of a picture and its mirror image
    assert result.row.summary["accuracy"] == metrics.accuracy(frame["prediction"], frame["label"], GROUPS)
    table = mae_table([result.row])
    assert table["1-off"].item() == metrics.one_off(frame["prediction"], frame["label"], GROUPS)
    assert "accuracy" in to_markdown(table)


def test_groups_with_a_range_are_told_before_the_first_epoch(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="sample_fgnet: its labels are groups"):
        trained(study(), STEP, replace(faces, grouped=True), splits, tmp_path)


def two_steps(first: dict[str, Any], second: dict[str, Any]) -> Params:
    content = study().model_dump(by_alias=True)
    step = content["cascade"][STEP]
    content["cascade"] = {"first": {**step, **first}, STEP: {**step, "init": "first", "epochs": 0, **second}}
    return params.check(content | {"regressors": {}, "features": {}, "explain": {}})


@pytest.mark.parametrize("first", [{"method": "dldl"}, {"lambda": 0.0}, {"by_backbone": {"tinyagenet": {"lambda": 0.0, "epochs": 1}}}])
def test_the_released_schedule_is_two_steps(faces: Faces, splits: pd.DataFrame, tmp_path: Path, first: dict[str, Any]) -> None:
    settings = two_steps(first, {})
    before, after = (trained(settings, step, faces, splits, tmp_path) / "dldl_v2-tinyagenet-s0" / "fold0" for step in ("first", STEP))
    card = model_folder.read_card(before)
    assert (card.method, card.method_options.get("lambda_er")) == (first.get("method", "dldl_v2"), None if "method" in first else 0.0)
    assert model_folder.read_card(after).method_options["lambda_er"] == 1.0
    assert list(pd.read_csv(before / "history.csv").columns)[3:4] == ["kl"]
    assert model_folder.model_digest(before) == model_folder.model_digest(after)  # no epoch in the second: backbone and head go on


@pytest.mark.parametrize("second", ["ranking", "smooth_l1", "corn", "coral"])
def test_a_head_that_is_read_otherwise_starts_anew(faces: Faces, splits: pd.DataFrame, tmp_path: Path, second: str) -> None:
    settings = two_steps({"epochs": 0}, {"method": second})
    before, after = (trained(settings, step, faces, splits, tmp_path) / "dldl_v2-tinyagenet-s0" / "fold0" for step in ("first", STEP))
    weights = [model_folder.read_weights(folder) for folder in (before, after)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0] if not name.startswith("head."))
    assert weights[1]["head.bias"].shape == (model_folder.read_card(after).outputs,)
    assert weights[1]["head.bias"].shape != weights[0]["head.bias"].shape
    assert [result.row.method for result in evaluated_rows(settings, tmp_path / "predictions")] == ["dldl_v2", second]


def test_a_tracker_is_told_the_method_and_lambda_of_the_step(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    settings = two_steps({"method": "er", "lambda": 0.5}, {})
    initialise(settings, tmp_path / "scratch")
    job = next(jobs_of(settings, "first", faces, splits, tmp_path))
    assert (job.logged["method"], job.logged["lambda_er"], job.logged["decoding"]) == ("er", 0.5, "expectation")
    with pytest.raises(ParamsError, match=r"cascade\.first\.lamda: unknown key 'lamda'; did you mean lambda"):
        two_steps({"lamda": 0.5}, {})
