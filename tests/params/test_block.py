"""Names and numbers of params.yaml: what no stage, path, shell or library can take is one line that names the key."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agecascade import params
from agecascade.datasets import check_data_sets
from agecascade.errors import AgecascadeError, ParamsError
from agecascade.explain.checks import check_explanations
from agecascade.features.layers import check_features
from agecascade.regressors import check_regressors
from agecascade.training.initial_weights import require_rows
from forms import repeated
from places import faults_of, sample_params

RULE = "a name is 1 to 64 of the letters a-z and A-Z, digits, _ and -, and begins with a letter"
BLOCKS = ("datasets", "weights", "pretrain", "search", "cascade", "features", "screen", "explain", "regressors")
NO_NAMES = ["fg.net", "fg net", "fg'n", "fg@net", "", "../x", "a" * 300, "$(touch x)", "`x`", "a;b", "a\nb", "-x", "1", "é", "a/b"]
EXTREMES: list[Any] = [math.inf, -math.inf, math.nan, -1, 10**30, -(10**30), 10**400, 2**70, 1e300, 5e-324]


def entry_of(content: dict[str, Any], block: str) -> dict[str, Any]:
    """An entry that the block would take under a good name."""
    new = {"weights": {}, "screen": {"features": "agedb"}, "search": {"step": "target", "dataset": "sample_fgnet", "init": "agedb"}}
    return new[block] if block in new else next(iter(content[block].values()))


def check_as_the_stage_does(content: Any) -> None:
    study = params.check(content)
    check_data_sets(study.datasets)
    require_rows(study)
    check_features(study)
    check_explanations(study)
    check_regressors(study)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", NO_NAMES)
def test_a_key_that_is_no_name_is_refused_with_the_rule(block: str, name: str) -> None:
    content = sample_params()
    content[block][name] = entry_of(content, block)
    (line,) = faults_of(content)
    shown = repr(name if len(name) < 65 else name[:64] + "...")
    assert line == f"params.yaml: {block}: {RULE}, not {shown}"


@pytest.mark.parametrize("name", ["n", "fg-net", "FG_net2", "a" * 64, "features", "screen", "search", "cascade", "datasets", "weights"])
def test_a_plain_name_passes(name: str) -> None:
    content = sample_params()
    for block in ("datasets", "cascade", "features", "regressors"):
        content[block][name] = {**entry_of(content, block)}
    content["regressors"][name]["regressor"] = "knn"
    assert faults_of(content) == []


@pytest.mark.parametrize("block", ["weights", "pretrain", "search", "cascade"])
@pytest.mark.parametrize("name", ["regress", "Regress", "scratch", "SCRATCH"])
def test_names_of_the_pipelines_own_folders_are_taken(block: str, name: str) -> None:
    """A step named `regress` replaced the predictions of all regressors."""
    content = sample_params()
    content[block][name] = entry_of(content, block)
    (line,) = faults_of(content)
    assert line.startswith(f"params.yaml: {block}.{name}: {name.lower()} is the name of the ")


def test_names_that_differ_in_case_alone_are_refused() -> None:
    content = sample_params()
    content["datasets"]["Sample_IMDB"] = content["datasets"]["sample_imdb"]
    (line,) = faults_of(content)
    assert "datasets.Sample_IMDB: datasets.sample_imdb differs in upper and lower case alone" in line


def test_models_of_two_blocks_cannot_share_a_folder() -> None:
    content = sample_params()
    content["weights"]["Imdb"] = {}
    (line,) = faults_of(content)
    assert "cascade.imdb: weights.Imdb differs in upper and lower case alone" in line
    content["weights"] = {"imdb": {}}
    (line,) = faults_of(content)
    assert "cascade.imdb: weights.imdb has this name too" in line


@pytest.mark.parametrize("name", ["", "a b", "../x", "x/y", "$(x)", "a" * 65])
def test_a_study_s_name_is_checked(name: str) -> None:
    content = sample_params() | {"study": name}
    (line,) = faults_of(content)
    assert line.startswith("params.yaml: study: a study's name is 1 to 64 of")


def numeric_leaves(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all numbers in plain content."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from numeric_leaves(value, (*path, key))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield path


def with_options() -> dict[str, Any]:
    """The sample with further numbers: those of optional keys, and options that blocks of their own check."""
    content = sample_params()
    content["method_options"] = {"unimodal": {"weight": 100.0}}
    content["normalisation"]["by_backbone"] = {"resnet18": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}}
    content["compare"] = {"methods": [], "backbones": [], "seeds": [1, 2]}
    content["screen"] = {"doubtful": {"features": "agedb", "folds": 5, "share": 0.02}}
    content["datasets"]["sample_agedb"]["clean"]["max_megapixels"] = 50.0
    content["cascade"]["imdb"] |= {"lambda": 0.5, "ema": 0.9, "gradient_clip": 1.0, "early_stopping": 3, "momentum": 0.5}
    content["cascade"]["imdb"]["by_backbone"] = {"tinyagenet": {"learning_rate": 0.1, "batch_size": 8, "epochs": 2}}
    content["cascade"]["target"] |= {"init": "tuned", "learning_rate": "search", "batch_size": "search"}
    search = {"step": "target", "dataset": "sample_fgnet", "init": "agedb", "learning_rates": [0.1], "batch_sizes": [8], "folds": 2}
    content["search"] = {"tuned": search}
    return content


@settings(deadline=None, max_examples=repeated(60, whole=150), suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(list(numeric_leaves(with_options()))), value=st.sampled_from(EXTREMES))
def test_any_number_passes_the_check_or_is_one_line_that_names_its_key(path: tuple[Any, ...], value: Any) -> None:
    content = with_options()
    block = content
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    named = [key for key in path if isinstance(key, str)]
    try:
        check_as_the_stage_does(content)
    except AgecascadeError as error:
        (line,) = str(error).splitlines()
        assert named[-1] in line
        assert ".".join(named[:2]) in line or named[0] in line
        assert len(line) < 400
    else:
        assert math.isfinite(value)
        assert abs(value) < 1e16


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["compare", "seeds"], [-1], "compare.seeds.0: Input should be greater than or equal to 0"),
        (["seed"], 2**32, "seed: Input should be less than 4294967296"),
        (["align", "size"], 10**6, "align.size: Input should be less than or equal to 4096"),
        (["image_size"], 10**9, "image_size: Input should be less than or equal to 4096"),
        (["datasets", "sample_fgnet", "grid"], {"low": 0, "high": 1_000_000_000}, "a grid has at most 10,000 values; raise step"),
        (["datasets", "sample_fgnet", "grid"], {"low": 0, "high": 1, "step": 5e-324}, "a grid has at most 10,000 values; raise step"),
        (["datasets", "sample_fgnet", "clean"], {"low": 5, "high": 5}, "datasets.sample_fgnet.clean: low, 5, must be below high, 5"),
        (["datasets", "sample_fgnet", "apart_from"], ["sample_fgnet"], "datasets.sample_fgnet.apart_from: it names sample_fgnet itself"),
        (["evaluate", "target"], "sample_faces", "evaluate.target: sample_faces has identities and no labels"),
        (
            ["cascade", "imdb", "by_backbone"],
            {"tinyagenet": {"init": "agedb"}},
            "by_backbone.tinyagenet.init: this key is the same",
        ),
        (["cascade", "imdb", "by_backbone"], {"tinyagenet": {"dataset": "x"}}, "by_backbone.tinyagenet.dataset: this key is the same"),
        (["normalisation", "std"], [0.2, 0.2, 0.0], "normalisation.std.2: "),
    ],
)
def test_a_value_that_no_stage_can_use_is_named(path: list[str], value: Any, message: str) -> None:
    content = sample_params()
    block = content
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    (line,) = faults_of(content)
    assert message in line


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["datasets", "sample_fgnet", "reader"], "fgnett", "datasets.sample_fgnet.reader: unknown reader 'fgnett'; did you mean fgnet"),
        (["datasets", "sample_fgnet", "options"], {"fold": 3}, "datasets.sample_fgnet.options.fold: unknown key 'fold'"),
        (
            ["datasets", "sample_fgnet", "clean"],
            {"exclude": "exclusions/fgnett.csv"},
            "fgnet.clean.exclude: there is no file exclus",
        ),
        (["datasets", "sample_imdb", "options"], {"set": "imbd"}, "datasets.sample_imdb.options.set: Input should be 'imdb' or 'wiki'"),
        (["cascade", "imdb", "by_backbone"], {"tinyagent": {"epochs": 3}}, "cascade.imdb.by_backbone: unknown backbone 'tinyagent'"),
        (
            ["normalisation", "by_backbone"],
            {"resnet": {"mean": [0.5] * 3, "std": [0.5] * 3}},
            "normalisation.by_backbone: unknown backbone",
        ),
        (["weights"], {"own": {"resnet81": {"library": "torchvision"}}}, "weights.own: unknown backbone 'resnet81'; did you mean resnet18"),
        (["method"], "dldl_v3", "method: unknown method 'dldl_v3'; did you mean dldl_v2"),
        (["compare", "methods"], ["dldl_v3"], "compare.methods: unknown method 'dldl_v3'; did you mean dldl_v2"),
        (["backbone"], "tinyagent", "backbone: unknown backbone 'tinyagent'; did you mean tinyagenet"),
        (["compare", "backbones"], ["resnet19"], "compare.backbones: unknown backbone 'resnet19'; did you mean resnet18"),
        (["head"], "poled", "head: unknown head 'poled'; did you mean pooled"),
        (["datasets", "sample_faces", "folds"], 2, "datasets.sample_faces.folds: 2 asked for, but identities without labels allow one"),
        (["cascade", "imdb", "method"], "dldl_v3", "cascade.imdb.method: unknown method 'dldl_v3'; did you mean dldl_v2"),
        (["cascade", "imdb", "trainable"], "from:block9", "cascade.imdb: trainable: unknown block 'block9'"),
        (["pretrain", "faces", "trainable"], "from:block9", "pretrain.faces: trainable: unknown block 'block9'"),
    ],
)
def test_what_other_modules_know_stops_in_check(path: list[str], value: Any, message: str) -> None:
    content = sample_params()
    block = content
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    with pytest.raises(AgecascadeError) as raised:
        check_as_the_stage_does(content)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_the_sample_passes_the_whole_check() -> None:
    check_as_the_stage_does(sample_params())
    check_as_the_stage_does(with_options())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: " + b"9" * 5000, "is no YAML"),
        (b"study: \xff\xfe", "is no YAML"),
        (b"a: " + b"[" * 5000, "is no YAML"),
        (b"study: \x00", "is no YAML"),
        (b"a: &a\n  b: *a\n", "nested without end"),
    ],
)
def test_a_file_that_python_cannot_take_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParamsError, match=message) as raised:
        params.load(path)
    assert len(str(raised.value).splitlines()) == 1


def test_a_folder_in_place_of_the_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="cannot be read: Is a directory"):
        params.load(tmp_path)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 65])
def test_a_name_that_nobody_can_read_in_a_table_is_refused(name: str) -> None:
    rule = "a name in tables and plots is 1 to 64 characters that can be seen"
    content = sample_params()
    content["evaluate"]["published"] = {name: 3.0}
    content["evaluate"]["groups"][0]["name"] = name
    group, published = faults_of(content)
    assert published.startswith(f"params.yaml: evaluate.published: {rule}, not '")
    assert group.startswith(f"params.yaml: evaluate.groups.0.name: {rule}, not '")


def test_published_results_have_any_name_that_can_be_read() -> None:
    content = sample_params()
    content["evaluate"]["published"] = {"DLDL-v2, Résultats (Tab. 3)": 3.0}
    assert params.check(content).evaluate.published == {"DLDL-v2, Résultats (Tab. 3)": 3.0}
