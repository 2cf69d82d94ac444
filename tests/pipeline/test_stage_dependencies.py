"""Every stage depends on the file of its code, and that file names what its script imports, followed through the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from agecascade.datasets import READERS
from agecascade.io.stage_code import NO_STAGES, stage_files
from stages import ROOT, Stage, resolved

BY_READER = {"download", "clean"}  # they run the one reader of their data set
ALWAYS = {"inventory"}  # runs whatever has changed, and writes the others' files


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    return resolved(tmp_path_factory.mktemp("stages"))


def names(kind: str, never: frozenset[str] = frozenset()) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in stage_files(ROOT / "pipeline" / f"{kind}.py", never)}


def test_every_stage_depends_on_the_file_of_its_code(stages: list[Stage]) -> None:
    for stage in stages:
        if stage.kind == "check":  # before there are such files: on all code
            assert stage.code == {"pipeline", "src/agecascade"}
        elif stage.kind in BY_READER and stage.item.startswith("of_"):
            assert stage.code == {f"data/code/{stage.kind}/{stage.item.removeprefix('of_')}.txt"}
        elif stage.kind not in {*BY_READER, *ALWAYS}:
            assert stage.code == {f"data/code/{stage.kind}.txt"}


def test_every_kind_of_stage_is_looked_at(stages: list[Stage]) -> None:
    scripts = {path.stem for path in (ROOT / "pipeline").glob("*.py")} - NO_STAGES
    assert {stage.kind for stage in stages} == scripts
    assert {stage.item for stage in stages if stage.kind == "clean"} >= {f"of_{reader}" for reader in READERS}


@pytest.mark.parametrize("kind", ["scratch", "weights", "pretrain", "search", "finetune", "features", "regress"])
def test_a_changed_plot_or_table_retrains_nothing(kind: str) -> None:
    shown = {"src/agecascade/plots/results.py", "src/agecascade/evaluation/tables.py", "src/agecascade/dataset_report/report.py"}
    assert all(Path(ROOT, name).is_file() for name in shown)
    assert not names(kind) & shown


def test_a_changed_loss_or_module_of_a_registry_does() -> None:
    assert names("finetune") >= {"src/agecascade/methods/dldl.py", "src/agecascade/training/loop.py", "pipeline/common.py"}
    assert names("regress") >= {"src/agecascade/regressors/ohrank.py", "pipeline/autosklearn_fit.py"}
    one = names("clean", frozenset(READERS.values()) - {READERS["fgnet"]})
    assert "src/agecascade/datasets/fgnet.py" in one
    assert "src/agecascade/datasets/utkface.py" not in one
    assert "src/agecascade/datasets/utkface.py" in names("check")
