"""An estimator that computes in some threads while others look for faces: the same rows, prompt ends, and networks that load meanwhile."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from agecascade.errors import ModelError
from agecascade.estimator import Columns, Estimator
from agecascade.faces.crops import Frame
from agecascade.faces.face import Image
from agecascade.imaging import encode_image
from agecascade.inference import predict_values
from fold_models import random_model
from images import noise
from model_folders import SIZE, write_model


class Gate:
    """In a fold's place: the value is the crop's mean; it computes when `wanted` pictures were taken."""

    at_once = 4

    def __init__(self, wanted: int = 0) -> None:
        self.frame, self.wanted = Frame(SIZE), wanted
        self.taken = 0
        self.more = threading.Condition()
        self.threads: set[str] = set()

    def pictures(self, count: int) -> Iterator[Image]:
        for i in range(count):
            with self.more:
                self.taken += 1
                self.more.notify_all()
            yield noise(i, SIZE, SIZE)

    def predict(self, crops: Image) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        with self.more:
            assert self.more.wait_for(lambda: self.taken >= self.wanted, timeout=20)
        value = crops.mean(axis=(1, 2, 3))
        return np.stack([value, value - 1, value + 1])


def pool_threads() -> int:
    return sum(thread.name.startswith("pictures") for thread in threading.enumerate())


def test_pictures_are_read_while_the_network_computes() -> None:
    gate = Gate(wanted=8)  # the first four cannot be done before the next are read
    frame = Estimator([gate]).predict(gate.pictures(12), aligned=True, workers=2)  # type: ignore[list-item]
    assert threading.current_thread().name not in gate.threads
    alone = Estimator([Gate()]).predict(Gate().pictures(12), aligned=True)  # type: ignore[list-item]
    pd.testing.assert_frame_equal(frame, alone)


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_ends_the_threads(workers: int) -> None:
    before, gate = pool_threads(), Gate()
    batches = Estimator([gate], batch_size=4).valued_batches(gate.pictures(10_000), Columns(), True, workers=workers)  # type: ignore[list-item]
    rows, frame = next(batches)
    assert len(rows) == len(frame) == 4
    assert pool_threads() > before or workers == 1
    batches.close()
    assert pool_threads() == before
    assert gate.taken < 100


def test_the_folds_in_use_agree_with_the_networks_that_were_trained() -> None:
    folds = [random_model(size=64, fold=fold) for fold in range(2)]
    torch.manual_seed(1)
    for parameter in folds[1].network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    crops = np.stack([noise(i, 64, 64) for i in range(70)])  # more than are computed at once
    table = [predict_values(fold.network, fold.method, crops, 64, fold.card.channels)[0] for fold in folds]
    for workers in (1, 2):
        frame = Estimator(list(folds)).predict(list(crops), aligned=True, workers=workers)
        np.testing.assert_allclose(frame["value"], np.mean(table, axis=0), atol=1e-4)


def test_torch_has_its_threads_afterwards() -> None:
    model, before, seen = random_model(size=32), torch.get_num_threads(), []
    try:
        torch.set_num_threads(3)
        Estimator([model]).predict([noise(i, 32, 32) for i in range(9)], aligned=True, workers=2)
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert [torch.get_num_threads(), *seen] == [3, 3]
    finally:
        torch.set_num_threads(before)


def test_networks_load_while_faces_are_looked_for(tmp_path: Path) -> None:
    write_model(tmp_path / "fold0", 2)
    write_model(tmp_path / "fold1", 4, fold=1)
    estimator = Estimator.load(tmp_path, beside=True)
    assert estimator.grid == Estimator.load(tmp_path).grid
    frame = estimator.predict([noise(0, SIZE, SIZE)], aligned=True, workers=2)
    pd.testing.assert_frame_equal(frame, Estimator.load(tmp_path).predict([noise(0, SIZE, SIZE)], aligned=True))
    assert not any(thread.name.startswith("loading") for thread in threading.enumerate())


def test_what_is_wrong_with_a_network_is_raised_where_it_is_needed(tmp_path: Path) -> None:
    (write_model(tmp_path / "fold0", 2) / "model.safetensors").write_bytes(b"damaged")
    estimator, before = Estimator.load(tmp_path, beside=True), pool_threads()
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        estimator.predict([noise(i, SIZE, SIZE) for i in range(9)], aligned=True, workers=2)
    assert pool_threads() == before
    shutil.rmtree(tmp_path / "fold0")
    with pytest.raises(ModelError, match=r"holds no model\.json"):  # what the card tells is told at once
        Estimator.load(tmp_path, beside=True)


def test_pictures_are_no_tensors_of_a_torch_that_another_thread_still_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    frame = Estimator([Gate()]).predict([noise(0, SIZE, SIZE), object()], aligned=True)  # type: ignore[list-item]
    assert frame["error"].isna().tolist() == [True, False]


@pytest.mark.slow
def test_control_c_ends_the_command_soon(tmp_path: Path) -> None:
    write_model(tmp_path / "model", 2)
    (tmp_path / "photos").mkdir()
    (tmp_path / "one.png").write_bytes(encode_image(noise(0, 400, 400), "png", 100))
    for i in range(20_000):
        (tmp_path / "photos" / f"{i}.png").hardlink_to(tmp_path / "one.png")
    arguments = ["predict", "photos", "--model", "model", "--output", "a.csv", "--workers", "2"]
    command = [sys.executable, "-c", "from agecascade.cli import app; app()", *arguments]

    def heard() -> None:  # what a shell runs in the background, as these tests may be, is told to ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        assert process.stderr is not None
        said = ""
        while "/20000 [" not in said or " 0/20000 [" in said:  # it has begun
            said = process.stderr.read(80)
            assert process.poll() is None, said
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        rest = process.communicate(timeout=60)[1]
    assert time.monotonic() - sent < 30  # 20,000 pictures take minutes
    assert rest.splitlines()[-1] == "error: interrupted; what was finished before stays as it was"
    assert process.returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "one.png", "photos"]
