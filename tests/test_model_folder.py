"""Model folders: a saved model is loaded alike, and damage is reported."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agecascade import model_folder
from agecascade.conformal import Interval
from agecascade.errors import ModelError
from agecascade.faces.crops import Frame
from agecascade.io.resume import fingerprint
from agecascade.model_folder import Crop, ModelCard


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        study="test", step="target", chain=["target"], backbone="tinyagenet", head="pooled", pooling="hybrid", outputs=3, method="dldl_v2",
        method_options={"lambda_er": 0.5, "kl_reduction": "batch"}, grid=[0.0, 1.0, 2.0], image_size=32,
        normalisation={"mean": [0.5] * 3, "std": [0.2] * 3}, crop=Crop("yunet", 32, 0.1, [[0.3, 0.3]] * 5), flip=True, seed=0, fold=1,
        interval=Interval(0.8, 1.5, True), validation={"validation_mae": 0.5},
    )  # fmt: skip


def first_format(folder: Path) -> dict[str, Any]:
    """The card of a folder as format 1 had it, without digests."""
    content = json.loads((folder / "model.json").read_text())
    del content["sha256"]
    return {**content, "format": 1}


def test_round_trip(card: ModelCard, tmp_path: Path) -> None:
    network = card.network().eval().to(memory_format=torch.channels_last)
    model_folder.save(tmp_path / "fold1", network, card, [{"epoch": 1, "loss": 2.0}])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "fold1").iterdir()}
    assert modes["model.safetensors"] == modes["model.json"]  # not for its owner alone
    loaded, method, loaded_card = model_folder.load(tmp_path / "fold1")
    assert loaded_card == card
    assert method.options.lambda_er == 0.5
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), network(images), rtol=1e-4, atol=1e-5)
    assert (tmp_path / "fold1" / "history.csv").read_text() == "epoch,loss\n1,2\n"


def test_an_older_card_with_fewer_keys_is_read(card: ModelCard, tmp_path: Path) -> None:
    model_folder.save(tmp_path, card.network(), card, [])
    content = first_format(tmp_path)
    assert set(content["crop"]) == {"detector", "size", "margin", "template", "crop", "detection", "trained_with"}
    for key in ("crop", "detection", "trained_with"):
        del content["crop"][key]
    del content["head_options"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    _, _, loaded_card = model_folder.load(tmp_path)
    assert loaded_card == replace(card, format=1)
    assert loaded_card.crop.frame == Frame(32, 0.1, "similarity", ((0.3, 0.3),) * 5)
    assert loaded_card.crop.detection == {
        "network": "resnet50",
        "min_score": 0.7,
        "max_side": 640,
        "pyramid": 0,
        "rotations": [],
        "scales": [],
    }


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
    content = first_format(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**content, "outputs": 5, "grid": [0, 1, 2, 3, 4]}))
    with pytest.raises(ModelError, match=r"weights do not fit model\.json.*head"):
        model_folder.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**content, "format": 9}))
    with pytest.raises(ModelError, match="has format 9, this version reads 1 to 4"):
        model_folder.load(tmp_path)
    for broken in ({"mean": [0.5], "std": [0.2] * 3}, {"mean": [0.5] * 3}, None):
        (tmp_path / "model.json").write_text(json.dumps({**content, "normalisation": broken}))
        with pytest.raises(ModelError, match="is no model description"):
            model_folder.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**content, "surprise": 1}))
    with pytest.raises(ModelError, match=r"is no model description: .*surprise"):
        model_folder.load(tmp_path)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all entries of JSON content."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield (*path, key)
            yield from places(value, (*path, key))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the content with another value at `path`, or without it where `value` is `places`."""
    copied = json.loads(json.dumps(content))
    block = copied
    for key in path[:-1]:
        block = block[key]
    if value is places:
        del block[path[-1]]
    else:
        block[path[-1]] = value
    return copied


REPLACEMENTS = [places, None, -1, 0, 10**30, float("nan"), float("inf"), "x", [], {}, [1.5], {"a": 1}, True, "dex"]


@pytest.fixture
def saved(card: ModelCard, tmp_path: Path) -> Path:
    model_folder.save(tmp_path / "model", card.network(), card, [])
    return tmp_path / "model"


def test_a_card_of_format_2_is_read_and_predicts_as_before(saved: Path, card: ModelCard) -> None:
    """Its interval has neither bands nor a count, and it is sealed over what it has."""
    content = json.loads((saved / "model.json").read_text())
    seals = content.pop("sha256")
    for key in ("interval_95", "temperature"):
        del content[key]
    content |= {"format": 2, "interval": {"coverage": 0.8, "quantile": 1.5, "scaled": False, "calibrated_on": "validation"}}
    (saved / "model.json").write_text(json.dumps({**content, "sha256": {**seals, "card": fingerprint(card=content)}}))
    _, _, loaded = model_folder.load(saved)
    assert loaded == replace(card, format=2, interval=Interval(0.8, 1.5, False))
    assert loaded.interval is not None
    low, high = loaded.interval.bounds(np.array([0.25, 1.0, 3.0]), None, np.array([0.0, 1.0, 2.0]))
    assert (low.tolist(), high.tolist()) == ([0, 0, 1.5], [1.75, 2, 2])


def test_a_card_with_bands_is_read_as_it_was_written(card: ModelCard, tmp_path: Path) -> None:
    bands = Interval(0.8, 1.5, True, "other_folds", 120, [0.5, 1.5], [0.5, 1.0, 2.0], on_grid=True)
    banded = replace(card, interval=bands, interval_95=Interval(0.95, 3.0, True, pictures=120, note="few"), temperature=0.9)
    model_folder.save(tmp_path / "model", banded.network(), banded, [])
    assert model_folder.read_card(tmp_path / "model") == banded


def test_every_change_of_a_sealed_card_is_refused(saved: Path) -> None:
    content = json.loads((saved / "model.json").read_text())
    assert set(content["sha256"]) == {"card", "weights"}
    for path in places(content):
        for value in REPLACEMENTS:
            damaged = changed(content, path, value)
            if damaged == content:
                continue
            (saved / "model.json").write_text(json.dumps(damaged))
            with pytest.raises(ModelError) as raised:
                model_folder.load(saved)
            assert len(str(raised.value).splitlines()) == 1, (path, value)
            assert "model.json" in str(raised.value) or "model.safetensors" in str(raised.value)


def test_a_damaged_card_of_format_1_is_refused_or_a_model(saved: Path) -> None:
    """It has no digests, so that a value that fits passes; none is another exception."""
    content = first_format(saved)
    lines: list[str] = []
    for path in places(content):
        for value in REPLACEMENTS:
            (saved / "model.json").write_text(json.dumps(changed(content, path, value)))
            try:
                model_folder.load(saved)
            except ModelError as error:
                lines.append(str(error))
    assert len(lines) > 300
    assert not [line for line in lines if "\n" in line]


@pytest.mark.parametrize("change", [{"quantile": -1.0}, {"coverage": 1.5}, {"quantile": float("nan")}, {"scaled": "yes"}])
def test_an_interval_that_is_none_is_refused(saved: Path, change: dict[str, Any]) -> None:
    """A quantile of -1 gave a low above the high."""
    content = first_format(saved)
    (saved / "model.json").write_text(json.dumps({**content, "interval": content["interval"] | change}))
    with pytest.raises(ModelError, match=r"is no model description: interval|a number between"):
        model_folder.read_card(saved)


def test_another_method_over_the_same_weights_is_refused(saved: Path) -> None:
    content = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**content, "method": "dex", "method_options": {"decoding": "expectation"}}))
    with pytest.raises(ModelError, match=r"model\.json was changed after it was written"):
        model_folder.load(saved)


def test_weights_of_another_training_are_refused(saved: Path, card: ModelCard, tmp_path: Path) -> None:
    model_folder.save(tmp_path / "other", card.network(), card, [])
    (saved / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    for read in (model_folder.load, model_folder.read_weights):
        with pytest.raises(ModelError, match=r"model\.safetensors holds other weights than model\.json was written for"):
            read(saved)


def test_weights_that_are_no_numbers_are_refused(card: ModelCard, tmp_path: Path) -> None:
    """They gave ages of NaN without an error."""
    network = card.network()
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = float("nan")
    model_folder.save(tmp_path, network, card, [])
    with pytest.raises(ModelError, match="holds numbers that are not finite"):
        model_folder.load(tmp_path)


def test_cut_weights_are_refused(saved: Path) -> None:
    weights = (saved / "model.safetensors").read_bytes()
    content = first_format(saved)
    for text in (json.dumps(content), (saved / "model.json").read_text()):
        (saved / "model.json").write_text(text)
        for length in [0, 1, 7, 8, 9, 100, len(weights) // 2, len(weights) - 1]:
            (saved / "model.safetensors").write_bytes(weights[:length])
            with pytest.raises(ModelError, match=r"model\.safetensors (is damaged|holds other weights)"):
                model_folder.load(saved)


@pytest.mark.parametrize("text", ["", "[]", "1", "null", '"x"', "{", "[" * 100_000, "\x00", '{"format": 1}', '{"format": [1]}'])
def test_a_text_that_is_no_card_is_refused(saved: Path, text: str) -> None:
    (saved / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json (is no model description|has format)"):
        model_folder.read_card(saved)


def test_an_unreadable_card_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.json").mkdir()
    with pytest.raises(ModelError, match=r"model\.json cannot be read: Is a directory"):
        model_folder.read_card(tmp_path)
