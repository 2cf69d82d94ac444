"""Model cards: front matter that YAML reads, test figures, and what training knows alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
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


def test_a_card_has_its_data_errors_by_age_thresholds_and_failures(tmp_path: Path) -> None:
    finished = write_finished(tmp_path)
    slices = {"n": [40, 0, 60], "MAE": [9.0, None, 3.0], "95 % CI": ["8.00 to 9.90", None, "2.00 to 4.00"], "bias": [2.0, None, -1.0]}
    compared = {
        "difference": [4.5, None, -2.0],
        "difference 95 % CI": ["1.00 to 6.00", None, "-3.00 to -1.00"],
        "p (Holm)": [0.01, None, 0.2],
    }
    lines = {"attribute": ["age"] * 2 + ["gender"], "slice": ["0-2", "80+", "female"], **slices, **compared}
    pd.DataFrame(lines).to_csv(finished / "metrics/tables/slices.csv", index=False)
    chain = "faces > imdb > agedb > target"
    held = {
        "method": "dldl_v2",
        "backbone": "tinyagenet",
        "seed": [0, 1, 0],
        "cascade": [chain, chain, "target_from_scratch"],
        "band": "0-2",
    }
    held["conformal 0.8 held"] = [0.75, 0.2, 0.1]  # that of another seed is another model's
    pd.DataFrame(held).to_csv(finished / "metrics/tables/coverage.csv", index=False)
    asked = {"decides": ["estimate"] * 2, "T": [25, 30], "chosen on": ["given"] * 2, "slice": ["all", "gender female"]}
    shares = {
        "let through": [0.012, 0.5],
        "let through, 95 % CI": ["0.0050 to 0.0260"] * 2,
        "asked": [0.4, 0.5],
        "asked, 95 % CI": ["0.3000 to 0.5000"] * 2,
    }
    pd.DataFrame({"step": "target", "row": MAIN, **asked, **shares}).to_csv(finished / "metrics/tables/thresholds.csv", index=False)
    for step in ("target", "target_from_scratch"):
        write_model(finished / "models" / step / MAIN / "fold0", 3)
    main, other = write_cards(params.check(sample_params()), finished / "metrics", finished / "models", finished / "cards")
    text = main.read_text()
    assert "Data: drawn by a program, in the layout of FG-NET Aging Database." in text
    assert "Protocol: subject_kfold, folds: 5; pictures over all folds: 1100 to train, 160 to validate, 300 to test." in text
    assert "| 0-2 | 40 | 9.00 | 8.00 to 9.90 | 2.00 | 75.0 % |" in text
    assert "80+" not in text  # without a picture
    assert "| the estimate | 25 | given | 1.2 % | 0.5 to 2.6 | 40.0 % | 30.0 to 50.0 |" in text
    assert "gender female" not in text
    assert "- age 0-2: MAE 9.00 years over 40 pictures, 4.50 (1.00 to 6.00) more than the rest." in text
    assert "### By age" not in other.read_text()  # the slices are of the main row


def test_a_card_names_the_licence_of_real_data(tmp_path: Path) -> None:
    finished, content = write_finished(tmp_path), sample_params()
    content["datasets"]["sample_fgnet"] |= {"draw": None, "origin": "publisher"}
    write_model(finished / "models" / "target" / MAIN / "fold0", 3)
    write_model(finished / "models" / "target_from_scratch" / MAIN / "fold0", 3)
    written = write_cards(params.check(content), finished / "metrics", finished / "models", finished / "cards")
    assert (
        "FG-NET Aging Database (Lanitis et al., 2002). Licence of the data, and so of what is trained on them: research only."
        in written[0].read_text()
    )


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
