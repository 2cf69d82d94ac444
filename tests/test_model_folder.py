"""Model folders: a saved model is loaded alike, and damage is reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agecascade import model_folder
from agecascade.conformal import Interval
from agecascade.errors import ModelError
from agecascade.faces.crops import Frame
from agecascade.model_folder import Crop, ModelCard


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        study="test", step="target", chain=["target"], backbone="tinyagenet", head="pooled", pooling="hybrid", outputs=3, method="dldl_v2",
        method_options={"lambda_er": 0.5, "kl_reduction": "batch"}, grid=[0.0, 1.0, 2.0], image_size=32,
        normalisation={"mean": [0.5] * 3, "std": [0.2] * 3}, crop=Crop("yunet", 32, 0.1, [[0.3, 0.3]] * 5), flip=True, seed=0, fold=1,
        interval=Interval(0.8, 1.5, True), validation={"validation_mae": 0.5},
    )  # fmt: skip


def test_round_trip(card: ModelCard, tmp_path: Path) -> None:
    network = card.network().eval().to(memory_format=torch.channels_last)
    model_folder.save(tmp_path / "fold1", network, card, [{"epoch": 1, "loss": 2.0}])
    loaded, method, loaded_card = model_folder.load(tmp_path / "fold1")
    assert loaded_card == card
    assert method.options.lambda_er == 0.5
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), network(images), rtol=1e-4, atol=1e-5)
    assert (tmp_path / "fold1" / "history.csv").read_text() == "epoch,loss\n1,2\n"


def test_an_older_card_with_fewer_keys_is_read(card: ModelCard, tmp_path: Path) -> None:
    model_folder.save(tmp_path, card.network(), card, [])
    content = json.loads((tmp_path / "model.json").read_text())
    assert set(content["crop"]) == {"detector", "size", "margin", "template", "crop", "detection", "trained_with"}
    for key in ("crop", "detection", "trained_with"):
        del content["crop"][key]
    del content["head_options"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    _, _, loaded_card = model_folder.load(tmp_path)
    assert loaded_card == card
    assert loaded_card.crop.frame == Frame(32, 0.1, "similarity", ((0.3, 0.3),) * 5)
    assert loaded_card.crop.detection == {"min_score": 0.7, "max_side": 640, "pyramid": 0, "rotations": [], "scales": []}


@pytest.mark.parametrize(
    ("crop", "trained_with", "repeatable"),
    [
        ("similarity", "annotation", True),
        ("box", "annotation", True),
        ("hull", "annotation", False),
        ("hull", None, False),
        ("hull", "yunet", True),
    ],
)
def test_a_hull_of_published_landmarks_cannot_be_repeated(card: ModelCard, crop: str, trained_with: str | None, repeatable: bool) -> None:
    assert replace(card.crop, crop=crop, trained_with=trained_with).repeatable == repeatable


def test_damage_is_reported(card: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.json is missing"):
        model_folder.load(tmp_path)
    model_folder.save(tmp_path, card.network(), card, [])
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        model_folder.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**content, "outputs": 5, "grid": [0, 1, 2, 3, 4]}))
    with pytest.raises(ModelError, match=r"weights do not fit model\.json.*head"):
        model_folder.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**content, "format": 9}))
    with pytest.raises(ModelError, match="has format 9, this version reads 1"):
        model_folder.load(tmp_path)
    for broken in ({"mean": [0.5], "std": [0.2] * 3}, {"mean": [0.5] * 3}, None):
        (tmp_path / "model.json").write_text(json.dumps({**content, "normalisation": broken}))
        with pytest.raises(ModelError, match="is no model description"):
            model_folder.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**content, "surprise": 1}))
    with pytest.raises(ModelError, match=r"is no model description: .*surprise"):
        model_folder.load(tmp_path)
