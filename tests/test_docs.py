"""The documentation names what exists: paths, modules, links, commands, options, keys; and its examples run."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML

from agecascade import methods, models
from agecascade.cli import app
from agecascade.datasets import READERS
from agecascade.params import Params
from agecascade.regressors import REGRESSORS

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md", ROOT / "exclusions" / "README.md"])
HISTORY = "CHANGELOG.md"  # which also names what is gone
EXAMPLES = re.compile(r"villagers|log_cosh|studies/(mine|NAME)\.yaml")  # files that a reader of a how-to writes
PATH = re.compile(r"(?<![\w/.-])(?:src|tests|pipeline|benchmarks|studies|docs|exclusions|\.ci|\.github)/[\w./-]*\w")
MODULE = re.compile(r"(?<![\w./-])agecascade(?:\.\w+)+")
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = r"(?:[A-Z_]+=\S+ )*(?:uv run )?((?:agecascade|dvc|just) "
IN_BLOCKS = re.compile(rf"^ {{4,}}{COMMAND}.*?)(?: +#.*)?$", re.MULTILINE)
IN_LINES = re.compile(rf"`{COMMAND}[^`\n]*)`")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of a page, in blocks and between backticks; a line with && has several."""
    for line in IN_BLOCKS.findall(text(page)) + IN_LINES.findall(text(page)):
        for command in line.split(" && "):
            yield shlex.split(command.removeprefix("uv run "))


@pages
def test_paths_exist(page: Path) -> None:
    named = {path for path in PATH.findall(text(page)) if not EXAMPLES.search(path)}
    assert [path for path in sorted(named) if page.name != HISTORY and not (ROOT / path).exists()] == []


@pages
def test_modules_and_their_members_exist(page: Path) -> None:
    missing = [name for name in sorted(set(MODULE.findall(text(page)))) if not EXAMPLES.search(name) and not _exists(name)]
    assert missing == []


def _exists(name: str) -> bool:
    """Whether a dotted name is a module, or a member of one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pages
def test_relative_links_resolve(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(text(page)) if not link.startswith(("http", "#"))]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r": (\S+\.md)$", text(ROOT / "mkdocs.yml"), re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES if ROOT / "docs" in page.parents)


# --- commands


@cache
def options() -> dict[str, set[str]]:
    """The options of each command of agecascade."""
    group: Any = typer.main.get_command(app)
    return {
        name: {option for param in command.params for option in param.opts if option.startswith("--")}
        for name, command in group.commands.items()
    }


@pages
def test_commands_and_options_exist(page: Path) -> None:
    known = options()
    for program, *words in commands(page):
        if program != "agecascade" or words[0].startswith("-") or not words[0].islower():
            continue
        assert words[0] in known, f"agecascade {words[0]}"
        given = {word.strip("[]") for word in words[1:] if word.strip("[]").startswith("--")}
        assert given <= known[words[0]] | {"--help"}, f"agecascade {' '.join(words)}"


def test_the_reference_has_every_option() -> None:
    sections = dict(re.findall(r"^## agecascade (\w+)\n(.*?)(?=^## |\Z)", text(REFERENCE / "cli.md"), re.MULTILINE | re.DOTALL))
    assert {name: set(re.findall(r"\| `(--[\w-]+)`", section)) for name, section in sections.items()} == options()


@pages
def test_studies_stages_and_params_of_commands_exist(page: Path) -> None:
    stages = {"STAGE", *YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]}
    keys = {field.alias or name for name, field in Params.model_fields.items()}
    studies = {"NAME", "mine", *READERS, *(path.stem for path in (ROOT / "studies").glob("*.yaml"))}
    for program, *words in commands(page):
        if program == "agecascade" and words[0] == "study" and words[1:]:
            assert words[1].partition("_drawn")[0] in studies, words
        if program == "dvc":
            changed = [words[place + 1] for place, word in enumerate(words[:-1]) if word == "-S"]
            assert {re.split(r"[.=]", change.lstrip("+~"))[0] for change in changed} <= keys | {"KEY"}, words
        if program == "dvc" and words[0] in ("repro", "commit"):
            named = {word.partition("@")[0] for word in words[1:] if not word.startswith(("-", "|", ">"))}
            assert named <= stages, words


@pages
def test_targets_of_just_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*)[^:=\n]*:(?!=)", text(ROOT / "justfile"), re.MULTILINE))
    named = set(re.findall(r"uv run just ([a-z][\w-]*)", text(page)))
    assert named <= targets


# --- the reference


def keys_of(block: type[BaseModel]) -> Iterator[str]:
    """The keys of a block of params.yaml and of the blocks in it."""
    for name, field in block.model_fields.items():
        yield field.alias or name
        for inner in _blocks(field.annotation):
            yield from keys_of(inner)


def _blocks(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _blocks(argument)


def test_the_reference_has_every_key_of_params() -> None:
    described = set(re.findall(r"[\w.<>]+", " ".join(re.findall(r"`[^`\n]+`", text(REFERENCE / "params.md")))))
    described |= {name.rpartition(".")[2] for name in described}
    assert sorted(set(keys_of(Params)) - described) == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("methods", methods.METHODS),
        ("networks", models.BACKBONES),
        ("datasets", READERS),
        ("regressors", REGRESSORS),
    ],
)
def test_the_reference_has_every_name_of_a_registry(page: str, names: dict[str, object]) -> None:
    rows = " ".join(line.split("|")[1] for line in text(REFERENCE / f"{page}.md").splitlines() if line.startswith("|"))
    assert sorted(set(names) - set(re.findall(r"`([^`]+)`", rows))) == []


def test_the_how_to_has_every_study() -> None:
    rows = re.findall(r"^\| (`.*?) \|", text(ROOT / "docs" / "how_to" / "published_data.md").split("| study | what |")[1], re.MULTILINE)
    listed = [name for row in rows[: rows.index("`metrics/clean/<name>.json`")] for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "studies").glob("*.yaml"))


def test_the_readme_counts_what_the_registries_have() -> None:
    counts = re.search(r"(\d+) methods, (\d+) networks \(and any of\s+timm's\) and (\d+) data sets", text(ROOT / "README.md"))
    assert counts is not None
    assert [int(count) for count in counts.groups()] == [len(methods.METHODS), len(models.BACKBONES), len(READERS)]


# --- the examples of the how-to


def examples(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text(ROOT / "docs" / "how_to" / f"{name}.md"), re.MULTILINE | re.DOTALL)


def _run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    return names


def _run_tests(code: str) -> None:
    tests = [function for name, function in _run(code).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_method_of_the_how_to_passes_its_own_test(monkeypatch: pytest.MonkeyPatch) -> None:
    code, test = examples("add_a_method")
    monkeypatch.setitem(methods.METHODS, "log_cosh", _run(code)["LogCosh"])
    _run_tests(test)


def test_the_network_of_the_how_to_passes_its_own_test(monkeypatch: pytest.MonkeyPatch) -> None:
    code, test = examples("add_a_network")
    monkeypatch.setitem(models.BACKBONES, "small", _run(code)["Small"])
    torch.manual_seed(0)
    _run_tests(test)
