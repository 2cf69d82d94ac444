"""Tables of results as Markdown: figures of one seed and of several, published ones, and runs that are missing or stale."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agecascade.errors import AgecascadeError
from agecascade.io.files import write_json
from agecascade.results import kept, table
from agecascade.results.definition import Table
from agecascade.results.kept import Kept
from agecascade.study import load_safe, render
from places import ROOT

TABLE = Table.model_validate(
    {
        "title": "a table",
        "dataset": "faces",
        "columns": {"MAE": "mae", "CS(5)": "cs_5"},
        "runs": {"one": {"study": "utkface"}, "two": {"study": "utkface", "set": {"lambda": 0.5}}},
        "rows": [
            {"name": "median", "run": "one", "step": "baseline"},
            {"name": "A", "run": "one", "step": "target", "method": "dldl_v2"},
            {"name": "B", "run": "two", "step": "target", "note": "as well"},
            {"name": "SVR", "run": "one", "step": "regress", "entry": "svr"},
            {"name": "C", "published": {"MAE": "4.270"}},
        ],
    }
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the project's studies."""
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    return tmp_path


def keep(root: Path, name: str, rows: dict[str, Any], bounded: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write a kept run with these rows of the data set `faces`, and today's params but for the changes."""
    params = {**load_safe(render("utkface", ROOT)), **changes}
    kept_run = Kept("a command", "0123456789", 0, "2026-11-30", "2 cores", "ab.txt", params, {"faces": rows}, {"faces": bounded or {}}, {})
    (root / kept.path_of("small", name)).parent.mkdir(parents=True, exist_ok=True)
    write_json(root / kept.path_of("small", name), asdict(kept_run))


def figures(mae: float, **more: Any) -> dict[str, Any]:
    return {"mae": mae, "cs_5": 0.5, "pictures": 20, "interval": "t over folds", **more}


def lines(root: Path) -> dict[str, str]:
    """The lines of both tables by their first cell."""
    return {line.split(" | ")[0].strip("| "): line for line in table.markdown("small", TABLE, root).splitlines()}


def test_one_seed_has_an_interval_and_several_a_deviation(root: Path) -> None:
    """By hand: the mean of 5 and 6 is 5.5, their deviation sqrt(0.5^2 + 0.5^2) = 0.71."""
    seeds = {"dldl_v2-tinyagenet-s0": figures(5.0, validation_mae=4.0), "dldl_v2-tinyagenet-s1": figures(6.0, validation_mae=5.0)}
    rows = {"baseline": {"median": figures(10.0, mae_low=9.0, mae_high=11.0)}, "target": seeds}
    keep(root, "one", rows, {"regress": {"svr": figures(7.0)}})
    keep(root, "two", {"target": {"dex-tinyagenet-s0": figures(3.0)}}, **{"lambda": 0.5})
    shown = lines(root)
    assert shown["row"] == "| row | n | MAE | 95 % interval | deviation | seeds | validation MAE | CS(5) | run | note |"
    assert shown["median"] == "| median | 20 | 10.00 | 9.00 to 11.00 (folds) |  |  |  | 0.500 | one |  |"
    assert shown["A"] == "| A | 20 | 5.50 |  | 0.71 | 2 | 4.50 | 0.500 | one |  |"
    assert shown["B"] == "| B | 20 | 3.00 |  |  |  |  | 0.500 | two | as well |"
    assert shown["SVR"].startswith("| SVR | 20 | 7.00 |")
    assert shown["*C*"] == "| *C* |  | *4.270* |  |  |  |  |  |  |  |"
    assert shown["one"] == "| one | `agecascade study utkface && dvc repro evaluate` | 0 | 0123456 | 2026-11-30 | 2 cores | ab |"
    assert table.missing("small", TABLE, root) == []


def test_a_run_that_is_missing_or_stale_leaves_its_cells_empty(root: Path) -> None:
    keep(root, "two", {"target": {"dex-tinyagenet-s0": figures(3.0)}}, **{"lambda": 0.7})
    shown = lines(root)
    assert shown["row"] == "| row | MAE | CS(5) | run | note |"
    assert shown["B"] == "| B |  |  | two | as well |"
    assert "| stale: 0123456 |" in shown["two"]
    assert table.missing("small", TABLE, root) == ["one", "two"]


def test_a_key_that_is_newer_than_a_run_is_no_change_of_it(root: Path) -> None:
    keep(root, "one", {})
    content = kept.read("small", "one", root)
    assert content is not None
    del content.params["kl_reduction"]  # which the file had not at that time; its default is what ran
    write_json(root / kept.path_of("small", "one"), asdict(content))
    assert table.missing("small", TABLE, root) == ["two"]
    content.params["gone"] = 1
    write_json(root / kept.path_of("small", "one"), asdict(content))
    assert table.missing("small", TABLE, root) == ["one", "two"]


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"command": 1}'])
def test_a_damaged_file_is_named(root: Path, text: str) -> None:
    path = root / kept.path_of("small", "one")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(AgecascadeError, match=r"metrics/results/small/one.json is no kept run .*git checkout"):
        table.missing("small", TABLE, root)
