"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest

from agecascade.faces.detectors import retinaface, weights
from places import ROOT


def pytest_configure() -> None:
    """Each of several processes has one thread, for torch would start one for each core; properties have no deadline on a busy machine."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of real data sets; the test is skipped, visibly, where it is absent."""
    folder = Path(os.environ.get("AGECASCADE_MIRROR", "../shared/mirror"))
    folder = folder if folder.is_absolute() else ROOT / folder
    if not folder.is_dir():
        pytest.skip(f"no mirror of real faces at {folder}; set AGECASCADE_MIRROR")
    return folder


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of RetinaFace as published ones are written, but drawn: no faces, some answers for any picture."""
    network_module = pytest.importorskip("retinaface.network")
    import torch

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        layers = {"layer2": 1, "layer3": 2, "layer4": 3}
        network = network_module.RetinaFace("Resnet50", pretrained=False, in_channels=256, return_layers=layers, out_channels=256)
    state = {name: tensor * (0.2 if "Head" in name else 1) for name, tensor in network.state_dict().items()}
    file = tmp_path_factory.mktemp("weights") / weights.RETINAFACE.file
    torch.save(state, file)
    return file


@pytest.fixture
def retinaface_mirror(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that holds the drawn weights under the published name; their checksum counts as the published one."""
    from agecascade.io.files import checksum

    monkeypatch.setenv("AGECASCADE_MIRROR", str(random_weights.parent))
    source = replace(weights.RETINAFACE, sha256=checksum(random_weights)[:9])
    monkeypatch.setitem(retinaface.DESIGNS, "resnet50", replace(retinaface.DESIGNS["resnet50"], source=source))
    return random_weights.parent


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes in one thread: what is small takes no longer, and always rounds alike."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
