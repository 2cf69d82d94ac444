"""The search of learning rate and batch size: every pair is tried, the best is what the next stage starts with."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from agecascade import model_folder, params
from agecascade.errors import LossError, ModelError, ParamsError, TrainingError
from agecascade.loading import Faces
from agecascade.params import Params
from agecascade.plots.search import search_table
from agecascade.training import search as module
from agecascade.training.initial_weights import initialise
from agecascade.training.jobs import jobs_of, read_winners
from agecascade.training.search import SearchResult, pairs, search
from places import sample_params
from small_sets import random_faces, rolled_splits

MAIN = "dldl_v2-tinyagenet-s0"


def content(**step: Any) -> dict[str, Any]:
    """A study of one step, searched before it is trained."""
    study = sample_params()
    study["datasets"] = {"sample_fgnet": study["datasets"]["sample_fgnet"]}
    study |= {"image_size": 32, "pretrain": {}, "features": {}, "regressors": {}, "screen": {}, "explain": {}, "augment": "none"}
    study["compute"] = {"backend": "local", "workers": 1}
    recipe = {**study["cascade"]["target"], "init": "tuned", "learning_rate": "search", "batch_size": "search", "epochs": 2}
    study["cascade"] = {"target": {**recipe, **step}}
    grid = {"learning_rates": [0.01, 0.001], "batch_sizes": [6, 12], "folds": 2}
    study["search"] = {"tuned": {"step": "target", "dataset": "sample_fgnet", "init": "scratch", **grid}}
    return study


@pytest.fixture
def faces() -> Faces:
    return random_faces(sigma="two")


@pytest.fixture
def splits(faces: Faces) -> pd.DataFrame:
    return rolled_splits(faces, validation=6, test=6, folds=3)


def searched(study: Params, faces: Faces, splits: pd.DataFrame, root: Path) -> SearchResult:
    if not (root / "models").exists():
        initialise(study, root / "models" / "scratch")
    return search(study, "tuned", faces, splits, root / "models", root / "work")


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_every_pair_is_tried_in_the_first_folds(trainable: str, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    result = searched(params.check(content(trainable=trainable)), faces, splits, tmp_path)
    tried = set(result.table[["learning_rate", "batch_size", "fold"]].itertuples(index=False, name=None))
    assert tried == {(rate, size, fold) for rate in (0.01, 0.001) for size in (6, 12) for fold in (0, 1)}
    assert len(result.table) == 8
    assert np.isfinite(result.table["validation_loss"]).all()
    best = result.means.sort_values("validation_loss").iloc[0]
    winner = result.winners["tinyagenet"]
    assert (winner["learning_rate"], winner["batch_size"]) == (best["learning_rate"], best["batch_size"])
    left = {path.name for path in (tmp_path / "work").iterdir() if path.is_dir()}
    assert all(name.startswith("tuned-trial-") for name in left)  # a further seed starts them no second time


def test_the_step_starts_with_the_winner_from_where_the_search_did(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    study = params.check(content())
    initialise(study, tmp_path / "models" / "scratch")
    table = [["tinyagenet", 0.01, 6, 0, 3.0, 9.0], ["tinyagenet", 0.001, 12, 0, 2.0, 9.5]]
    result = SearchResult("tuned", pd.DataFrame(table, columns=module.COLUMNS))
    result.write(tmp_path / "models" / "scratch", tmp_path / "models" / "tuned")
    job = next(jobs_of(study, "target", faces, splits, tmp_path / "models"))
    assert (job.recipe.learning_rate, job.recipe.batch_size) == (0.001, 12)
    assert job.init.is_relative_to(tmp_path / "models" / "tuned")
    assert model_folder.model_digest(job.init) == model_folder.model_digest(next((tmp_path / "models" / "scratch").rglob("fold0")))
    assert job.card.chain == ["target"]


def test_an_interrupted_search_goes_on(faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = params.check(content())
    undisturbed = searched(study, faces, splits, tmp_path / "undisturbed")
    real, started = module.train, []

    def killed(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        if len(started) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        searched(study, faces, splits, tmp_path)
    result = searched(study, faces, splits, tmp_path)
    assert len(started) == 4 + 5  # the fourth again, and the four others
    pd.testing.assert_frame_equal(result.table, undisturbed.table)


def test_a_pair_that_diverges_loses(faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.train

    def train(network: Any, method: Any, training: Any, validation: Any, recipe: Any, *rest: Any, **options: Any) -> Any:
        if recipe.learning_rate == 0.01:
            raise LossError("the loss is nan")
        return real(network, method, training, validation, recipe, *rest, **options)

    monkeypatch.setattr(module, "train", train)
    result = searched(params.check(content()), faces, splits, tmp_path)
    assert result.table["validation_loss"].isna().sum() == 4
    assert result.winners["tinyagenet"]["learning_rate"] == 0.001
    worthless = SearchResult("tuned", result.table.assign(validation_loss=np.nan))
    with pytest.raises(TrainingError, match=r"search\.tuned: every trial of tinyagenet diverged; give lower learning_rates"):
        worthless.winners  # noqa: B018


def test_what_the_step_gives_itself_is_held() -> None:
    study = params.check(content(by_backbone={"thinagenet": {"batch_size": 4}, "vgg16": {"batch_size": 4, "learning_rate": 0.5}}))
    settings, step = study.search["tuned"], study.cascade["target"]
    assert len(pairs(settings, step.recipe("tinyagenet"))) == 4
    assert pairs(settings, step.recipe("thinagenet")) == [(0.01, 4), (0.001, 4)]
    assert pairs(settings, step.recipe("vgg16")) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["search", "tuned", "step"], "traget", "search.tuned.step: unknown step 'traget'; did you mean target"),
        (["search", "tuned", "init"], "scrtch", "search.tuned.init: unknown step 'scrtch'; did you mean scratch"),
        (["search", "tuned", "learning_rates"], [], "search.tuned.learning_rates: List should have at least 1 item"),
        (["search", "tuned", "batch_sizes"], [1], "search.tuned.batch_sizes.0: Input should be greater than or equal to 2"),
        (["search", "tuned", "learning_rate"], 0.1, "search.tuned.learning_rate: unknown key 'learning_rate'; did you mean learning_rates"),
        (["search", "tuned", "dataset"], "sample_fgnt", "search.tuned.dataset: unknown data set 'sample_fgnt'"),
        (["cascade", "target", "init"], "scratch", "search.tuned: cascade.target.init is scratch; it must be tuned"),
        (["cascade", "target", "learning_rate"], "serch", "cascade.target.learning_rate: Input should be a valid number"),
        (["cascade", "target", "batch_size"], 1, "cascade.target.batch_size: Input should be greater than or equal to 2"),
    ],
)
def test_a_fault_is_one_line_that_names_the_key(path: list[str], value: object, message: str) -> None:
    wrong = content()
    block = wrong
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    with pytest.raises(ParamsError) as raised:
        params.check(wrong)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_step_that_needs_no_search_may_not_name_one_in_vain() -> None:
    with pytest.raises(ParamsError, match="gives learning_rate and batch_size itself"):
        params.check(content(learning_rate=0.1, batch_size=8))
    lost = content(init="scratch")
    lost["search"] = {}
    with pytest.raises(ParamsError, match="batch_size and learning_rate: search, but init names no search"):
        params.check(lost)


def test_a_winner_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run `dvc repro search@tuned`"):
        read_winners(tmp_path / "tuned")
    (tmp_path / "search.json").write_text('{"tinyagenet": {"learning_rate": 0.1}}')
    with pytest.raises(ModelError, match="is no result of a search"):
        read_winners(tmp_path)


def test_the_table_is_drawn_with_gaps(tmp_path: Path) -> None:
    means = pd.DataFrame(
        {
            "backbone": ["a"] * 4 + ["b"],
            "learning_rate": [0.1, 0.1, 0.01, 0.01, 1.0],
            "batch_size": [8, 16, 8, 16, 8],
            "validation_loss": 3.0,
        }
    )
    means.loc[1, "validation_loss"] = np.nan
    search_table(tmp_path / "a.png", "tuned", means)
    search_table(tmp_path / "b.png", "tuned", means)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_through_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "AGECASCADE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    study = content(trainable="head")
    study["datasets"]["sample_fgnet"] |= {"draw": {"pictures": 60, "subjects": 6}, "folds": 2}
    YAML().dump(study, Path("params.yaml"))
    for script in ("download", "clean", "align", "split"):
        import_module(script).main("sample_fgnet")
    import_module("scratch").main()
    import_module("search").main("tuned")
    import_module("finetune").main("target")
    import_module("evaluate").main()
    table = pd.read_csv("data/search/tuned.csv")
    assert len(table) == 2 * 2 * 2
    winner = json.loads(Path("models/tuned/search.json").read_text())["tinyagenet"]
    rate = pd.read_csv(f"models/target/{MAIN}/fold0/history.csv")["learning_rate"]
    assert 0 < rate.max() <= winner["learning_rate"] * (1 + 1e-6)
    assert Path("plots/search/tuned.png").is_file()
    assert json.loads(Path("metrics/mae.json").read_text())["sample_fgnet"]["target"][MAIN]["folds"] == 2


def test_a_further_seed_tries_no_pair_again(faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = searched(params.check(content()), faces, splits, tmp_path)
    monkeypatch.setattr(module.Trials, "_tried", lambda *_: pytest.fail("a trial has begun"))
    more = params.check(content() | {"compare": {"methods": [], "backbones": [], "seeds": [1]}})
    initialise(more, tmp_path / "models" / "scratch")
    pd.testing.assert_frame_equal(searched(more, faces, splits, tmp_path).table, first.table)


def test_a_fold_without_validation_pictures_stops_before_the_first_trial(faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    gone = splits[(splits["fold"] != 1) | (splits["role"] != "validation")]
    with pytest.raises(TrainingError, match=r"search\.tuned decides by validation pictures, and fold 1 of sample_fgnet has none"):
        searched(params.check(content()), faces, gone, tmp_path)
