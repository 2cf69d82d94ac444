"""Prediction with an exported model imports neither torch nor what else the extra `pipeline` has; what needs it says so in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agecascade import model_folder
from agecascade.estimator import Estimator
from agecascade.export import export
from agecascade.imaging import encode_image
from fold_models import random_model
from images import noise

SIZE = 32
BLOCKED = ("torch", "scipy", "pyarrow", "dvc", "mlflow", "sklearn", "matplotlib", "ruamel", "safetensors", "fsspec", "upath", "jinja2")
BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def alone(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has none of BLOCKED."""
    return subprocess.run([sys.executable, "-c", BLOCK + code, *arguments], capture_output=True, text=True, check=False)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return alone("from agecascade.cli import app\napp(sys.argv[1:])", *arguments)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "fold0"
    model = random_model(size=SIZE)
    model_folder.save(folder, model.network, model.card, [])
    return folder


@pytest.fixture(scope="module")
def folder(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    list(export(Estimator.load(original, "cpu"), "onnx", folder))
    return folder


def test_pictures_and_arrays_are_predicted(original: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(noise(0, SIZE, SIZE), "png", 100))
    code = """
import json, numpy as np
from agecascade import Estimator
estimator = Estimator.load(sys.argv[1])
frame = estimator.predict([sys.argv[2], np.zeros((40, 40, 3), np.uint8), b"none"], aligned=True)
print(json.dumps([frame["value"].tolist()[:2], frame["error"].notna().tolist()]))
"""
    result = alone(code, str(folder), str(tmp_path / "a.png"))
    assert result.returncode == 0, result.stderr
    values, errors = json.loads(result.stdout)
    assert values[0] == pytest.approx(Estimator.load(original).predict(tmp_path / "a.png", aligned=True)["value"][0], abs=1e-3)
    assert errors == [False, False, True]


def test_the_command_predicts_and_says_what_parquet_needs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(noise(0, SIZE, SIZE), "png", 100))
    options = ("predict", "--model", str(folder), str(tmp_path / "a.png"), "--aligned", "--output")
    result = command(*options, str(tmp_path / "ages.csv"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "ages.csv").read_text().count("\n") == 2
    result = command(*options, str(tmp_path / "ages.parquet"))
    assert result.returncode == 1
    assert result.stderr.endswith("a Parquet file needs pyarrow, which is not installed: pip install 'agecascade[pipeline]'\n")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("study", "sample"), id="study"),
        pytest.param(("export", "--model", "MODEL", "--output", "OUT"), id="export"),
        pytest.param(("predict", "--model", "MODEL", "IN", "--aligned", "--output", "-"), id="predict"),
        pytest.param(("explain", "--model", "MODEL", "IN", "--aligned", "--output", "OUT"), id="explain"),
        pytest.param(("predict", "--model", "models:/ages@champion", "IN", "--aligned", "--output", "-"), id="registry"),
    ],
)
def test_what_needs_the_pipeline_says_so(arguments: tuple[str, ...], original: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(noise(0, SIZE, SIZE), "png", 100))
    places = {"MODEL": str(original), "OUT": str(tmp_path / "out"), "IN": str(tmp_path / "a.png")}
    result = command(*(places.get(argument, argument) for argument in arguments))
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    line, _, more = lines[0].partition("; ")
    assert line.endswith("which is not installed: pip install 'agecascade[pipeline]'")
    trained = arguments[0] in ("predict", "explain") and "MODEL" in arguments
    assert more == ("to predict and to serve, export it where that is installed (`agecascade export`)" if trained else "")
    assert "Traceback" not in result.stderr
