"""params.yaml: every key is checked, and every fault is one line that names the key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agecascade import params, study
from agecascade.errors import ParamsError
from agecascade.params import Clean
from places import ROOT, faults_of, sample_params


@pytest.fixture
def content() -> dict:
    return sample_params()


def test_every_study_is_valid_and_names_itself() -> None:
    for name in study.names(ROOT):
        rendered = study.render(name, ROOT)
        assert f"study: {name}\n" in rendered
    assert {"sample", "fgnet", "utkface"} <= set(study.names(ROOT))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["lamda"], 1.0, "lamda: unknown key 'lamda'; did you mean lambda"),
        (["cascade", "imdb", "epocs"], 3, "cascade.imdb.epocs: unknown key 'epocs'; did you mean epochs"),
        (["datasets", "sample_imdb", "grid", "hi"], 3, "datasets.sample_imdb.grid.hi: unknown key 'hi'; did you mean high"),
        (["sigma"], "1e-4", "sigma: Input should be a valid number, found str '1e-4' (YAML 1.1 tools read it as text"),
        (["image_size"], 48.5, "image_size: Input should be a valid integer, found float 48.5"),
        (["cascade", "imdb", "init"], "face", "unknown step 'face'; did you mean faces"),
        (["cascade", "imdb", "init"], "target", "runs in a circle"),
        (["cascade", "imdb", "dataset"], "sample_faces", "cascade.imdb.dataset: sample_faces has no grid"),
        (["evaluate", "target"], "sample_fgnt", "evaluate.target: unknown data set 'sample_fgnt'; did you mean sample_fgnet"),
        (["regressors", "svr", "features"], "agdb", "regressors.svr.features: unknown features 'agdb'; did you mean agedb"),
        (["datasets", "sample_fgnet", "draw"], None, "datasets.sample_fgnet: origin: synthetic needs `draw`"),
        (
            ["cascade", "target", "by_backbone"],
            {"tinyagenet": {"epoch": 3}},
            "cascade.target: by_backbone.tinyagenet.epoch: unknown key 'epoch'",
        ),
        (["align", "detection"], {"scales": [0.0]}, "align.detection.scales"),
        (["align", "detection"], {"rotations": [450.0]}, "align.detection.rotations"),
        (["align", "crop"], "circle", "align.crop"),
        (["datasets", "sample_fgnet", "grid"], {"low": 0, "high": 10, "step": 3}, "multiple of step"),
        (["datasets", "sample_fgnet", "grid"], {"low": 0}, "datasets.sample_fgnet.grid: low and high go together"),
        (
            ["datasets", "sample_fgnet", "grid"],
            {"low": 0, "high": 9, "groups": True},
            "values, present, groups, not low and high and groups",
        ),
        (["datasets", "sample_fgnet", "grid"], {"step": 2}, "give one of low and high, values, present, groups, not none"),
        (["datasets", "sample_fgnet", "grid"], {"values": [1.0, 3.0, 2.0]}, "values must be two or more that ascend"),
        (["datasets", "sample_fgnet", "grid"], {"values": [1.0]}, "values must be two or more that ascend"),
        (["decoding"], "medain", "decoding"),
    ],
)
def test_a_fault_is_one_line_that_names_the_key(content: dict, path: list[str], value: object, message: str) -> None:
    block = content
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    with pytest.raises(ParamsError) as raised:
        params.check(content)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_all_faults_are_told_at_once(content: dict) -> None:
    content["lamda"], content["image_size"] = 1.0, "64"
    with pytest.raises(ParamsError) as raised:
        params.check(content)
    assert len(str(raised.value).splitlines()) == 2


def test_a_missing_key_is_named(content: dict) -> None:
    del content["backbone"]
    with pytest.raises(ParamsError, match=r"params\.yaml: backbone: this key is missing"):
        params.check(content)


def test_yaml_1_2_numbers_and_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("rate: 1e-4\n")
    assert params.read_yaml(path) == {"rate": 1e-4}
    path.write_text("rate: [1\n")
    with pytest.raises(ParamsError, match="is no YAML"):
        params.read_yaml(path)
    with pytest.raises(ParamsError, match="is missing"):
        params.read_yaml(tmp_path / "none.yaml")


def test_rows_hold_the_main_one_first_and_each_once(content: dict) -> None:
    content["compare"] = {"methods": ["dex", "dldl_v2"], "backbones": ["thinagenet"], "seeds": [1]}
    rows = params.check(content).rows
    assert rows[0].name == "dldl_v2-tinyagenet-s0"
    assert len(rows) == len(set(rows)) == 2 * 2 * 2


def test_a_row_of_any_backbone_names_one_folder(content: dict) -> None:
    content["compare"] = {"backbones": ["timm/resnet18.a1_in1k", "thinagenet:0.375"]}
    names = [row.name for row in params.check(content).rows]
    assert names == ["dldl_v2-tinyagenet-s0", "dldl_v2-timm_resnet18.a1_in1k-s0", "dldl_v2-thinagenet_0.375-s0"]


def test_chain_leads_from_scratch_to_the_step(content: dict) -> None:
    checked = params.check(content)
    assert checked.chain("target") == ["faces", "imdb", "agedb", "target"]
    assert checked.chain("target_from_scratch") == ["target_from_scratch"]
    assert checked.chain("scratch") == []


def test_a_backbone_may_have_its_own_recipe(content: dict) -> None:
    content["cascade"]["imdb"]["by_backbone"] = {"thinagenet": {"learning_rate": 0.5}}
    step = params.check(content).cascade["imdb"]
    assert step.recipe("thinagenet").learning_rate == 0.5
    assert step.recipe("tinyagenet").learning_rate == step.learning_rate


def test_grid_values() -> None:
    assert params.Grid(low=1, high=2, step=0.25).over([]) == [1, 1.25, 1.5, 1.75, 2]
    assert params.Grid(low=0, high=100, step=4).over([]) == [float(4 * i) for i in range(26)]
    assert params.Grid(values=[1, 5, 17.5]).over([3.0]) == [1, 5, 17.5]
    assert params.Grid(present=True).over([7.0, 3.0, 7.0]) == [3, 7]
    assert params.Grid(groups=True).over([17.5, 1.0]) == [1, 17.5]


def test_a_preset_stands_for_the_whole_block_or_below_changes(content: dict) -> None:
    content["augment"] = "dldl_v2"
    whole = params.check(content).augment
    assert (whole.gray, whole.downscale, whole.rotation, whole.jitter, whole.crop) == (0.5, 0.5, 15.0, 0.4, 1.0)
    content["augment"] = {"preset": "cascade", "rotation": 5.0}
    changed = params.check(content).augment
    assert (changed.rotation, changed.crop, changed.jitter, changed.downscale) == (5.0, 0.85, 0.0, 1.0)
    again = params.check(params.check(content).model_dump(by_alias=True)).augment
    assert again == changed


def test_the_default_augmentation_is_dldl_v2s() -> None:
    assert params.Augment() == params.Augment(preset="dldl_v2").model_copy(update={"preset": None})


def test_a_step_has_its_own_augmentation_or_the_studys(content: dict) -> None:
    content["cascade"]["imdb"]["augment"] = "none"
    content["cascade"]["agedb"]["by_backbone"] = {"tinyagenet": {"augment": {"preset": "daa", "zoom": 0.2}}}
    study = params.check(content)
    assert study.cascade["imdb"].augment == params.Augment(preset="none")
    assert study.cascade["target"].augment is None
    of_backbone = study.cascade["agedb"].recipe("tinyagenet").augment
    assert of_backbone is not None
    assert (of_backbone.zoom, of_backbone.shift) == (0.2, 0.05)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["augment"], "dldlv2", "augment: unknown preset 'dldlv2'; did you mean dldl_v2"),
        (["augment"], {"preset": "da"}, "augment: unknown preset 'da'; did you mean daa"),
        (["augment"], {"preset": "daa", "rotate": 3.0}, "augment.rotate: unknown key 'rotate'; did you mean rotation"),
        (["augment"], {"preset": 3}, "augment.preset: Input should be a valid string, found int 3"),
        (["cascade", "imdb", "augment"], "heavy", "cascade.imdb.augment: unknown preset 'heavy'"),
        (["cascade", "imdb", "augment"], {"flipp": 0.1}, "cascade.imdb.augment.flipp: unknown key 'flipp'; did you mean flip"),
    ],
)
def test_faults_of_augmentation_name_their_key(content: dict, path: list[str], value: object, message: str) -> None:
    block = content
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    with pytest.raises(ParamsError) as error:
        params.check(content)
    assert message in str(error.value)


@pytest.mark.parametrize("limit", [0, 501, math.inf, math.nan])
def test_a_limit_of_pixels_is_a_number_that_memory_holds(limit: float) -> None:
    with pytest.raises(ValidationError, match="max_megapixels"):
        Clean(max_megapixels=limit)


@pytest.mark.parametrize(("protocol", "subjects"), [("held_out_subjects", []), ("subject_kfold", ["002"])])
def test_subjects_are_named_for_the_protocol_that_holds_them_out(content: dict, protocol: str, subjects: list[str]) -> None:
    content["datasets"]["sample_fgnet"] |= {"protocol": protocol, "test_subjects": subjects}
    with pytest.raises(ParamsError, match=r"datasets.sample_fgnet: test_subjects: protocol held_out_subjects needs the subjects"):
        params.check(content)


@pytest.mark.parametrize(
    ("protocol", "folds", "other"), [("subject_kfold", 1, "subject_exclusive"), ("subject_exclusive", 2, "subject_kfold")]
)
def test_a_protocol_with_folds_that_it_cannot_have_names_the_other(content: dict, protocol: str, folds: int, other: str) -> None:
    content["datasets"]["sample_fgnet"] |= {"protocol": protocol, "folds": folds, "test": 0.2}
    with pytest.raises(ParamsError, match=rf"datasets.sample_fgnet: folds: {folds}, but {protocol} .*; .*take {other}$"):
        params.check(content)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": [{"name": "a", "low": 0, "high": 12}, {"name": "b", "low": 12, "high": 20}]}, "b begins at 12, within a or below"),
        ({"groups": [{"name": "a", "low": 3, "high": 1}]}, "low, 3, must not be above high, 1"),
        ({"groups": [{"name": "a", "low": 0, "high": 12}]}, "one group tells nothing apart"),
        ({"groups": [{"name": "a", "low": 0, "high": 1}, {"name": "a", "low": 2, "high": 3}]}, "two have one name"),
        ({"legal_age": 0}, "greater than 0"),
        ({"most_minors": 1}, "less than 1"),
    ],
)
def test_groups_and_ages_of_the_evaluation_are_checked(changes: dict[str, Any], said: str) -> None:
    content = sample_params()
    content["evaluate"] |= changes
    (line,) = faults_of(content)
    assert line.startswith("params.yaml: evaluate")
    assert said in line
