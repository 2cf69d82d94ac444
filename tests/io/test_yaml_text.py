"""params.yaml survives DVC's own writer: `-S` changes the line of its key, or the lines of a block, and no other."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from agecascade import study
from agecascade.io.yaml_text import comments_above, dump_yaml, load_yaml
from forms import some
from places import ROOT

BLOCKS = ("datasets", "weights", "pretrain", "search", "cascade", "features", "screen", "explain", "regressors")


def set_params(path: Path, *overrides: str) -> list[str]:
    """The changed lines of `dvc exp run -S ...`, old ones with -, new ones with +."""
    before = path.read_text().splitlines()
    apply_overrides(path, list(overrides))
    changes = difflib.unified_diff(before, path.read_text().splitlines(), n=0, lineterm="")
    return [line for line in changes if not line.startswith(("---", "+++", "@@"))]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ("seed=7", ["-seed: 0", "+seed: 7"]),
        ("lambda=0.00001", ["-lambda: 1.0", "+lambda: 1e-05"]),
        ("align.max_faces=3", ["-  max_faces:", "+  max_faces: 3"]),
        ("align.detection.max_side=1280", None),
        ("datasets.sample_fgnet.clean.high=60", ["-      high: 69", "+      high: 60"]),
        ("compare.methods=[dldl,er]", None),
        ("cascade.target.learning_rate=0.01", ["-    learning_rate: 0.001", "+    learning_rate: 0.01"]),
        ("cascade.target.schedule.warmup=0", None),
        ("regressors.ohrank.options.C=[0.1]", None),
    ],
)
def test_one_override_changes_one_line(sample: Path, override: str, changes: list[str] | None) -> None:
    made = set_params(sample, override)
    assert [line[0] for line in made] == ["-", "+"]
    assert changes is None or made == changes


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_emptied_by_null_and_braces(sample: Path, block: str) -> None:
    before = YAML(typ="safe").load(sample.read_text())
    removed = set_params(sample, f"{block}=null", f"{block}={{}}")
    assert [line for line in removed if line[0] == "+"] == ([f"+{block}: {{}}"] if before[block] else [])
    assert not any(line.lstrip("- ").startswith("#") for line in removed)
    assert YAML(typ="safe").load(sample.read_text()) == {**before, block: {}}
    assert set_params(sample, "seed=3") == ["-seed: 0", "+seed: 3"]


@pytest.mark.parametrize("name", [*some(study.names(ROOT), 10), "megaage_asian", "scut_fbp"])
def test_a_study_is_written_as_dvc_writes_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(study.render(name, ROOT))
    assert set_params(path, "seed=12345") == ["-seed: 0", "+seed: 12345"]
    set_params(path, *(f"{block}={value}" for block in BLOCKS for value in ("null", "{}")))
    content = YAML(typ="safe").load(path.read_text())
    assert {block: content[block] for block in BLOCKS} == {block: {} for block in BLOCKS}


RESTYLE = """studies/sample.yaml is not in the layout that DVC writes; this mends it, and params.yaml:
python -c "from pathlib import Path; from agecascade.io.yaml_text import dump_yaml, load_yaml; path = Path('studies/sample.yaml'); \\
text = dump_yaml(load_yaml(path.read_text())); path.write_text(text); Path('params.yaml').write_text(text)\""""


def test_the_sample_is_in_this_style_as_it_stands() -> None:
    text = (ROOT / "studies" / "sample.yaml").read_text()
    assert dump_yaml(load_yaml(text)) == text, RESTYLE


def test_a_study_has_the_values_of_sample_and_overlay() -> None:
    safe = YAML(typ="safe")
    overlay = safe.load((ROOT / "studies" / "two_stage.yaml").read_text())
    made = safe.load(study.render("two_stage", ROOT))
    assert {key: made[key] for key in ("datasets", "cascade", "features", "regressors", "pretrain")} == {
        key: overlay[key] for key in ("datasets", "cascade", "features", "regressors", "pretrain")
    }


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("a: 1   # one\n", "# one\na: 1\n"),
        ("a:   # block\n  b: 1\n", "# block\na:\n  b: 1\n"),
        ("a:\n  # first\n  b:   # inner\n    c: 1\n", "# first\n# inner\na:\n  b:\n    c: 1\n"),
        ("a:\n# next\nb: 2\n", "a:\n# next\nb: 2\n"),
        ("a: {b: 1,   # inside\n    c: 2}   # behind\n", None),
        ("a: 'x # no comment'\n", "a: 'x # no comment'\n"),
        ("a: {b: '}'}   # one\n", "# one\na: {b: '}'}\n"),
        ("a: |\n  text:\n  # with\n    marks\nb: 1\n", "a: |\n  text:\n  # with\n    marks\nb: 1\n"),
        ("a: |\n  text # with\n  # marks\nb: 1\n", "a: |\n  text # with\n  # marks\nb: 1\n"),
    ],
)
def test_comments_stand_above_their_key(text: str, moved: str | None) -> None:
    above = comments_above(text)
    assert moved is None or above == moved
    assert YAML(typ="safe").load(above) == YAML(typ="safe").load(text)


def test_what_is_too_long_for_a_line_becomes_a_block(tmp_path: Path) -> None:
    content: Any = load_yaml("a: {" + ", ".join(f"key_{number}: {number}" for number in range(12)) + "}\nb: {c: [1, 2]}\n")
    text = dump_yaml(content)
    assert text.splitlines()[:2] == ["a:", "  key_0: 0"]
    assert text.splitlines()[-1] == "b: {c: [1, 2]}"


def test_a_text_that_needs_quotes_between_braces_stands_in_a_block() -> None:
    text = dump_yaml(load_yaml('a: {b: {trainable: "from:fc6"}, c: 1}\n'))
    assert text == "a:\n  b:\n    trainable: from:fc6\n  c: 1\n"
    assert YAML(typ="safe").load(text) == {"a": {"b": {"trainable": "from:fc6"}, "c": 1}}
