"""The stages of dvc.yaml as DVC resolves them, for a study that has every kind of stage and every reader."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from agecascade.datasets import READERS
from places import ROOT

CODE = ("data/code/", "pipeline", "src/agecascade")


@dataclass(frozen=True)
class Stage:
    """One resolved stage: its name with the item behind an @, its script, and what dvc.yaml lists."""

    name: str
    script: Path
    deps: frozenset[str]
    params: frozenset[str]

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]

    @property
    def item(self) -> str:
        return self.name.partition("@")[2]

    @property
    def code(self) -> frozenset[str]:
        """What the stage depends on in place of its code: a file below data/code, or folders."""
        return frozenset(dep for dep in self.deps if dep.startswith(CODE))


def every_kind(content: dict[str, Any]) -> dict[str, Any]:
    """The sample with a data set of each reader, published weights, a search and a screening, as dvc.yaml spreads them."""
    first = next(iter(content["datasets"].values()))
    content["datasets"] |= {f"of_{reader}": {**first, "reader": reader} for reader in READERS}
    content["weights"] = {"own": {"tinyagenet": {}}}
    content["search"] = {"tuned": {"step": "target", "init": "agedb", "dataset": "sample_fgnet"}}
    content["screen"] = {"doubtful": {"features": "agedb", "folds": 5, "share": 0.02}}
    return content


def resolved(folder: Path) -> list[Stage]:
    """All stages of dvc.yaml over `every_kind`, resolved by DVC in `folder`."""
    from dvc.repo import Repo

    shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
    yaml = YAML(typ="safe", pure=True)
    yaml.dump(every_kind(yaml.load(ROOT / "studies" / "sample.yaml")), folder / "params.yaml")
    with Repo.init(str(folder), no_scm=True) as repo:
        return [_stage(stage) for stage in repo.index.stages]


def _stage(stage: Any) -> Stage:
    params = {key for dep in stage.deps for key in getattr(dep, "params", ())}
    files = {dep.def_path for dep in stage.deps if not getattr(dep, "params", ())}
    name = stage.addressing.rpartition(":")[2]  # behind the path of dvc.yaml
    script = ROOT / "pipeline" / f"{name.partition('@')[0]}.py"
    assert script.stem in stage.cmd
    return Stage(name, script, frozenset(files), frozenset(params))
