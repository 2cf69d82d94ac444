"""docs/reference/papers.md: every table and figure of the three works has a command, whose study and output exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agecascade import study
from agecascade.datasets import READERS
from agecascade.io.yaml_text import load_yaml
from places import ROOT

PAGE = ROOT / "docs" / "reference" / "papers.md"
# how many tables and figures the works have
WORKS = {"DLDL-v2": (12, 8), "Delta Age AdaIN": (7, 3), "Cascaded fine-tuning": (6, 14)}
COMMAND = re.compile(r"(agecascade|dvc|python) .+|agecascade explain")


def rows_of(work: str) -> dict[str, list[str]]:
    """{"Table 1": the other cells} of one work."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {work}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def outputs() -> list[str]:
    """All that the stages of dvc.yaml write, an item of a stage as <name>."""
    stages = load_yaml((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    entries = [entry for stage in stages for kind in ("outs", "metrics", "plots") for entry in stage.get("do", stage).get(kind, [])]
    return [str(entry if isinstance(entry, str) else next(iter(entry))).replace("${key}", "<name>") for entry in entries]


@pytest.mark.parametrize("work", WORKS)
def test_every_table_and_figure_has_a_row_with_a_command(work: str) -> None:
    tables, figures = WORKS[work]
    wanted = {f"Table {number}" for number in range(1, tables + 1)} | {f"Fig. {number}" for number in range(1, figures + 1)}
    rows = rows_of(work)
    assert rows.keys() - {"Search"} == wanted
    for name, (shows, command, output, ours) in rows.items():
        commands = re.findall(r"`([^`]+)`", command)
        assert commands, (work, name)
        assert all(COMMAND.fullmatch(each) for each in commands), (work, name)
        assert all(cell.strip() for cell in (shows, output, ours)), (work, name)


def test_every_study_and_script_that_a_command_names_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"agecascade study (\w+)", text))
    assert named <= {*study.names(ROOT), *READERS, "NAME"}
    for script in re.findall(r"python ((?:benchmarks|docs)/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    for code in re.findall(r'python -c "([^"]+)"', text):
        compile(code, "papers.md", "exec")


def test_every_output_is_one_that_the_pipeline_writes() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    written = outputs()
    for work in WORKS:
        for name, (_, _, output, _) in rows_of(work).items():
            for path in re.findall(r"`([^`]+)`", output):
                if path.startswith("docs/"):
                    assert (ROOT / path).is_file(), (work, name, path)
                    continue
                assert any(path == out or path.startswith(f"{out}/") for out in written), (work, name, path)
                file = Path(path)
                known = file.name in source or f'"{file.stem}"' in source or "<name>" in file.name
                assert known, f"{work}, {name}: no module names {path}"


def test_every_study_of_the_papers_stands_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in study.names(ROOT):
        if name.startswith(("dldl_v2_", "daa_", "cascaded_")):
            assert name in text, name
