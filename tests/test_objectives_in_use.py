"""Every objective through a step of the cascade, a whole network or the head alone, and back from its folder into use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from agecascade import methods, model_folder, params
from agecascade.errors import ModelError, TrainingError
from agecascade.estimator import Estimator
from agecascade.loading import Faces
from agecascade.params import Params
from agecascade.tracking import Tracker
from agecascade.training.cascade import initialise, train_step

ROOT = Path(__file__).resolve().parent.parent
STEP = "target_from_scratch"
REGRESSIONS = ("mr_l1", "mr_l2", "smooth_l1")


def study(step: dict[str, Any] | None = None, **changes: Any) -> Params:
    content = params.read_yaml(ROOT / "studies" / "sample.yaml")
    content |= {"image_size": 32, "compute": {"backend": "local", "workers": 1}, **changes}
    for entry in [*content["cascade"].values(), *content["pretrain"].values()]:
        entry |= {"epochs": 1, "batch_size": 8}
    content["cascade"][STEP] |= step or {}
    return params.check(content)


@pytest.fixture
def faces() -> Faces:
    random = np.random.default_rng(0)
    label = random.integers(0, 70, 24).astype(float)
    images = random.integers(0, 255, (24, 32, 32, 3), np.uint8)
    return Faces(np.array([f"p{i:02d}" for i in range(24)]), images, label, np.full(24, np.nan), np.array([f"s{i % 4}" for i in range(24)]))


@pytest.fixture
def splits(faces: Faces) -> pd.DataFrame:
    roles = np.array(["train"] * 12 + ["validation"] * 4 + ["test"] * 8)
    parts = [pd.DataFrame({"sample_id": faces.sample_id, "fold": fold, "role": np.roll(roles, 8 * fold)}) for fold in range(2)]
    return pd.concat(parts, ignore_index=True)


def train(settings: Params, faces: Faces, splits: pd.DataFrame, root: Path, step: str = STEP) -> Path:
    models, silent = root / "models", Tracker("test", "finetune")
    silent.lost = True
    if not models.exists():
        initialise(settings, models / "scratch")
    train_step(settings, step, faces, splits, models, models / step, root / "predictions" / step, silent, root / "work")
    return models / step


@pytest.mark.parametrize("step", [{}, {"trainable": "head", "augment": "none", "class_weights": "inverse", "label_smoothing": 0.1}])
def test_every_method_is_trained_written_and_used(faces: Faces, splits: pd.DataFrame, tmp_path: Path, step: dict[str, Any]) -> None:
    folder = train(study(step, compare={"methods": sorted(methods.METHODS)}), faces, splits, tmp_path)
    for name in methods.METHODS:
        row = f"{name}-tinyagenet-s0"
        network, method, card = model_folder.load(folder / row / "fold1")
        assert (card.method, len(card.grid), card.outputs) == (name, 70, method.outputs)
        assert next(reversed(network.state_dict().values())).shape == (method.outputs,)
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
    folder = train(study(method="ranking", decoding="count"), faces, splits, tmp_path)
    _, method, card = model_folder.load(folder / "ranking-tinyagenet-s0" / "fold0")
    assert (card.method_options["decoding"], method.decoding) == ("count", "count")


def test_a_method_without_the_decoding_is_told_before_the_first_epoch(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="method dldl_v2: unknown decoding 'count'"):
        train(study(decoding="count", compare={"methods": ["ranking"]}), faces, splits, tmp_path)
    with pytest.raises(ModelError, match="unknown method 'rankin'; did you mean ranking"):
        train(study(compare={"methods": ["rankin"]}), faces, splits, tmp_path)


def test_a_missing_sigma_is_told_where_one_is_needed(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    train(study(method="ranking", sigma=None), faces, splits, tmp_path)
    with pytest.raises(TrainingError, match=r"target_from_scratch: dldl_v2 needs a sigma, and \d+ pictures have none, p\d\d among them"):
        train(study(method="dldl_v2", sigma=None), faces, splits, tmp_path)
