"""Trainings side by side: the same results as one after the other, whatever draws random numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import pytest
import torch

from agecascade import params
from agecascade.params import Compute
from agecascade.training.jobs import Job
from agecascade.training.parallel import Processes, side_by_side

ROOT = Path(__file__).resolve().parents[2]
STEP = "target_from_scratch"


def jobs(*backbones: str, folds: int) -> list[Job]:
    content = params.read_yaml(ROOT / "studies" / "sample.yaml")
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
    found = side_by_side(drawing, units, compute, Processes()) if grouped else side_by_side(drawing, work, compute, Processes())
    assert found == expected
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

    found = side_by_side(finish, work, Compute(workers=4), Processes())
    assert found == [job.name for job in work]
    assert begun == ["tinyagenet"] * 2 + ["vgg16_512_256"] * 2
    assert side_by_side(finish, [], Compute(), Processes()) == []


@pytest.mark.parametrize(("workers", "threads", "lanes"), [(4, 1, 4), (4, 2, 2), (5, 2, 2), (2, 4, 1)])
def test_each_has_the_threads_of_compute_whatever_runs_beside_it(workers: int, threads: int, lanes: int) -> None:
    compute, had = Compute(workers=workers, threads=threads), []
    drawing = Drawing()

    def finish(job: Job) -> list[float]:
        had.append(torch.get_num_threads())
        return drawing(job)

    work = jobs("tinyagenet", folds=5)
    side_by_side(finish, work, compute, Processes())
    assert drawing.most == lanes
    side_by_side(finish, work[:1], compute, Processes())
    assert had == [threads] * 6
