"""Stage explain: test pictures of each fold by its own network, figures and pictures, and faults of the params."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import explain as stage
from agecascade import params
from agecascade.errors import ModelError, ParamsError
from agecascade.explain import study as module
from agecascade.explain.explained import Explained, figures, joined
from agecascade.explain.occlusion import Occlusion
from agecascade.explain.study import pictures_tested
from agecascade.inference import predict_values
from agecascade.io.files import written_beside
from agecascade.io.yaml_text import dump_yaml
from agecascade.loading.faces import load_faces
from agecascade.model_folder import save
from agecascade.params import Explain
from aligned_parts import write_part
from fold_models import random_model
from places import faults_of, sample_params

COUNT = 24


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Aligned faces, a split into two folds, and models of two steps."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    label = [float(age) for age in np.linspace(0, 69, COUNT).round()]
    for folder in ("data/aligned", "data/splits"):
        Path(folder).mkdir(parents=True)
    write_part(Path("data/aligned/sample_fgnet"), 0, random.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8), label, [2.0] * COUNT)
    rows = [("fold", fold, f"0-{i}", "test" if i % 2 == fold else "train") for fold in (0, 1) for i in range(COUNT)]
    splits = pd.DataFrame(rows, columns=["protocol", "fold", "sample_id", "role"])
    splits.to_parquet("data/splits/sample_fgnet.parquet")
    row = params.check(sample_params()).main_row.name
    for step, folds in (("agedb", 1), ("target", 2)):
        for fold in range(folds):
            model = random_model(grid=70, fold=fold, step=step)
            model.network.head.bias.data[10 * (fold + 1)] += 3.0  # so that folds differ
            save(Path("models", step, row, f"fold{fold}"), model.network, model.card, [])
    write_params()
    return tmp_path


def write_params(**changes: Any) -> None:
    content = sample_params()
    content["explain"]["target"] |= changes
    with written_beside("params.yaml") as temporary:
        temporary.write_text(dump_yaml(content))


def test_a_network_of_scores_is_not_asked_for_ages(work: Path) -> None:
    row = params.check(sample_params()).main_row.name
    model = random_model(grid=6, step="agedb")  # scores of 0 to 5
    shutil.rmtree(Path("models", "agedb", row))
    save(Path("models", "agedb", row, "fold0"), model.network, model.card, [])
    write_params(kinds=["grad_cam"])
    stage.main("target")
    content = json.loads(Path("metrics/explain/target.json").read_text())
    assert set(content["grad_cam"]["means"]) == {"before, predicted", "after, predicted", "after, true"}


def test_the_stage_writes_figures_and_pictures(work: Path) -> None:
    stage.main("target")
    content = json.loads(Path("metrics/explain/target.json").read_text())
    assert {path.name for path in Path("plots/explain/target").iterdir()} == {"score_map.png", "grad_cam.png", "occlusion.png"}
    assert content["faces"] == {"all": 24, "0-3": 2, "20-35": 5, "65-100": 2, "top 10": 10, "bottom 10": 10}
    assert content["folds"] == 2
    assert content["not_of_this_model"] == {"comparison_ages": "head pooled compares with no ages; only head daa does"}
    assert set(content["grad_cam"]["means"]) == {"before, predicted", "before, true", "after, predicted", "after, true"}
    assert np.shape(content["occlusion"]["0-3"]["squares"]) == (7, 7)
    assert np.shape(content["occlusion"]["all"]["stripes"]) == (7,)
    assert np.shape(content["score_map"]["means"]["all"]) == (2, 2)
    first = {path.name: path.read_bytes() for path in Path("plots/explain/target").iterdir()}
    stage.main("target")
    assert {path.name: path.read_bytes() for path in Path("plots/explain/target").iterdir()} == first
    assert json.loads(Path("metrics/explain/target.json").read_text()) == content


def test_each_fold_s_network_sees_its_own_test_pictures(work: Path) -> None:
    stage.main("target")
    faces = load_faces("data/aligned/sample_fgnet", 32)
    errors = []
    for fold in (0, 1):
        model = random_model(grid=70)
        model.network.head.bias.data[10 * (fold + 1)] += 3.0
        value, _ = predict_values(model.network, model.method, faces.images[fold::2], 32, model.card.channels)
        errors.append(np.abs(value - faces.label[fold::2]))
    mae = json.loads(Path("metrics/explain/target.json").read_text())["mae"]
    assert mae == pytest.approx(np.concatenate(errors).mean(), rel=1e-4)


def test_parts_of_a_fold_are_explained_as_the_whole(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call takes whole batches: here of four pictures."""
    monkeypatch.setattr("agecascade.explain.maps.PIXELS", 4 * 32**2)
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    study = params.check(sample_params())
    inputs = (study, study.explain["target"], Path("data"), Path("models"))
    in_parts = module.explain_pictures(*inputs)
    sizes: list[int] = []
    monkeypatch.setattr(module, "_part", lambda size: sizes.append(size) or 1000)
    whole = module.explain_pictures(*inputs)
    assert sizes == [32]
    assert figures(in_parts, inputs[1]) == figures(whole, inputs[1])
    for name in ("images", "value", "score_maps", "scores", "lifts"):
        np.testing.assert_array_equal(getattr(in_parts, name), getattr(whole, name))
    assert in_parts.occlusion is not None
    np.testing.assert_array_equal(in_parts.occlusion.hidden, whole.occlusion.hidden)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"layer": "block8"}, r"^explain.target.layer: unknown layer 'block8'; this network has last, block1"),
        (
            {"kinds": ["comparison_ages"], "before": None, "layer": "last"},
            r"^explain.target.kinds: comparison_ages: head pooled compares with no ages; .* has score_map, grad",
        ),
    ],
)
def test_what_the_model_lacks_names_the_key(work: Path, changes: dict[str, Any], line: str) -> None:
    write_params(**changes)
    with pytest.raises(ParamsError, match=line):
        stage.main("target")


def test_a_missing_model_is_no_fault_of_the_params(work: Path) -> None:
    write_params(before="imdb")
    with pytest.raises(ModelError, match=r"^models/imdb holds no model of dldl_v2-tinyagenet-s0; run its stage again$"):
        stage.main("target")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"step": "targt"}, "explain.target.step: unknown step of cascade 'targt'; did you mean target"),
        ({"before": "faces"}, "explain.target.before: unknown step of cascade 'faces'"),
        ({"before": "target"}, "explain.target.before: it names target itself"),
        ({"dataset": "sample_agedb"}, "explain.target.dataset: sample_agedb, but cascade.target.dataset is sample_fgnet; name that one"),
        ({"bands": [[30, 20]]}, "explain.target.bands: [30, 20] ends before it begins"),
        ({"kinds": ["cam"]}, "explain.target.kinds.0: "),
        ({"kinds": []}, "explain.target.kinds: the list is empty; name some, or leave the key out for all that the model has"),
        ({"kinds": ["occlusion"]}, "explain.target: before: agedb is of grad_cam alone, which kinds leaves out; add grad_cam, or leave"),
        ({"kinds": ["occlusion"], "before": None}, "explain.target: layer: block3 is of grad_cam alone, which kinds leaves out"),
        ({"layers": "last"}, "explain.target.layers: unknown key 'layers'; did you mean layer"),
    ],
)
def test_faults_of_the_params_name_the_key(changes: dict[str, Any], line: str) -> None:
    content = sample_params()
    content["explain"]["target"] |= changes
    assert any(line in fault for fault in faults_of(content)), faults_of(content)


def test_at_most_so_many_pictures_and_each_once(work: Path) -> None:
    faces = load_faces("data/aligned/sample_fgnet", 32)
    splits = pd.read_parquet("data/splits/sample_fgnet.parquet")
    repeated = pd.concat([splits, splits.assign(fold=2, role="test")])
    frame = pictures_tested(repeated, faces, 1000, 0)
    assert frame["row"].tolist() == list(range(COUNT))
    assert frame["fold"].tolist() == [0, 1] * (COUNT // 2)
    few = pictures_tested(repeated, faces, 5, 0)
    assert len(few) == 5
    assert few.equals(pictures_tested(repeated, faces, 5, 0))
    assert few["row"].is_monotonic_increasing


def explained(label: list[float], hidden: float) -> Explained:
    count = len(label)
    value = np.full(count, 30.0)
    images = np.zeros((count, 32, 32, 3), np.uint8)
    return Explained(images, np.array(label), value, 1, occlusion=Occlusion(value, np.full((count, 56), hidden)))


def test_losses_by_band_by_hand() -> None:
    """Predictions 30, hidden 32: of labels 20 and 34 the errors are 10, 4 and 12, 2."""
    whole = joined([explained([20.0], 32.0), explained([34.0, 2.0], 32.0)])
    settings = Explain(dataset="d", step="s", bands=[[0.0, 3.0], [20.0, 35.0], [65.0, 100.0]], extremes=0)
    content = figures(whole, settings)
    assert content["faces"] == {"all": 3, "0-3": 1, "20-35": 2}
    assert content["occlusion"]["20-35"]["mae"] == 7.0
    assert content["occlusion"]["20-35"]["squares"][3][4] == pytest.approx(0.0)
    assert content["occlusion"]["0-3"]["stripes"][0] == pytest.approx(30 / 28 - 1)
    assert content["folds"] == 2


def test_a_band_without_error_has_no_relative_loss() -> None:
    content = figures(explained([30.0], 32.0), Explain(dataset="d", step="s"))
    assert content["occlusion"]["20-35"] == {"mae": 0.0, "squares": None, "stripes": None}


def test_top_and_bottom_never_share_a_face() -> None:
    some = explained([1.0, 2.0, 3.0, 4.0, 5.0], 30.0)
    some.value = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    groups = some.groups(Explain(dataset="d", step="s", bands=[]), extremes=True)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()} == {"top 2": [0, 2], "bottom 2": [1, 3]}
