"""Every stage lists the code that it runs: what its script imports, followed through the package, against the deps of dvc.yaml."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from agecascade.datasets import READERS
from agecascade.io.code import import_closure, named_modules
from stages import ROOT, Stage, resolved

BY_READER = {"download", "clean"}  # they run the one reader of their data set


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    return resolved(tmp_path_factory.mktemp("stages"))


def code_of(stage: Stage) -> frozenset[Path]:
    """The files that the stage may run: the script's closure, and the modules that registries in it name."""
    closure = import_closure(stage.script)
    named = {module for path in closure for module in named_modules(path)}
    if stage.kind in BY_READER:
        reader = READERS[stage.item.removeprefix("of_")] if stage.item.startswith("of_") else None
        named = (named - set(READERS.values())) | ({reader} if reader else set())
    return closure.union(*(import_closure(module) for module in named))


def lines_to_add(stage: Stage, files: frozenset[Path]) -> list[str]:
    """The deps that the stage lacks, folder by folder, each with the files that it stands for."""
    missing = defaultdict(list)
    for path in sorted(files):
        if not stage.lists(path):
            name = path.relative_to(ROOT).as_posix()
            top = Path(name).parent.as_posix() if name.count("/") > 2 else name
            missing[top].append(Path(name).name)
    return [f"{stage.kind}: add {folder} to its deps in dvc.yaml, for {', '.join(names)}" for folder, names in missing.items()]


def test_every_stage_lists_all_code_that_it_runs(stages: list[Stage]) -> None:
    lines = {line for stage in stages for line in lines_to_add(stage, code_of(stage))}
    assert not lines, "\n" + "\n".join(sorted(lines))


def test_no_stage_lists_code_that_it_does_not_run(stages: list[Stage]) -> None:
    run: dict[str, set[str]] = defaultdict(set)
    listed: dict[str, set[str]] = defaultdict(set)
    for stage in stages:
        run[stage.kind] |= {path.relative_to(ROOT).as_posix() for path in code_of(stage)}
        listed[stage.kind] |= stage.code
    idle = [
        f"{kind}: take {dep} out of its deps in dvc.yaml"
        for kind, deps in listed.items()
        for dep in deps
        if not any(name == dep or name.startswith(f"{dep}/") for name in run[kind]) and not dep.endswith("autosklearn_fit.py")
    ]
    assert not idle, "\n" + "\n".join(sorted(idle))


def test_every_kind_of_stage_is_looked_at(stages: list[Stage]) -> None:
    scripts = {path.stem for path in (ROOT / "pipeline").glob("*.py")} - {"common", "autosklearn_fit"}
    assert {stage.kind for stage in stages} == scripts
    assert {stage.item for stage in stages if stage.kind == "clean"} >= {f"of_{reader}" for reader in READERS}


@pytest.mark.parametrize("kind", ["scratch", "weights", "pretrain", "search", "finetune", "features", "regress"])
def test_a_changed_plot_or_table_retrains_nothing(stages: list[Stage], kind: str) -> None:
    shown = [Path(ROOT, "src", "agecascade", name) for name in ("plots/results.py", "evaluation/tables.py", "dataset_report/report.py")]
    assert all(path.is_file() for path in shown)
    for stage in stages:
        if stage.kind == kind:
            assert not [path for path in shown if stage.lists(path)], f"{stage.name} would train anew"


def test_a_missing_dependency_is_named_with_the_line_to_add(stages: list[Stage]) -> None:
    """The test above can fail: a stage that lists nothing is told all."""
    split = next(stage for stage in stages if stage.kind == "split")
    bare = Stage(split.name, split.script, frozenset({"pipeline/split.py"}), split.params)
    assert "split: add src/agecascade/splits.py to its deps in dvc.yaml, for splits.py" in lines_to_add(bare, code_of(bare))
