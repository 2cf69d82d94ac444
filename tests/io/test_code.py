"""Import closures: what a change of code makes stale."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agecascade.io.code import SOURCE, code_digest, files_digest, import_closure, named_modules


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of a few modules, and a script that uses it."""
    files = {
        "src/agecascade/__init__.py": "def __getattr__(name):\n    from agecascade.heavy import thing\n    return thing\n",
        "src/agecascade/heavy.py": "thing = 1\n",
        "src/agecascade/errors.py": "",
        "src/agecascade/io/__init__.py": "",
        "src/agecascade/io/files.py": "from agecascade import errors\n",
        "src/agecascade/lazy.py": "import agecascade.io.files\n",
        "src/agecascade/typed.py": "",
        "src/agecascade/plots.py": "",
        "src/agecascade/readers.py": 'READERS = {"a": "agecascade.lazy", "b": "agecascade.io.files:Reader", "c": "agecascade.nothing"}\n',
        "pipeline/common.py": "import agecascade.errors\n",
        "pipeline/stage.py": (
            "from typing import TYPE_CHECKING\n"
            "from common import run\n"
            "if TYPE_CHECKING:\n    from agecascade.typed import T\n"
            "def main():\n    from agecascade.lazy import f\n"
        ),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def names(paths: frozenset[Path], folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in paths}


def test_imports_are_followed_into_functions_and_through_modules_but_not_for_types(package: Path) -> None:
    closure = import_closure(package / "pipeline" / "stage.py", source=package / "src")
    assert names(closure, package) == {
        "pipeline/stage.py",
        "pipeline/common.py",
        *(f"src/agecascade/{name}.py" for name in ("__init__", "lazy", "errors", "io/__init__", "io/files")),
    }


def test_a_module_is_an_entry_by_its_name(package: Path) -> None:
    closure = import_closure("agecascade.io.files", source=package / "src")
    assert names(closure, package / "src" / "agecascade") == {"__init__.py", "errors.py", "io/__init__.py", "io/files.py"}


def test_the_modules_that_a_registry_names_are_no_imports(package: Path) -> None:
    registry = package / "src" / "agecascade" / "readers.py"
    assert named_modules(registry, package / "src") == {"agecascade.lazy", "agecascade.io.files"}
    assert package / "src" / "agecascade" / "lazy.py" not in import_closure(registry, source=package / "src")


def test_the_digest_follows_the_closure_and_nothing_else(package: Path) -> None:
    def digest() -> str:
        return files_digest(import_closure("agecascade.lazy", source=package / "src"), package / "src")

    before = digest()
    (package / "src" / "agecascade" / "plots.py").write_text("changed = True\n")
    assert digest() == before
    (package / "src" / "agecascade" / "errors.py").write_text("changed = True\n")
    assert digest() != before


def test_the_digest_tells_the_same_content_under_another_name_apart(tmp_path: Path) -> None:
    for folder, name in (("one", "a.py"), ("two", "b.py")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("x = 1\n")
    one, two = ([tmp_path / folder / name] for folder, name in (("one", "a.py"), ("two", "b.py")))
    assert files_digest(one, tmp_path / "one") != files_digest(two, tmp_path / "two")


@pytest.mark.parametrize("module", ["agecascade.io.fetch", "agecascade.datasets.fgnet", "agecascade.params"])
def test_python_loads_no_module_outside_the_closure(module: str) -> None:
    """An independent count: what Python itself has loaded after the import."""
    script = f"import json, sys, {module}; print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.startswith('agecascade')]))"
    environment = {"PYTHONPATH": str(SOURCE), "PATH": ""}
    loaded = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True).stdout
    closure = {str(path) for path in import_closure(module)}
    assert set(json.loads(loaded)) <= closure


def test_the_running_code_has_a_digest() -> None:
    assert len(code_digest("agecascade.io.files")) == 64
    assert code_digest("agecascade.io.files") != code_digest("agecascade.io.fetch")


def test_trainings_in_threads_parse_at_once() -> None:
    """Python 3.11 raises SystemError where one thread parses while another's garbage collection lets go of the interpreter."""
    script = textwrap.dedent("""
        import gc, sys, threading, time
        from agecascade.io import code

        class Slow:
            def __init__(self):
                self.itself = self
            def __del__(self):
                time.sleep(0.0001)

        def parse():
            for _ in range(20):
                for _ in range(50):
                    Slow()
                try:
                    code._parsed.__wrapped__(code.SOURCE / "agecascade" / "io" / "code.py")
                except SystemError as error:
                    errors.append(error)

        sys.setswitchinterval(1e-6)
        gc.set_threshold(700)
        errors = []
        threads = [threading.Thread(target=parse) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.exit(str(errors) if errors else 0)
    """)
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(SOURCE), "PATH": ""}, check=True)
