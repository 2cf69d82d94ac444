"""Trainings side by side, and several processes that train one network: the same results as one after the other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from agecascade import params
from agecascade.errors import TrainingError
from agecascade.params import Compute
from agecascade.training import parallel
from agecascade.training.jobs import Job
from agecascade.training.parallel import Processes, side_by_side
from places import ROOT, sample_params
from project import STEP, finish, prepare, results, start


def jobs(*backbones: str, folds: int) -> list[Job]:
    content = sample_params()
    study = params.check(content | {"image_size": 224})
    rows = [study.rows[0]._replace(backbone=backbone) for backbone in backbones]
    return [Job(study, STEP, row, study.cascade[STEP], [0.0, 1.0], fold, Path()) for row in rows for fold in range(folds)]


class Drawing:
    """Draws of torch's random state as a network with dropout does, and counts how many jobs run at once."""

    def __init__(self) -> None:
        self.lock, self.running, self.most = Lock(), 0, 0

    def __call__(self, work: Job | list[Job]) -> list[float]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        torch.manual_seed(work[0].fold if isinstance(work, list) else work.fold)
        drawn = []
        for _ in range(5):
            time.sleep(0.01)
            drawn.append(torch.rand(1).item())
        with self.lock:
            self.running -= 1
        return drawn


@pytest.fixture(autouse=True)
def _a_processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("grouped", [False, True])
def test_networks_with_dropout_train_one_after_the_other(grouped: bool) -> None:
    work = jobs("vgg16_512_256", folds=4)
    expected = [Drawing()(job) for job in work]
    drawing = Drawing()
    compute = Compute(workers=2)
    units = [[job] for job in work]
    results = side_by_side(drawing, units, compute, Processes()) if grouped else side_by_side(drawing, work, compute, Processes())
    assert results == expected
    assert drawing.most == 1


def test_networks_without_any_train_side_by_side() -> None:
    drawing = Drawing()
    assert len(side_by_side(drawing, jobs("vgg16_nofc", folds=4), Compute(workers=2), Processes())) == 4
    assert drawing.most == 2


def test_results_come_in_the_order_of_the_jobs_and_those_that_draw_come_last() -> None:
    work = jobs("vgg16_512_256", "tinyagenet", folds=2)
    begun: list[str] = []

    def finish(job: Job) -> str:
        begun.append(job.row.backbone)
        return job.name

    results = side_by_side(finish, work, Compute(workers=4), Processes())
    assert results == [job.name for job in work]
    assert begun == ["tinyagenet"] * 2 + ["vgg16_512_256"] * 2
    assert side_by_side(finish, [], Compute(), Processes()) == []


@pytest.mark.parametrize(("workers", "threads", "at_once"), [(4, 1, 4), (4, 2, 2), (5, 2, 2), (2, 4, 1)])
def test_each_has_the_threads_of_compute_whatever_runs_beside_it(workers: int, threads: int, at_once: int) -> None:
    compute, had = Compute(workers=workers, threads=threads), []
    drawing = Drawing()

    def finish(job: Job) -> list[float]:
        had.append(torch.get_num_threads())
        return drawing(job)

    work = jobs("tinyagenet", folds=5)
    side_by_side(finish, work, compute, Processes())
    assert drawing.most == at_once
    side_by_side(finish, work[:1], compute, Processes())
    assert had == [threads] * 6


LOCAL = ("fabric", "run", "--accelerator=cpu", "--devices=2")  # as docs/how_to/cluster.md says

# A network without batch norm, which would see half the batch: seven epochs of three batches, of 17, 17 and 16 pictures.
SCRIPT = """
import sys
import torch
from torch import nn
from brightness import AGES, CHANNELS, network, recipe, samples
from agecascade import methods
from agecascade.augmentation import Augmenter
from agecascade.params import Augment
from agecascade.training import parallel
from agecascade.training.loop import train

together = parallel.start(int(sys.argv[1]))
torch.set_num_threads(1)
learned = network().double()
layers = learned.backbone.layers
for index, layer in enumerate(layers):
    if isinstance(layer, nn.BatchNorm2d):
        layers[index] = nn.Identity()
off = Augmenter(Augment(flip=0.0, gray=0.0, downscale=1.0, rotation=0.0, jitter=0.0), CHANNELS)
settings = recipe(epochs=7, learning_rate=1e-4, class_weights="inverse", gradient_clip=1.0, ema=0.9)
method = methods.create("dldl_v2", AGES.double())
history = list(train(learned, method, samples(50), samples(9, seed=1), settings, off, seed=[1], processes=together))
if together.rank == 0:
    assert together.size == int(sys.argv[1])
    torch.save({"weights": learned.state_dict(), "loss": [[r["loss"], r["validation_loss"]] for r in history]}, sys.argv[2])
"""


def test_one_process_agrees_with_itself() -> None:
    alone = parallel.start()
    assert (alone.rank, alone.size, alone.agree(3)) == (0, 1, 3)
    np.testing.assert_array_equal(alone.share(np.arange(5)), np.arange(5))
    assert "lightning_fabric" not in sys.modules or os.environ.get("LT_CLI_USED")


def test_shares_are_the_batch() -> None:
    parts = []
    for rank in range(3):
        process = Processes()
        process.rank, process.size = rank, 3
        parts.append(process.share(np.arange(10)))
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(np.concatenate(parts)) == list(range(10))


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainingError, match=r"compute\.devices: 4, and this machine has 2 GPUs"):
        parallel.start(4)


@pytest.mark.slow
def test_two_processes_follow_one(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests' / 'support'}", "OMP_NUM_THREADS": "1"}
    saved = []
    for devices in (1, 2):
        out = tmp_path / f"{devices}.pt"
        command = [sys.executable, str(tmp_path / "script.py"), str(devices), str(out)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert ended.returncode == 0, ended.stderr[-4000:]
        saved.append(torch.load(out, weights_only=True))
    one, two = saved
    assert one["weights"].keys() == two["weights"].keys()
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], tensor, rtol=0, atol=1e-9)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=0, atol=1e-9)


@pytest.mark.slow
def test_fabric_run_trains_a_stage_on_two_local_processes(tmp_path: Path) -> None:
    prepare(tmp_path, epochs=2)
    finish(start(tmp_path, *LOCAL))
    names = sorted(results(tmp_path))
    assert names == sorted(
        [f"data/predictions/{STEP}/{place}dldl_v2-tinyagenet-s0.parquet" for place in ("", "validation/")]
        + [f"models/{STEP}/dldl_v2-tinyagenet-s0/README.md"]
        + [
            f"models/{STEP}/dldl_v2-tinyagenet-s0/fold{fold}/{name}"
            for fold in (0, 1)
            for name in ("history.csv", "model.json", "model.safetensors")
        ]
    )
    table = pq.read_table(tmp_path / f"data/predictions/{STEP}/dldl_v2-tinyagenet-s0.parquet")
    assert table.num_rows == 2 * 24
    assert {path.suffix for path in (tmp_path / ".agecascade" / "work").iterdir()} <= {"", ".lock"}  # finished trainings alone


@pytest.mark.slow
def test_devices_as_a_param_start_the_processes_and_killed_ones_go_on(tmp_path: Path) -> None:
    prepare(tmp_path, epochs=8)
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("devices: 1", "devices: 2"))
    assert "devices: 2" in (tmp_path / "params.yaml").read_text()
    finish(start(tmp_path))
    undisturbed, work = results(tmp_path), tmp_path / ".agecascade" / "work"
    shutil.rmtree(work)  # finished trainings stay there, and would not be trained again
    running = start(tmp_path)
    while not list(work.glob("*.state/checkpoint.pt")) and running.poll() is None:
        time.sleep(0.01)
    running.kill()
    running.communicate(timeout=60)  # until the second process has noticed, too
    assert running.returncode == -signal.SIGKILL
    assert list(work.glob("*.state/checkpoint.pt"))
    finish(start(tmp_path, *LOCAL))  # which starts the same two
    assert results(tmp_path) == undisturbed
