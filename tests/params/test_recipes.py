"""Shares of 0: refused only where something tests on these pictures, or decides by them."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from agecascade import params, study
from places import ROOT, faults_of, sample_params


def without(data_set: str, **shares: float) -> dict[str, Any]:
    """The sample with other shares of one data set."""
    content = sample_params()
    content["datasets"][data_set] |= shares
    return content


def test_steps_on_the_way_and_recipes_that_decide_nothing_need_no_pictures() -> None:
    assert faults_of(without("sample_imdb", test=0.0, validation=0.0)) == []
    assert faults_of(without("sample_fgnet", validation=0.0)) == []  # five folds, each with its test pictures


def test_the_target_needs_test_pictures() -> None:
    content = without("sample_agedb", test=0.0)
    content["evaluate"]["target"] = "sample_agedb"
    assert faults_of(content) == [
        "params.yaml: datasets.sample_agedb.test: 0 leaves nothing to evaluate on evaluate.target; give it a share, or folds"
    ]
    content["datasets"]["sample_agedb"]["folds"] = 5
    assert faults_of(content) == []


def test_the_target_needs_a_row() -> None:
    content = sample_params()
    content["datasets"]["other"] = content["datasets"]["sample_agedb"]
    content["evaluate"]["target"] = "other"
    (line,) = faults_of(content)
    assert line == (
        "params.yaml: evaluate.target: no step of cascade and no regressor is on other; take sample_agedb or sample_fgnet or sample_imdb, "
        "or add a step"
    )


def test_a_regressor_needs_test_pictures() -> None:
    content = without("sample_agedb", test=0.0)
    content["features"]["agedb"]["dataset"] = "sample_agedb"
    (line,) = faults_of(content)
    assert line.endswith("it is tested on sample_agedb, and datasets.sample_agedb.test is 0; give it a share, or folds")


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"select": "best"}, "select: best"),
        ({"early_stopping": 2}, "early_stopping"),
        ({"schedule": {"name": "plateau"}}, "schedule: plateau"),
        ({"by_backbone": {"tinyagenet": {"select": "best"}}}, "select: best"),
    ],
)
@pytest.mark.parametrize("block", ["pretrain", "cascade"])
def test_what_decides_by_validation_pictures_needs_some(block: str, changes: dict[str, Any], setting: str) -> None:
    name, data_set = ("faces", "sample_faces") if block == "pretrain" else ("imdb", "sample_imdb")
    if block == "pretrain" and "by_backbone" in changes:
        changes = changes["by_backbone"]["tinyagenet"]
    content = without(data_set, validation=0.0)
    content[block][name] |= changes
    assert faults_of(content) == [
        f"params.yaml: {block}.{name}: {setting} decides by validation pictures, and datasets.{data_set}.validation is 0; give it a share"
    ]
    content["datasets"][data_set] |= {"protocol": "official"}  # may publish some: the training looks at them
    assert faults_of(content) == []


def test_a_search_needs_validation_pictures() -> None:
    content = without("sample_fgnet", validation=0.0)
    content["search"] = {"tuned": {"step": "target", "dataset": "sample_fgnet", "init": "agedb"}}
    content["cascade"]["target"] |= {"init": "tuned", "learning_rate": "search"}
    (line,) = faults_of(content)
    assert "search.tuned: it decides by validation pictures, and datasets.sample_fgnet.validation is 0" in line


@pytest.mark.parametrize(
    ("name", "data_set", "shares"),
    [
        ("cascaded_table4", "imdb", (0.0, 0.2)),
        ("cascaded_table4", "agedb", (0.0, 0.2)),
        ("cascaded_table4", "fgnet", (0.0, 0.0)),
        ("daa_fgnet", "fgnet", (0.0, 0.0)),
        ("daa_morph2", "morph2", (0.2, 0.0)),
        ("daa_megaage_asian", "megaage_asian", (0.0, 0.0)),
    ],
)
def test_the_studies_of_papers_have_their_shares(name: str, data_set: str, shares: tuple[float, float]) -> None:
    entry = params.check(rendered(name)).datasets[data_set]
    assert (entry.test, entry.validation) == shares


def test_imdb_is_cleaned_as_in_cascaded_fine_tuning() -> None:
    datasets = params.check(rendered("cascaded_table4")).datasets
    clean, grid = datasets["imdb"].clean, datasets["imdb"].grid
    assert grid is not None
    assert (clean.low, clean.high) == (grid.low, grid.high) == (0, 100)
    assert datasets["fgnet_as_imdb"].grid == grid  # its head goes on untouched


def rendered(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(study.render(name, ROOT))
