"""Every stage lists the params that it reads, and no others: each runs on a tiny sample under a recorder. Slow: some 25 processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from torchvision.models import resnet18

from agecascade.io.code import import_closure, named_modules
from agecascade.io.files import checksum
from repository import ROOT, Repository
from stages import Stage, resolved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

RECORDING = ROOT / "tests" / "support" / "recording"
# how the work is done, not what comes out: a change of these makes nothing stale
EXECUTION = {"compute.backend", "compute.workers", "compute.address", "compute.devices", "compute.cache_gib"}
EXECUTION |= {"tracking.params", "tracking.models", "tracking.system_metrics", "tracking.faces"}
# blocks of named entries: looking a name up in one reads what is taken of the entry
ENTRIES = {"datasets", "weights", "pretrain", "search", "cascade", "features", "screen", "explain", "regressors"}


def with_search_and_screening(content: Any) -> None:
    """A search before the last step, and the labels of its data set screened."""
    content["search"] = {"tuned": {"step": "target", "init": "agedb", "dataset": "sample_fgnet", "epochs": 1, "learning_rates": [1e-3]}}
    content["cascade"]["target"] |= {"init": "tuned", "learning_rate": "search"}
    content["screen"] = {"doubtful": {"features": "agedb", "folds": 2, "share": 0.1}}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """{stage: what its script read of the params and which modules it loaded}, of a whole `dvc repro` and of published weights."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    repository.edit(with_search_and_screening)
    shutil.copy(RECORDING / "sitecustomize.py", repository.folder / "src")
    records = tmp_path_factory.mktemp("records")
    repository.run("env", f"AGECASCADE_RECORD={records}", "dvc", "repro")
    record_download(repository.folder, records)
    record_weights(repository.folder, records)
    return {path.stem: json.loads(path.read_text()) for path in records.glob("*.json")}


def record_weights(folder: Path, records: Path) -> None:
    """Run the stage `weights` on a file of random weights: the sample has none."""
    file = folder / "archives" / "resnet18.pth"
    torch.save(resnet18().state_dict(), file)
    channels = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

    def change(content: Any) -> None:
        content["weights"] = {"own": {"resnet18": {"file": file.name, "sha256": checksum(file)}}}
        content["normalisation"]["by_backbone"] = {"resnet18": channels}
        content |= {"backbone": "resnet18", "image_size": 64}

    record(folder, records, change, "weights", "own")


def record_download(folder: Path, records: Path) -> None:
    """Run the stage `download` on an archive that lies in archives/: the sample's are all drawn."""
    (folder / "archives").mkdir()
    shutil.copy(folder / "data" / "raw" / "sample_fgnet" / "FGNET.zip", folder / "archives")

    def change(content: Any) -> None:
        content["datasets"]["sample_fgnet"] |= {"origin": "publisher"}
        del content["datasets"]["sample_fgnet"]["draw"]

    (records / "download@sample_fgnet.json").unlink()  # of those that are drawn three more are recorded
    record(folder, records, change, "download", "sample_fgnet")


def record(folder: Path, records: Path, change: Callable[[Any], None], stage: str, item: str) -> None:
    """Run one stage by hand with changed params."""
    yaml = YAML(typ="safe", pure=True)
    content = yaml.load(folder / "params.yaml")
    shutil.copy(folder / "params.yaml", folder / "kept.yaml")
    change(content)
    yaml.dump(content, folder / "params.yaml")
    environment = os.environ | {"PYTHONPATH": "src", "AGECASCADE_RECORD": str(records), "DVC_ROOT": str(folder)}
    subprocess.run([sys.executable, f"pipeline/{stage}.py", item], cwd=folder, env=environment, check=True)
    shutil.move(folder / "kept.yaml", folder / "params.yaml")


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    return resolved(tmp_path_factory.mktemp("stages"))


def generic(key: str, stage: str) -> str:
    """A key with the stage's own item as `*`: datasets.sample_fgnet.reader -> datasets.*.reader. So one item stands for all."""
    item = stage.partition("@")[2]
    return ".".join("*" if item and part == item else part for part in key.split("."))


def listed_and_read(stages: list[Stage], records: dict[str, Any]) -> dict[str, tuple[set[str], set[str]]]:
    """{kind of stage: (listed keys, read keys)} over all items that ran."""
    listed: dict[str, set[str]] = defaultdict(set)
    read: dict[str, set[str]] = defaultdict(set)
    by_name = {stage.name: stage for stage in stages}
    for name, record in records.items():
        kind = name.partition("@")[0]
        if stage := by_name.get(name):
            listed[kind] |= {generic(key, name) for key in stage.params}
        read[kind] |= {generic(key, name) for key in record["read"] if key not in ENTRIES}
    return {kind: (listed[kind], {key for key in read[kind] if not has_parts(key, read[kind])}) for kind in listed}


def has_parts(key: str, keys: set[str]) -> bool:
    """Whether keys below this one are among them: on the way to those it was passed, not read."""
    return any(other != key and below(other, key) for other in keys)


def below(key: str, above: str) -> bool:
    return key == above or key.startswith(f"{above}.")


def test_every_stage_was_recorded(stages: list[Stage], records: dict[str, Any]) -> None:
    assert {name.partition("@")[0] for name in records} == {stage.kind for stage in stages}


def test_no_stage_reads_a_param_that_it_does_not_list(stages: list[Stage], records: dict[str, Any]) -> None:
    lines = []
    for kind, (listed, read) in listed_and_read(stages, records).items():
        if kind in ("check", "report"):  # they read the whole file, which is a dep of them
            continue
        for key in sorted(read - EXECUTION):
            if not any(below(key, name) or below(name, key) for name in listed):
                lines.append(f"{kind}: reads {key}; add it to its params in dvc.yaml")
    assert not lines, "\n" + "\n".join(lines)


def test_no_stage_lists_a_param_that_it_does_not_read(stages: list[Stage], records: dict[str, Any]) -> None:
    lines = []
    logged = {name.partition("@")[0] for name, record in records.items() if record["logged"]}
    for kind, (listed, read) in listed_and_read(stages, records).items():
        if kind in logged:  # its MLflow run keeps all params; those that it lists are columns of `agecascade tables --runs`
            continue
        lines += [
            f"{kind}: does not read {name}; take it out of its params in dvc.yaml"
            for name in sorted(listed)
            if not any(below(key, name) or below(name, key) for key in read)
        ]
    assert not lines, "\n" + "\n".join(lines)


def test_python_loads_no_module_outside_a_stage_s_closure(records: dict[str, Any]) -> None:
    """An independent count of the code that a stage runs: what Python itself had loaded at its end."""
    for name, record in records.items():
        script = ROOT / "pipeline" / f"{name.partition('@')[0]}.py"
        closure = import_closure(script)
        known = closure.union(*(import_closure(module) for path in closure for module in named_modules(path)))
        loaded = {Path(file) for file in record["modules"]}
        root = next(parent for file in loaded for parent in file.parents if parent.name == "src").parent
        strange = {file.relative_to(root).as_posix() for file in loaded} - {path.relative_to(ROOT).as_posix() for path in known}
        assert not strange, f"{name} loads {sorted(strange)}, which its import closure lacks"
