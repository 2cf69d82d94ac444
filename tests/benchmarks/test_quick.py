"""Each program of benchmarks/ runs with --quick and prints what its docstring names, so that none breaks unseen.

Photos are drawn in FG-NET's layout, small studies are made here. What takes minutes, or needs what is not here, is asked for --help alone
and skipped with the reason; AGECASCADE_WHOLE=1 runs the long ones too.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import project
from agecascade import model_folder, synthetic
from agecascade.params import DrawSettings
from fold_models import random_model
from forms import WHOLE
from places import ROOT

FOLDER = ROOT / "benchmarks"
PROGRAMS = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
LONG = {
    "against": "installs two checkouts",
    "align": "aligns with a peer's loop too",
    "daa": "times a head that makes a map for each age",
    "data_path": "reads batches in a dozen processes",
    "efficiency": "times every network",
    "growth": "draws data sets of two sizes and runs stages on each",
    "inference": "asks each runtime for seconds",
    "lopo": "trains heads of 82 folds on two networks",
    "pipeline": "installs a checkout and runs the whole sample",
    "precision": "trains in every precision",
    "training": "trains in bf16, for which many processors have no instructions",
    "two_stage": "fits three regressors on folds of 82 subjects",
    "whole_folds": "trains folds in several ways",
}
PATTERN = re.compile(r"[\w{}|]*\{[\w|]+\}[\w{}|]*")  # a key with a part that varies: {network}_{onnx|int8}_ms
DAA_ROW = "daa-resnet18-s0"


@dataclass(frozen=True)
class Call:
    """How a benchmark is called besides --quick, or why it cannot be."""

    arguments: list[str] = field(default_factory=list)
    folder: Path | None = None  # the test's own
    impossible: str | None = None


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small archive of drawn pictures in FG-NET's layout."""
    folder = tmp_path_factory.mktemp("photos")
    synthetic.write("fgnet", folder, DrawSettings(pictures=60, subjects=12), seed=0, workers=1)
    return folder


def of_step(folder: Path) -> Call:
    """A study in files with aligned faces, splits and initial networks."""
    project.prepare(folder)
    return Call(["--step", project.STEP], folder)


def of_daa(folder: Path) -> Call:
    """The same with a model of DAA's head in the step."""
    project.prepare(folder)
    model = random_model(method="daa")
    model_folder.save(folder / "models" / project.STEP / DAA_ROW / "fold0", model.network, model.card, [])
    return Call([project.STEP, "--row", DAA_ROW], folder)


def of_sample(folder: Path) -> Call:
    """The finished sample of the working folder."""
    if not (ROOT / "data" / "predictions" / "agedb").is_dir():
        return Call(impossible="the sample is not finished in the working folder: uv run dvc repro")
    return Call(["agedb"], ROOT)


CALLS: dict[str, Callable[[Path], Call]] = {
    "against": lambda folder: Call(["HEAD"]),
    "agreement": of_sample,
    "cost": lambda folder: Call(["released"]),
    "growth": lambda folder: Call([] if WHOLE else ["--stages", "clean", "align", "split", "describe"]),
    "precision": of_step,
    "sampling": of_daa,
    "time_to_mae": of_step,
    "whole_folds": lambda folder: Call([], ROOT),
}


@pytest.mark.slow
@pytest.mark.timeout(1800 if WHOLE else 540)
@pytest.mark.parametrize("name", PROGRAMS)
def test_quick_run_prints_the_keys_of_its_docstring(name: str, tmp_path: Path, photos: Path) -> None:
    call = CALLS.get(name, lambda folder: Call())(tmp_path)
    reason = call.impossible or (None if WHOLE else LONG.get(name))
    if reason:
        assert run(name, Call(["--help"], tmp_path), photos).startswith("usage:")
        pytest.skip(f"{reason}; --help is answered; AGECASCADE_WHOLE=1 runs the long ones")
    last = run(name, Call([*call.arguments, "--quick"], call.folder or tmp_path), photos).splitlines()[-1]
    figures = json.loads(last)
    assert isinstance(figures, dict)
    docstring = docstring_of(PROGRAMS[name])
    assert figures
    assert always_printed(docstring) - figures.keys() == set()
    assert unnamed(docstring, figures) == []


def run(name: str, call: Call, photos: Path) -> str:
    """What a benchmark prints to standard output."""
    outer = {"DVC_ROOT", "MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "OMP_NUM_THREADS"}
    environment = {key: value for key, value in os.environ.items() if key not in outer}
    ended = subprocess.run(
        [sys.executable, str(PROGRAMS[name]), *call.arguments],
        cwd=call.folder,
        env={**environment, "AGECASCADE_MIRROR": str(photos)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:] + ended.stdout[-1000:]
    return ended.stdout


def docstring_of(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def always_printed(docstring: str) -> set[str]:
    """Names with an underscore after "one JSON object", except in parentheses, where conditions are, and those with a {pattern}."""
    _, _, after = re.sub(r"\s+", " ", docstring).partition("one JSON object")
    plain = PATTERN.sub("", re.sub(r"\([^()]*\)", "", after))
    return set(re.findall(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b", plain))


def unnamed(docstring: str, figures: dict[str, Any]) -> list[str]:
    """Keys that the docstring has neither as a word nor by a pattern: {network}_{onnx|int8}_ms."""
    patterns = []
    for word in PATTERN.findall(docstring):
        pieces = re.split(r"(\{[\w|]+\})", word)
        patterns.append("".join(_choice(piece) if piece.startswith("{") else re.escape(piece) for piece in pieces))
    words = set(re.findall(r"\w+", docstring))
    return [key for key in figures if key not in words and not any(re.fullmatch(pattern, key) for pattern in patterns)]


def _choice(piece: str) -> str:
    return f"(?:{piece[1:-1]})" if "|" in piece else r"\w+"


def test_every_program_tells_of_its_last_line() -> None:
    assert [name for name, path in PROGRAMS.items() if "one JSON object" not in re.sub(r"\s+", " ", docstring_of(path))] == []


def test_names_of_a_docstring() -> None:
    docstring = "The last line printed is one JSON\nobject: a_b (of c_d), e, {network}_{onnx|int8|x_y}_ms, and f_g of all."
    assert always_printed(docstring) == {"a_b", "f_g"}
    assert unnamed(docstring, dict.fromkeys(["a_b", "c_d", "e", "tiny_int8_ms", "tiny_fp32_ms", "h"])) == ["tiny_fp32_ms", "h"]
