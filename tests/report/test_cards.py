"""Model cards: front matter that YAML reads, test figures, and what training knows alone."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from agecascade import params
from agecascade.model_folder import read_card
from agecascade.report.cards import write_cards
from agecascade.training.model_cards import model_card
from finished import MAIN, write_finished
from model_folders import write_model
from places import sample_params


def test_every_tested_row_has_a_card_with_its_figures(tmp_path: Path) -> None:
    finished = write_finished(tmp_path)
    for step in ("target", "target_from_scratch"):
        for fold in (0, 1):
            write_model(finished / "models" / step / MAIN / f"fold{fold}", 3, fold=fold)
    written = write_cards(params.check(sample_params()), finished / "metrics", finished / "models", finished / "cards")
    assert written == [finished / "cards" / step / f"{MAIN}.md" for step in ("target", "target_from_scratch")]
    _, head, text = written[0].read_text().split("---\n", 2)
    content = YAML(typ="safe").load(head)
    assert content["library_name"] == "agecascade"
    (result,) = content["model-index"][0]["results"]
    assert result["dataset"]["name"] == "sample_fgnet"
    assert {"type": "mae", "value": 5} in result["metrics"]
    assert "MAE 5.00 years (95 % interval 4.00 to 6.00, t over folds), on 300 pictures of sample_fgnet in 5 folds." in text
    assert "The median of the training labels has 9.00." in text
    assert "2 networks, one for each fold" in text
    assert "say nothing about real faces" in text


def test_a_card_without_test_figures_names_none(tmp_path: Path) -> None:
    card = read_card(write_model(tmp_path / "fold0", 3, validation={"validation_mae": 4.25, "validation_pictures": 30}))
    text = model_card(MAIN, [card, card], "utkface", {"epochs": 6, "method": None, "schedule": {"name": "cosine"}})
    assert YAML(typ="safe").load(text.split("---\n")[1]).keys() == {"library_name", "pipeline_tag", "tags", "datasets"}
    assert "MAE 4.25 over 60 validation pictures, the mean of 2 folds." in text
    one_quantile = "Intervals are conformal, with one quantile for all labels, and are to hold 80% of the labels."
    assert f"{one_quantile} They are calibrated on validation pictures." in text
    assert "- epochs: 6" in text
    assert "- method:" not in text


def test_a_card_says_what_its_intervals_were_calibrated_on(tmp_path: Path) -> None:
    interval = {"coverage": 0.8, "quantile": 2.0, "scaled": False, "calibrated_on": "other_folds", "edges": [1.5], "quantiles": [1.0, 2.0]}
    card = read_card(write_model(tmp_path / "fold0", 3, interval=interval))
    text = model_card(MAIN, [card], "utkface", {})
    assert "with a quantile for each band of labels, and are to hold 80% of the labels." in text
    assert "They are calibrated on the test pictures of the other folds." in text
