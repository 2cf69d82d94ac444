"""The documentation names what exists: paths, modules, links, commands, options, keys; and its examples run."""

from __future__ import annotations

import ast
import builtins
import importlib
import os
import re
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
import typer
from pydantic import BaseModel
from ruamel.yaml import YAML

from agecascade import methods, models, released
from agecascade.cli import app
from agecascade.datasets import READERS
from agecascade.estimator import Estimator
from agecascade.imaging import decode_image
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


# --- Python in the docs

FENCED = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^\n|\A)((?:^ {4,}(?:from [\w.]+ )?import .*\n)(?:^ {4,}.*\n|^\n(?= {4}))*)", re.MULTILINE)


def python_blocks(page: Path) -> list[str]:
    """The Python of a page: fenced blocks, and indented ones that begin with an import."""
    content = text(page)
    return [dedent(code) for _, code in FENCED.findall(content)] + [dedent(code) for code in INDENTED.findall(FENCED.sub("", content))]


def undefined(code: str) -> set[str]:
    """The names that code reads and that it neither imports nor defines anywhere; Python's own apart."""
    tree = ast.parse(code)
    read, known = set(), set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else known).add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            known |= {(name.asname or name.name).partition(".")[0] for name in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
    return read - known


@pages
def test_python_in_the_docs_reads_no_name_that_it_does_not_define(page: Path) -> None:
    assert {code: undefined(code) for code in python_blocks(page) if undefined(code)} == {}


def test_an_undefined_name_is_found() -> None:
    assert undefined("import a.b\nfrom c import d as e\n\ndef f(x):\n    return [g + x for g in a.b(e, h)]") == {"h"}
    assert sum(len(python_blocks(page)) for page in PAGES) > 5
    assert any("import mlflow" in code for code in python_blocks(ROOT / "docs" / "how_to" / "experiments.md"))  # an indented one


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


def test_the_crop_of_the_how_to_is_that_of_predict() -> None:
    code = next(code for code in examples("export") if "def crop_of" in code)
    names = _run(code)
    folder = released.folder()
    estimator = Estimator.load()
    differences = []
    for picture in (ROOT / "docs" / "faces.png", *_photos()):
        image = decode_image(picture if isinstance(picture, bytes) else picture.read_bytes())
        for row in (row for rows in estimator.face_batches([image]) for row in rows if row.crop is not None):
            made = names["crop_of"](image, row.points, asdict(estimator.folds[0].card.crop))
            assert made.shape == row.crop.shape
            assert np.abs(made.astype(int) - row.crop).mean() <= 1
            frame = estimator.predict([row.crop], aligned=True)
            differences.append(abs(names["age_of"](image, row.points, folder) - frame["value"].iloc[0]))
    assert len(differences) >= 5
    assert max(differences) <= 0.1


def _photos() -> list[bytes]:
    """Some of FG-NET's, where they are."""
    archive = Path(os.environ.get("AGECASCADE_MIRROR", "../shared/mirror")) / "FGNET.zip"
    if not archive.is_file():
        return []
    with zipfile.ZipFile(archive) as photos:
        return [photos.read(name) for name in sorted(name for name in photos.namelist() if name.lower().endswith(".jpg"))[::200]]
