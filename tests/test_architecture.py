"""The house: imports run one way, without circles, and few packages hold few files (docs/explanation/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from agecascade.io.code import imported_files
from places import ROOT

PACKAGE = ROOT / "src" / "agecascade"
# from the ground up: what stands in a line imports from the lines above it alone
LAYERS = [
    {"errors"},
    {"extras", "released"},
    {"params", "schema", "labels", "metrics", "scoring", "conformal", "age_thresholds"},
    {"io"},
    {"archives", "plots", "tracking"},
    {"imaging", "registered"},
    {"datasets", "faces", "synthetic"},
    {"loading", "methods", "models"},
    {"model_card"},
    {"augmentation", "model_folder", "duplicates", "study"},
    {"inference", "pretrained", "leakage", "own_table"},
    {"features", "training", "runtimes", "splits"},
    {"estimator"},
    {"regressors", "screening", "explain", "export"},
    {"evaluation"},
    {"dataset_report", "report", "results", "serve"},
    {"cli"},
]
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The package or top-level module of a file; "" of the package's own `__init__`."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def layer(name: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if name in names)


def libraries(path: Path) -> Iterator[str]:
    """The top-level packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_every_package_has_its_layer() -> None:
    assert {part(path) for path in FILES} - {""} == set().union(*LAYERS)


def test_no_import_goes_upwards() -> None:
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {imported.relative_to(PACKAGE)}"
        for path in FILES
        for imported in imported_files(path)
        if part(path) and part(imported) not in ("", part(path)) and layer(part(imported)) >= layer(part(path))
    ]
    assert not upwards, "\n" + "\n".join(upwards)


def test_no_circle_of_imports() -> None:
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        assert path not in above, " -> ".join(str(step.relative_to(PACKAGE)) for step in (*above[above.index(path) :], path))
        if path not in done:
            for imported in imported_files(path):
                if imported.name != "__init__.py":  # packages run before their modules; what these import of it is a name of it
                    visit(imported, (*above, path))
            done.add(path)

    for path in FILES:
        visit(path, ())


@pytest.mark.parametrize(
    ("library", "allowed"),
    [("mlflow", {"tracking", "registered", "report"}), ("dvc", {"evaluation"}), ("lightning_fabric", {"training"}), ("fastapi", {"serve"})],
)
def test_a_library_has_one_room(library: str, allowed: set[str]) -> None:
    assert {part(path) for path in FILES if library in libraries(path)} <= allowed


def test_networks_and_objectives_know_no_files() -> None:
    """So that they train where nothing but torch is installed."""
    for path in FILES:
        if part(path) in ("models", "methods"):
            assert {part(imported) for imported in imported_files(path)} <= {"", "models", "methods", "labels", "errors", "params"}
            assert not {"pathlib", "os", "io", "pandas", "pyarrow"} & set(libraries(path)), path


def test_the_house_stays_small() -> None:
    packages = {path.parent for path in PACKAGE.rglob("__init__.py")} - {PACKAGE}
    modules = {path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    assert len(packages) + len(modules) <= 48
    assert len(FILES) + len(list((ROOT / "pipeline").glob("*.py"))) <= 330
