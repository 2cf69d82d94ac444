"""A step of the cascade on tiny data: what starts from what, what is written, what an interruption leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from agecascade import model_folder, params
from agecascade.errors import ModelError, TrainingError
from agecascade.io.resume import ResumeCache
from agecascade.loading import Faces
from agecascade.model_card import Learned
from agecascade.model_folder import describe, find_model, read_card
from agecascade.params import Params, Row
from agecascade.schema import PREDICTIONS
from agecascade.training import cascade
from agecascade.training.cascade import train_step
from agecascade.training.initial_weights import initialise
from agecascade.training.loop import NetworkTraining
from places import sample_params
from small_sets import random_faces, rolled_splits
from trained_step import silent_tracker, trained


@pytest.fixture
def study() -> Params:
    content = sample_params()
    content |= {
        "image_size": 32,
        "compute": {"backend": "local", "workers": 1},
        "compare": {"methods": ["dex"], "backbones": [], "seeds": []},
    }
    for step in [*content["cascade"].values(), *content["pretrain"].values()]:
        step |= {"epochs": 1, "batch_size": 8}
    return params.check(content)


@pytest.fixture
def faces() -> Faces:
    return random_faces(sigma="mixed")


@pytest.fixture
def splits(faces: Faces) -> pd.DataFrame:
    return rolled_splits(faces)


def require_released(work: Path) -> None:
    """Nothing begun or in use is left of a step that is complete: finished trainings and their locks alone."""
    assert {path.suffix for path in work.iterdir()} <= {"", ".lock"}
    assert not [path for path in work.iterdir() if path.name.startswith(".") or "-features-" in path.name]
    assert all((work / path.stem).is_dir() for path in work.glob("*.lock"))


def test_a_step_writes_models_and_test_predictions_of_every_fold(study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    folder = trained(study, "target_from_scratch", faces, splits, tmp_path)
    names = [f"{method}-tinyagenet-s0/fold{fold}" for method in ("dex", "dldl_v2") for fold in (0, 1)]
    assert sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("model.json")) == names
    table = pq.read_table(tmp_path / "predictions" / "target_from_scratch" / "dldl_v2-tinyagenet-s0.parquet")
    assert table.schema.equals(PREDICTIONS)
    frame = table.to_pandas()
    tested = splits[splits["role"] == "test"]
    assert list(zip(frame["sample_id"], frame["fold"], strict=True)) == list(zip(tested["sample_id"], tested["fold"], strict=True))
    assert frame["label_sigma"].isna().sum() == np.isnan(faces.sigma[[int(name[1:]) for name in frame["sample_id"]]]).sum()
    readme = (folder / "dldl_v2-tinyagenet-s0" / "README.md").read_text(encoding="utf-8")
    assert "2 networks, one for each fold" in readme
    assert f"datasets:\n- {study.cascade['target_from_scratch'].dataset}\n---" in readme
    digests = json.loads(table.schema.metadata[b"models"])
    assert digests["1"] == model_folder.model_digest(folder / "dldl_v2-tinyagenet-s0" / "fold1")
    require_released(tmp_path / "work")


def test_predictions_of_validation_pictures_stand_apart(study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    """No reader of a step's files takes them for test predictions, and their model gives the same values in use."""
    folder = trained(study, "target_from_scratch", faces, splits, tmp_path)
    predictions = tmp_path / "predictions" / "target_from_scratch"
    assert sorted(path.name for path in predictions.glob("*.parquet")) == ["dex-tinyagenet-s0.parquet", "dldl_v2-tinyagenet-s0.parquet"]
    table, tested = (pq.read_table(path / "dldl_v2-tinyagenet-s0.parquet") for path in (predictions / "validation", predictions))
    assert table.schema.equals(PREDICTIONS)
    known, of_tests = ({key.decode(): json.loads(text) for key, text in each.schema.metadata.items()} for each in (table, tested))
    assert (known.pop("role"), of_tests.pop("role")) == ("validation", "test")
    assert known == {key: content for key, content in of_tests.items() if key != "coverage"}
    frame = table.to_pandas()
    expected = splits[splits["role"] == "validation"]
    assert list(zip(frame["sample_id"], frame["fold"], strict=True)) == list(zip(expected["sample_id"], expected["fold"], strict=True))
    assert frame[["low", "high", "low_95", "high_95"]].isna().all().all()
    for fold, part in frame.groupby("fold"):
        card = model_folder.read_card(folder / "dldl_v2-tinyagenet-s0" / f"fold{fold}")
        assert card.validation is not None
        assert card.validation["validation_mae"] == pytest.approx((part["prediction"] - part["label"]).abs().mean())


def test_a_row_ends_the_same_alone_as_in_a_comparison_whatever_the_workers(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path
) -> None:
    """A comparison's rows train side by side, a row alone has all workers to itself: their threads would round otherwise."""
    one_fold = splits[splits["fold"] == 0]
    weights = []
    for methods, workers in ((["dex"], 2), ([], 2), ([], 4)):
        others = {"compare": study.compare.model_copy(update={"methods": methods}), "compute": params.Compute(workers=workers)}
        models = trained(study.model_copy(update=others), "target_from_scratch", faces, one_fold, tmp_path / f"{len(weights)}")
        weights.append((models / "dldl_v2-tinyagenet-s0" / "fold0" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] == weights[2]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"sigma": None, "compare": {"methods": ["dldl_v2"]}},
            r"target_from_scratch: dldl_v2 needs a sigma, and 12 pictures have none, p00",
        ),
        (
            {"daa": {"templates": "multi_channel"}, "compare": {"methods": ["daa"]}},
            r"no training picture has a label of .*set daa\.nearest: true",
        ),
    ],
)
def test_what_a_later_row_lacks_is_said_before_the_first_trains(
    study: Params,
    faces: Faces,
    splits: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict,
    said: str,
) -> None:
    monkeypatch.setattr(cascade, "train_fold", lambda *_, **__: pytest.fail("a training has begun"))
    wanted = params.check(study.model_dump(by_alias=True) | {"method": "dex"} | changed)
    with pytest.raises(TrainingError, match=said):
        trained(wanted, "target_from_scratch", faces, splits, tmp_path)


def test_the_card_tells_all_that_use_needs(study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    folder = trained(study, "target_from_scratch", faces, splits, tmp_path)
    network, method, card = model_folder.load(folder / "dldl_v2-tinyagenet-s0" / "fold1")
    assert (card.fold, card.chain, card.outputs, card.image_size) == (1, ["target_from_scratch"], 70, 32)
    assert card.interval is not None
    assert card.interval.scaled
    assert card.interval.quantile > 0
    assert card.validation is not None
    assert card.validation["validation_pictures"] == 4
    assert card.trained_on == [Learned("target_from_scratch", "sample_fgnet", 12, drawn=True)]
    assert (
        "- learned from: sample_fgnet (12 pictures, drawn by a program)\n" in (folder / "dldl_v2-tinyagenet-s0" / "README.md").read_text()
    )
    assert not network.training
    assert method.outputs == 70


@pytest.mark.parametrize(
    ("trained_with", "detector"), [("annotation", "yunet"), ("whole", "yunet"), ("yunet", "yunet"), ("retinaface", "retinaface")]
)
@pytest.mark.parametrize("step", ["faces", "target"])
def test_the_card_tells_how_faces_are_found_in_training_and_in_use(study: Params, step: str, trained_with: str, detector: str) -> None:
    content = study.model_dump(by_alias=True)
    content["align"] |= {
        "crop": "box",
        "margin": 0.4,
        "detection": {
            "network": "mobilenet0.25",
            "runtime": "onnxruntime",
            "min_score": 0.6,
            "max_side": 320,
            "pyramid": 1,
            "rotations": [90.0],
            "scales": [0.5],
        },
    }
    for dataset in content["datasets"].values():
        dataset["detector"] = trained_with
    crop = describe(params.check(content), step, study.rows[0], [0.0, 1.0], 0).crop
    assert (crop.detector, crop.trained_with, crop.crop, crop.margin) == (detector, trained_with, "box", 0.4)
    assert crop.detection == content["align"]["detection"]


def test_weights_go_on_from_init_and_the_head_only_on_the_same_grid(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_fold = splits[splits["fold"] == 0]
    content = study.model_dump(by_alias=True)
    for step in [*content["cascade"].values(), *content["pretrain"].values()]:
        step["epochs"] = 0  # what comes in must come out
    still = params.check(content)
    for step in ("faces", "imdb", "agedb", "target"):
        trained(still, step, faces, one_fold if step != "target" else splits, tmp_path)
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "begins anew" in line]  # one, though there are folds
    assert said.startswith("target: the head of agedb is not kept and begins anew, for its grid is 0 to 100 (101 labels), and that of ")
    assert said.endswith(" is 0 to 69 (70 labels); to keep it, give both data sets one `grid`")
    weights = {step: model_folder.read_weights(next((tmp_path / "models" / step).rglob("fold0"))) for step in ("scratch", "faces")}
    weights |= {
        step: model_folder.read_weights(tmp_path / "models" / step / "dex-tinyagenet-s0" / "fold0") for step in ("imdb", "agedb", "target")
    }
    backbone = [name for name in weights["scratch"] if name.startswith("backbone.")]
    assert backbone
    for step in ("faces", "imdb", "agedb", "target"):
        assert all(torch.equal(weights["scratch"][name], weights[step][name]) for name in backbone), step
    assert weights["faces"]["head.weight"].shape == (4, 128)
    assert torch.equal(weights["imdb"]["head.weight"], weights["agedb"]["head.weight"])
    assert weights["target"]["head.weight"].shape == (70, 128)
    learned = model_folder.read_card(tmp_path / "models" / "target" / "dex-tinyagenet-s0" / "fold0").trained_on
    assert learned is not None
    assert [one.step for one in learned] == ["faces", "imdb", "agedb", "target"]
    assert [one.dataset for one in learned] == [{**still.pretrain, **still.cascade}[one.step].dataset for one in learned]


def test_an_interrupted_step_keeps_finished_folds(
    study: Params,
    faces: Faces,
    splits: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    undisturbed = trained(study, "target_from_scratch", faces, splits, tmp_path / "undisturbed")
    real, started = cascade.train_fold, []

    def killed(job: object, *arguments: object, **options: object) -> None:
        started.append(job)
        if len(started) == 3:
            raise KeyboardInterrupt
        real(job, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cascade, "train_fold", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(study, "target_from_scratch", faces, splits, tmp_path)
    assert not (tmp_path / "models" / "target_from_scratch").exists()
    capsys.readouterr()
    folder = trained(study, "target_from_scratch", faces, splits, tmp_path)
    assert len(started) == 3 + 2  # the third again, and the fourth
    third, fourth = [line for line in capsys.readouterr().err.splitlines() if ": epoch 1 of 1, loss " in line]
    assert "; 75% of target_from_scratch, " in third  # two of the four were there
    assert "; 100% of target_from_scratch, " in fourth
    for path in undisturbed.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (folder / path.relative_to(undisturbed)).read_bytes(), path


def test_an_interrupted_fold_goes_on_behind_its_last_epoch(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = study.model_dump(by_alias=True) | {"compare": {"methods": [], "backbones": [], "seeds": []}}
    content["cascade"]["target_from_scratch"] |= {"epochs": 3, "ema": 0.9, "select": "best"}
    longer = params.check(content)
    undisturbed = trained(longer, "target_from_scratch", faces, splits, tmp_path / "undisturbed")
    real, epochs = NetworkTraining.end_epoch, [0]

    def killed(self: NetworkTraining) -> None:
        epochs[0] += 1
        if epochs[0] in (3, 6):  # the third epoch of each fold, or what comes next
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(NetworkTraining, "end_epoch", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trained(longer, "target_from_scratch", faces, splits, tmp_path)
        assert len(list((tmp_path / "work").glob("*.state"))) == 1
    more = longer.model_copy(update={"compute": params.Compute(workers=2)})  # is no reason to start anew
    folder = trained(more, "target_from_scratch", faces, splits, tmp_path)
    assert epochs[0] == 6 + 2  # each fold's three epochs, and two that were interrupted
    for path in undisturbed.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (folder / path.relative_to(undisturbed)).read_bytes(), path
    require_released(tmp_path / "work")


def test_a_changed_param_starts_anew_and_forgets_what_was_begun(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = NetworkTraining.end_epoch

    def killed(self: NetworkTraining) -> None:
        real(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(NetworkTraining, "end_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(study, "target_from_scratch", faces, splits, tmp_path)
    monkeypatch.setattr(NetworkTraining, "end_epoch", real)
    content = study.model_dump(by_alias=True)
    content["cascade"]["target_from_scratch"]["learning_rate"] = 3e-3
    changed = params.check(content)
    folder = trained(changed, "target_from_scratch", faces, splits, tmp_path)
    expected = trained(changed, "target_from_scratch", faces, splits, tmp_path / "undisturbed")
    name = "dldl_v2-tinyagenet-s0/fold0/model.safetensors"
    assert (folder / name).read_bytes() == (expected / name).read_bytes()
    require_released(tmp_path / "work")


def test_an_unknown_block_stops_before_training(study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    content = study.model_dump(by_alias=True)
    content["cascade"]["target_from_scratch"]["trainable"] = "from:block9"
    with pytest.raises(ModelError, match="trainable: unknown block 'block9'; did you mean"):
        trained(params.check(content), "target_from_scratch", faces, splits, tmp_path)


def test_weights_of_another_backbone_are_named(study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    thin = params.check(study.model_dump(by_alias=True) | {"backbone": "thinagenet"})
    initialise(thin, tmp_path / "models" / "scratch")
    scratch = tmp_path / "models" / "scratch"
    (scratch / "scratch-thinagenet-s0").rename(scratch / "scratch-tinyagenet-s0")
    with pytest.raises(ModelError, match="holds a thinagenet, step target_from_scratch trains a tinyagenet; see its init"):
        trained(study, "target_from_scratch", faces, splits, tmp_path)


def test_a_piece_is_made_once_and_never_half(tmp_path: Path) -> None:
    resume = ResumeCache(tmp_path)

    def fails(folder: Path) -> None:
        (folder / "half").write_text("written")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        resume.entry("a", fails)
    assert not (tmp_path / "a").exists()
    made = resume.entry("a", lambda folder: (folder / "whole").touch())
    assert resume.entry("a", fails) == made
    resume.clear()
    assert not any(tmp_path.iterdir())


def test_a_piece_stays_while_any_run_uses_it(tmp_path: Path) -> None:
    first, second, shared = ResumeCache(tmp_path), ResumeCache(tmp_path), [f"target-row-{letter * 24}" for letter in "ab"]
    for name in shared:
        first.entry(name, lambda folder: (folder / "whole").touch())
    second.entry(shared[0], lambda folder: pytest.fail("made twice"))
    second.entry(f"target-row-{'c' * 24}", lambda folder: None)
    second.forget("target-row")  # of another experiment with the same row
    assert all((tmp_path / name / "whole").exists() for name in shared)
    first.clear()
    assert (tmp_path / shared[0] / "whole").exists()
    assert not (tmp_path / shared[1]).exists()
    second.clear()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["faces", "target_from_scratch"])
def test_studies_that_differ_in_their_name_alone_share_a_training(
    study: Params, step: str, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = study.model_copy(update={"study": "another"})
    expected = trained(named, step, faces, splits, tmp_path / "alone")
    first = trained(study, step, faces, splits, tmp_path)
    cards = [path.read_bytes() for path in sorted(first.rglob("model.json"))]
    monkeypatch.setattr(NetworkTraining, "end_epoch", lambda self: pytest.fail("trained again"))
    predictions = tmp_path / "predictions" / "another" if step in study.cascade else None
    train_step(named, step, faces, splits, tmp_path / "models", tmp_path / "another", predictions, silent_tracker(), tmp_path / "work")
    for path in expected.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "another" / path.relative_to(expected)).read_bytes(), path
    assert {read_card(path.parent).study for path in (tmp_path / "another").rglob("model.json")} == {"another"}
    assert [path.read_bytes() for path in sorted(first.rglob("model.json"))] == cards  # the first study's are its own still


def test_experiments_side_by_side_leave_each_other_their_trainings(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run --queue -S lambda=0.1,10`, two at once: the second trains the same rows while the first holds finished ones."""
    deliver = cascade._deliver
    other = params.check(study.model_dump(by_alias=True) | {"lambda": 10.0})

    def after_another(*arguments: object) -> None:
        monkeypatch.setattr(cascade, "_deliver", deliver)
        predictions = tmp_path / "other" / "predictions"
        models = tmp_path / "models"
        train_step(
            other, "target_from_scratch", faces, splits, models, tmp_path / "other", predictions, silent_tracker(), tmp_path / "work"
        )
        deliver(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cascade, "_deliver", after_another)
    ours = trained(study, "target_from_scratch", faces, splits, tmp_path)
    assert len(list(ours.rglob("model.json"))) == len(list((tmp_path / "other").rglob("model.json"))) == 4
    require_released(tmp_path / "work")


def test_a_piece_of_a_killed_run_is_forgotten(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from agecascade.io.resume import ResumeCache
ResumeCache(Path({str(tmp_path)!r})).entry("target-row-{"a" * 24}", lambda folder: None)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert any(tmp_path.glob("*.used"))
    ResumeCache(tmp_path).forget("target-row")
    assert not any(tmp_path.iterdir())


def test_labels_outside_the_grid_stop_before_training(study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    faces.label[3] = 70
    with pytest.raises(TrainingError, match=r"sample_fgnet: the grid 0..69 does not cover 1 labels, 70 of p03"):
        trained(study, "target_from_scratch", faces, splits, tmp_path)


def test_a_fold_without_training_pictures_stops_before_training(study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path) -> None:
    gone = splits[(splits["fold"] == 0) | (splits["role"] != "train")]
    with pytest.raises(TrainingError, match="fold 1 of sample_fgnet has no train picture"):
        trained(study, "target_from_scratch", faces, gone, tmp_path)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"select": "best"}, "select: best"),
        ({"schedule": {"name": "plateau"}}, "schedule: plateau"),
        ({"early_stopping": 1}, "early"),
    ],
)
def test_what_decides_by_validation_pictures_needs_some_before_training(
    study: Params, faces: Faces, splits: pd.DataFrame, tmp_path: Path, changes: dict, setting: str
) -> None:
    gone = splits[(splits["fold"] == 0) | (splits["role"] != "validation")]
    content = study.model_dump(by_alias=True)
    content["cascade"]["target_from_scratch"] |= changes
    with pytest.raises(TrainingError, match=f"{setting}.* decides by validation pictures; fold 1 of sample_fgnet has none"):
        trained(params.check(content), "target_from_scratch", faces, gone, tmp_path)


def test_a_copy_beside_the_fold_is_no_fold(tmp_path: Path) -> None:
    for name in ("fold0", "fold0_backup"):
        (tmp_path / "dldl_v2-tinyagenet-s0" / name).mkdir(parents=True)
    assert find_model(tmp_path, Row("dldl_v2", "tinyagenet", 0), 1).name == "fold0"  # a step with one fold serves all later ones


def test_a_missing_or_foreign_model_is_named(study: Params, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model of dldl_v2-tinyagenet-s0; run its stage again"):
        find_model(tmp_path / "models" / "imdb", Row("dldl_v2", "tinyagenet", 0), 0)
    for fold in (0, 1):
        (tmp_path / "imdb" / "dldl_v2-tinyagenet-s0" / f"fold{fold}").mkdir(parents=True)
    assert find_model(tmp_path / "imdb", Row("dldl_v2", "tinyagenet", 0), 1).name == "fold1"
    with pytest.raises(ModelError, match="has 2 folds but not the one asked for"):
        find_model(tmp_path / "imdb", Row("dldl_v2", "tinyagenet", 0), 2)
