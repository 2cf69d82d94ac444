"""Checks of the blocks `features` and `regressors` of params.yaml before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from agecascade import params, study
from agecascade.errors import ParamsError, RegressorError
from agecascade.features.layers import check_features
from agecascade.regressors import check_regressors
from places import ROOT


def content_of(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(study.render(name, ROOT))


def changed(features: dict[str, Any], regressors: dict[str, Any], **settings: Any) -> params.Params:
    """The sample with one entry `f` of features and one entry `r` of regressors changed."""
    content = content_of("sample") | settings
    content["features"] = {"f": {"dataset": "sample_fgnet", "step": "agedb"} | features}
    content["regressors"] = {name: {"features": "f"} | entry for name, entry in regressors.items()}
    return params.check(content)


@pytest.mark.parametrize("name", study.names(ROOT))
def test_every_committed_study_passes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checked = params.check(content_of(name))
    monkeypatch.chdir(tmp_path)  # a folder without data
    check_features(checked)
    check_regressors(checked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("regressors", "message"),
    [
        ({"srv": {}}, r"^regressors: unknown regressor 'srv'; did you mean svr.*; an entry of another name says `regressor: NAME`$"),
        ({"r": {"regressor": "rigde"}}, r"^regressors\.r\.regressor: unknown regressor 'rigde'; did you mean ridge"),
        ({"svr": {"options": {"epsilom": 1.0}}}, r"^regressors\.svr\.options: unknown option 'epsilom'; did you mean epsilon"),
        ({"svr": {}, "ohrank": {"options": {"C": [0.0]}}}, r"^regressors\.ohrank\.options\.C: .*greater than 0, found 0\.0$"),
        (
            {"r": {"regressor": "autosklearn", "options": {"time_left_for_this_task": 5}}},
            r"^regressors\.r\.options\.time_left_for_this_task",
        ),
        ({"r": {"regressor": "flaml", "options": {"n_jobs": "many"}}}, r"^regressors\.r\.options\.n_jobs: .*found 'many'$"),
    ],
)
def test_errors_name_the_regressor_and_the_option(regressors: dict, message: str):
    with pytest.raises(RegressorError, match=message):
        check_regressors(changed({}, regressors))


def test_a_study_without_sigma_must_set_it_for_regressors_that_need_it():
    check_regressors(changed({}, {"ohrank": {}, "bfgs_ldl": {"options": {"sigma": 1.0}}}, sigma=None))
    with pytest.raises(RegressorError, match=r"^regressors\.bfgs_ldl\.options\.sigma: .*found None$"):
        check_regressors(changed({}, {"bfgs_ldl": {}}, sigma=None))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"layer": "blok2"},
            r"^features\.f\.layer: unknown layer 'blok2'; this network has pooled, global_max, flattened, first, block1, ",
        ),
        ({"layer": "layer1"}, r"^features\.f\.layer: unknown layer 'layer1'"),  # a ResNet's
        ({"step": "target"}, r"^features\.f\.step: target has several folds .*; choose a step with one fold$"),
    ],
)
def test_errors_name_the_features_that_no_network_has(features: dict, message: str):
    with pytest.raises(ParamsError, match=message):
        check_features(changed(features, {}))


def test_known_layers_are_those_of_the_main_rows_backbone():
    for backbone, layer in (("resnet18", "layer1"), ("vgg16_512_256", "first"), ("mobilenet_v2", "global_max")):
        check_features(changed({"layer": layer}, {}, backbone=backbone, image_size=64))
    with pytest.raises(ParamsError, match=r"^features\.f\.layer: unknown layer 'block1'; this network has .*, stem, layer1, "):
        check_features(changed({"layer": "block1"}, {}, backbone="resnet18"))


@pytest.mark.parametrize(
    ("dataset", "several"),
    [
        ({"protocol": "random", "folds": 1}, False),
        ({"protocol": "random", "folds": 3}, True),
        ({"protocol": "subject_exclusive", "folds": 1}, False),
        ({"protocol": "leave_one_subject_out", "folds": 1}, True),
        ({"protocol": "official", "folds": 5}, False),  # the publisher's roles decide
    ],
)
def test_features_of_a_step_with_several_folds_are_an_error(dataset: dict, several: bool):
    content = content_of("sample")
    content["datasets"]["sample_agedb"] |= dataset
    content["regressors"] = {}
    checked = params.check(content)
    if not several:
        check_features(checked)
        return
    with pytest.raises(ParamsError, match=r"^features\.agedb\.step: agedb has several folds"):
        check_features(checked)
