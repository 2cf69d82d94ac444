"""Every stage with independent work gives on a Dask cluster of two processes the bytes that it gives on this machine."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import explain as explain_stage
import features as features_stage
import search as search_stage
from agecascade import params
from agecascade.archives import open_archives
from agecascade.datasets import reader
from agecascade.datasets.cleaning import clean
from agecascade.errors import ComputeError
from agecascade.explain import study
from agecascade.faces.align import align
from agecascade.features import Features, extraction
from agecascade.io import compute as module
from agecascade.io.yaml_text import dump_yaml
from agecascade.loading.shared import SharedFaces
from agecascade.params import Align, Clean, Compute, Params
from agecascade.regressors import create_regressor
from agecascade.regressors.folds import fit_folds
from agecascade.training import cascade, search
from agecascade.training.cascade import train_stage
from agecascade.training.initial_weights import initialise
from agecascade.training.on_workers import StepFiles
from aligned_parts import write_part
from clusters import cluster as cluster  # a fixture
from images import picture
from places import sample_params

STEP = "target_from_scratch"
COUNT = 24


def contents(folder: Path) -> dict[str, str]:
    """{path: digest of its bytes} of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def twice(run: Callable[[Compute, Path], object], cluster: Compute, root: Path) -> None:
    """The stage leaves the same files in both folders, and some."""
    for name, compute in (("here", Compute()), ("there", cluster)):
        (root / name).mkdir()
        run(compute, root / name)
    here, there = contents(root / "here"), contents(root / "there")
    assert here == there
    assert here


def never_here(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """From now on the function is called on workers alone: they are processes of their own."""
    monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail(f"{name} runs here"))


def archive_of_pictures(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(40):
            archive.writestr(f"{i}_Name{i % 7}_{i}_f.jpg", picture(seed=i) if i % 9 else b"")
    return path


def test_clean_and_align(cluster: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agecascade.datasets.cleaning.BATCH_PICTURES", 8)
    path = archive_of_pictures(tmp_path / "set.zip")

    def run(compute: Compute, folder: Path) -> None:
        files = {"manifest": folder / "manifest.parquet", "rejects": folder / "rejects.parquet", "work": tmp_path / f"work-{folder.name}"}
        settings = Align(size=16, part_pictures=16)
        with open_archives(path) as archive:
            counts = clean(archive, reader("agedb"), Clean(high=50.0, max_reject_rate=1.0), {}, name="agedb", compute=compute, **files)
            align(archive, files["manifest"], settings, "whole", folder / "aligned", compute, files["work"])
        assert counts["rejected"]["empty_file"] == 5

    twice(run, cluster, tmp_path)


def test_regressors(cluster: Compute, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    label = random.integers(0, 70, COUNT).astype(float)
    features = Features(np.array([f"p{i}" for i in range(COUNT)], object), random.random((COUNT, 5), np.float32), label)
    roles = np.array(["train"] * 12 + ["validation"] * 4 + ["test"] * 8)
    split = pd.concat([pd.DataFrame({"sample_id": features.sample_id, "fold": k, "role": np.roll(roles, 8 * k)}) for k in range(3)])

    def run(compute: Compute, folder: Path) -> None:
        predictions, choices, _ = fit_folds(
            features, split, create_regressor("svr", {"C": [0.1, 1.0]}, 0, defaults={"sigma": 2.0}), compute
        )
        pq.write_table(predictions, folder / "predictions.parquet")
        choices.to_csv(folder / "choices.csv")

    twice(run, cluster, tmp_path)


def small_study(compute: Compute) -> dict[str, Any]:
    content = sample_params()
    content |= {"image_size": 32, "compute": compute.model_dump(), "augment": "daa"}
    content["features"] = {"agedb": {"dataset": "sample_fgnet", "step": "scratch"}}
    for step in [*content["cascade"].values(), *content["pretrain"].values()]:
        step |= {"epochs": 2, "batch_size": 8}
    return content


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one data set: aligned faces, their split into two folds, and fresh weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    random = np.random.default_rng(0)
    label: list[float | None] = [float(age) for age in np.linspace(0, 69, COUNT).round()]
    for folder in ("data/aligned", "data/splits"):
        Path(folder).mkdir(parents=True)
    write_part(Path("data/aligned/sample_fgnet"), 0, random.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8), label, [2.0] * COUNT)
    roles = np.array(["train"] * 12 + ["validation"] * 4 + ["test"] * 8)
    ids = [f"0-{i}" for i in range(COUNT)]
    folds = [pd.DataFrame({"sample_id": ids, "fold": fold, "role": np.roll(roles, 8 * fold)}) for fold in range(2)]
    pd.concat(folds, ignore_index=True).to_parquet("data/splits/sample_fgnet.parquet")
    initialise(params.check(small_study(Compute())), Path("models/scratch"))
    return tmp_path


INPUTS = (Path("data/aligned/sample_fgnet"), Path("data/splits/sample_fgnet.parquet"), Path("models"))


def trained(settings: Params, folder: Path) -> None:
    """Train the step as the stage does, into a folder, tracked nowhere."""
    train_stage(settings, STEP, *INPUTS, folder / "models", folder / "predictions", folder.parent / f"work-{folder.name}")


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the runs that the stage opens, in place of MLflow's."""
    titles: list[str] = []

    class Silent(cascade.Tracker):
        def __init__(self, study: str, stage: str) -> None:
            super().__init__(study, stage)
            self.lost = True

        def model_run(self, name: str, *arguments: Any, **options: Any) -> Any:
            titles.append(name)
            return super().model_run(name, *arguments, **options)

    monkeypatch.setattr(cascade, "Tracker", Silent)
    return titles


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_folds_of_a_step(backend: Any, cluster: Compute, data: Path, untracked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(compute: Compute, folder: Path) -> None:
        if compute.backend != "local":
            never_here(monkeypatch, cascade, "train_fold")
        trained(params.check(small_study(compute)), folder)

    twice(run, cluster if backend == "dask" else Compute(backend="ray"), data)
    half = len(untracked) // 2
    assert sorted(untracked[:half]) == sorted(untracked[half:])  # threads begin in any order
    assert untracked.count(f"{STEP}/dldl_v2-tinyagenet-s0/fold1") == 2


@pytest.mark.slow
def test_a_fold_that_an_interrupted_step_finished_is_not_trained_again(
    cluster: Compute, data: Path, untracked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was trained here or there; the checkpoint of the other goes on there."""
    train_fold, begun = cascade.train_fold, []

    def interrupted(job: Any, *arguments: Any, **options: Any) -> None:
        begun.append(job.fold)
        if job.fold:
            raise KeyboardInterrupt
        train_fold(job, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(cascade, "train_fold", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(params.check(small_study(Compute(workers=1))), data / "there")
    assert begun == [0, 1]
    sent: list[int] = []

    def counted(function: Any, items: list[Any], *arguments: Any, **options: Any) -> Any:
        sent.extend(item.job.fold for item in items)
        return module.ordered(function, items, *arguments, **options)

    monkeypatch.setattr(cascade, "ordered", counted)
    (data / "there").mkdir(exist_ok=True)
    trained(params.check(small_study(cluster)), data / "there")
    assert sent == [1]
    trained(params.check(small_study(Compute())), data / "here")
    assert contents(data / "here") == contents(data / "there")


def killed_once(function: Callable[[Any], Any], work: Path) -> Callable[[Any], Any]:
    """The function, whose first process is killed as soon as there is a checkpoint."""
    marker = work.parent / "killed"

    def run(item: Any) -> Any:
        import os
        import signal
        import threading
        import time

        def watch() -> None:
            while not list(work.glob("*.state/checkpoint.pt")):
                time.sleep(0.001)
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        if not marker.exists():
            threading.Thread(target=watch, daemon=True).start()
        return function(item)

    return run


@pytest.mark.slow
def test_a_training_whose_worker_dies_goes_on_behind_its_checkpoint(
    cluster: Compute, data: Path, untracked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = small_study(cluster)
    content["cascade"][STEP] |= {"epochs": 40}
    with monkeypatch.context() as patch:
        patch.setattr(cascade, "ordered", lambda work, *rest, **more: module.ordered(killed_once(work, data / "work-there"), *rest, **more))
        (data / "work-there").mkdir()
        trained(params.check(content), data / "there")
    assert (data / "killed").exists()
    trained(params.check(content | {"compute": Compute().model_dump()}), data / "here")
    assert contents(data / "here") == contents(data / "there")


def stage_outputs(
    main: Callable[[str], None], name: str, outputs: list[str], monkeypatch: pytest.MonkeyPatch, there: tuple[Any, str]
) -> Callable[[Compute, Path], None]:
    """Run a stage's script in the repository and move what it wrote into the folder; there: the function that workers call."""

    def run(compute: Compute, folder: Path) -> None:
        if compute.backend != "local":
            never_here(monkeypatch, *there)
        content = small_study(compute)
        content["search"] = {"tuned": {"step": STEP, "dataset": "sample_fgnet", "init": "scratch", "learning_rates": [0.01, 0.001]}}
        content["search"]["tuned"] |= {"batch_sizes": [6], "folds": 2}
        content["cascade"][STEP] |= {"init": "tuned", "learning_rate": "search", "batch_size": "search"}
        content["explain"] = {"agedb": {"dataset": "sample_fgnet", "step": STEP, "layer": "block3", "pictures": 12}}
        Path("params.yaml").write_text(dump_yaml(content))
        main(name)
        for output in outputs:
            (folder / output).parent.mkdir(parents=True, exist_ok=True)
            Path(output).rename(folder / output)
        for kept in Path(".agecascade").glob("work/*"):  # else the second run finds what the first has finished
            kept.rename(folder.parent / f"{folder.name}-{kept.name}") if kept.is_dir() else kept.unlink()

    return run


def test_features(cluster: Compute, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice(
        stage_outputs(features_stage.main, "agedb", ["data/features/agedb.parquet"], monkeypatch, (extraction, "network_features")),
        cluster,
        data,
    )


@pytest.mark.slow
def test_search(cluster: Compute, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_stage, "log_run", lambda *_, **__: None)
    twice(
        stage_outputs(search_stage.main, "tuned", ["models/tuned", "data/search/tuned.csv"], monkeypatch, (search, "train")), cluster, data
    )


@pytest.mark.slow
def test_explanations(cluster: Compute, data: Path, untracked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trained(params.check(small_study(Compute())), data / "trained")
    (data / "trained/models").rename(data / "models" / STEP)
    twice(
        stage_outputs(
            explain_stage.main, "agedb", ["metrics/explain/agedb.json", "plots/explain/agedb"], monkeypatch, (study, "predict_values")
        ),
        cluster,
        data,
    )


def test_a_training_is_sent_without_its_pictures(data: Path) -> None:
    content = params.check(small_study(Compute(backend="dask")))
    files = StepFiles.of(*INPUTS[:2], data / "work", 32, content.compute)
    assert files is not None
    faces, folds = files.faces.load(), dict(list(pd.read_parquet(INPUTS[1]).groupby("fold")))
    job = next(cascade.jobs_of(content, STEP, faces, pd.concat(folds.values()), Path("models").resolve()))
    assert job.card
    sent = len(pickle.dumps(cascade.Sent(job, "x" * 60))) + len(pickle.dumps(files))
    assert sent < 16_000


def test_a_worker_that_does_not_see_the_same_files_says_so(cluster: Compute, data: Path) -> None:
    shared = SharedFaces.of(INPUTS[0], 32, 1.0)
    part = next(INPUTS[0].glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-8] + b"x" + part.read_bytes()[-8:])
    with pytest.raises(ComputeError, match=r"the worker on \S+ does not see .*sample_fgnet as this stage does; .* a file system that all"):
        list(module.ordered(lambda item: len(shared.load()), [0], cluster, alone=True))


def test_a_worker_with_other_code_says_so(cluster: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "code_digest_of_all", lambda: "of another commit")
    with pytest.raises(ComputeError, match=r"the worker on \S+ runs other code or libraries than this stage; start the workers again"):
        list(module.ordered(lambda item: item, [0], cluster))


def test_a_stage_s_workers_use_the_threads_that_a_call_is_given(cluster: Compute) -> None:
    def threads(item: int) -> int:

        return torch.get_num_threads()

    import torch

    list(module.ordered(threads, range(2), cluster))  # imports torch there
    assert set(module.ordered(threads, range(4), cluster)) == {1}
    with pytest.raises(ComputeError, match=r"compute\.threads: 2, but the Dask worker \S+ has 1; start workers with --nthreads 2"):
        list(module.ordered(threads, range(2), cluster, threads=2))
