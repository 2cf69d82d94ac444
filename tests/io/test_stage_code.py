"""Files of the code of each stage: they change with what a stage runs, and with nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from places import ROOT

PROGRAM = """
import sys
from pathlib import Path
from agecascade.io import imports
from agecascade.io.stage_code import write_stage_code
readers = {"a": "agecascade.readers.a", "b": "agecascade.readers.b"}
parsed = []
read = imports._read
imports._read = lambda content, path: parsed.append(path.name) or read(content, path)
write_stage_code(Path("pipeline"), Path("data/code"), readers, {"clean"})
print(len(parsed))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the package's own machinery, readers and two stages beside it."""
    files = {
        "src/agecascade/readers/__init__.py": 'READERS = {"a": "agecascade.readers.a", "b": "agecascade.readers.b"}\n',
        "src/agecascade/readers/a.py": "",
        "src/agecascade/readers/b.py": "",
        "src/agecascade/plots.py": "",
        "pipeline/common.py": "",
        "pipeline/clean.py": "import common\nimport agecascade.readers\n",
        "pipeline/split.py": 'import common\nimport agecascade.errors\nSCRIPT = "autosklearn_fit.py"\n',
        "pipeline/autosklearn_fit.py": "",
    }
    for name in ("__init__", "errors", "io/__init__", "io/code", "io/files", "io/imports", "io/places", "io/stage_code"):
        files[f"src/agecascade/{name}.py"] = (ROOT / "src" / "agecascade" / f"{name}.py").read_text(encoding="utf-8")
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("")
    return tmp_path


def write(repository: Path) -> int:
    """Write the files; returns how many Python files were parsed for it."""
    environment = {"PYTHONPATH": "src", "DVC_ROOT": str(repository)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def written(repository: Path) -> dict[str, str]:
    folder = repository / "data" / "code"
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.txt")}


def test_each_stage_has_its_modules_and_each_reader_its_own(repository: Path) -> None:
    write(repository)
    files = written(repository)
    assert set(files) == {"split.txt", "clean/a.txt", "clean/b.txt"}
    names = {kind: {line.split("  ")[1] for line in text.splitlines()} for kind, text in files.items()}
    assert names["split.txt"] == {
        *("pipeline/split.py", "pipeline/common.py", "pipeline/autosklearn_fit.py"),
        *("src/agecascade/__init__.py", "src/agecascade/errors.py"),
    }
    assert "src/agecascade/readers/a.py" in names["clean/a.txt"]
    assert "src/agecascade/readers/b.py" not in names["clean/a.txt"]
    line = f"{sha256((repository / 'pipeline' / 'split.py').read_bytes()).hexdigest()}  pipeline/split.py"
    assert line in files["split.txt"].splitlines()


@pytest.mark.parametrize(
    ("name", "stale"),
    [
        ("src/agecascade/errors.py", {"split.txt"}),
        ("src/agecascade/readers/a.py", {"clean/a.txt"}),
        ("src/agecascade/readers/__init__.py", {"clean/a.txt", "clean/b.txt"}),
        ("pipeline/common.py", {"split.txt", "clean/a.txt", "clean/b.txt"}),
        ("pipeline/autosklearn_fit.py", {"split.txt"}),
        ("src/agecascade/plots.py", set()),
    ],
)
def test_a_changed_file_changes_the_stages_that_run_it_alone(repository: Path, name: str, stale: set[str]) -> None:
    write(repository)
    before = written(repository)
    path = repository / name
    path.write_text(path.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    write(repository)
    after = written(repository)
    assert {kind for kind in before if after[kind] != before[kind]} == stale


def test_what_was_read_before_is_not_read_again(repository: Path) -> None:
    assert write(repository) > 5
    place = (repository / "data" / "code").stat().st_ino
    assert write(repository) == 0
    assert (repository / "data" / "code").stat().st_ino == place  # nor written
    (repository / "src" / "agecascade" / "readers" / "a.py").write_text("import agecascade.plots\n")
    assert write(repository) == 1  # plots.py is empty, and so is b.py, which was read
    assert "src/agecascade/plots.py" in written(repository)["clean/a.txt"]


@pytest.mark.parametrize("damage", ["", "{", json.dumps({"rules": "of another version", "files": {}})])
def test_a_damaged_memo_or_one_of_other_rules_is_written_anew(repository: Path, damage: str) -> None:
    parsed = write(repository)
    (repository / ".agecascade" / "imports.json").write_text(damage)
    assert write(repository) == parsed
    assert write(repository) == 0
