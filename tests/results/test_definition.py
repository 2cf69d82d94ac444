"""Tables of results: what a file of studies/results/ says, what is refused, and that the committed ones fit their studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agecascade.errors import AgecascadeError, ParamsError
from agecascade.results import definition
from agecascade.results.definition import Row, Run
from agecascade.study import load_safe
from places import ROOT

SMALL = """
title: a table
dataset: utkface
runs:
  one: {study: utkface}
  two: {study: utkface, set: {lambda: 0.5, cascade.age_0_116.epochs: 3}}
rows:
  - {name: A, run: one, step: age_0_116}
  - {name: B, run: two, step: age_0_116, method: dex}
  - {name: C, published: {MAE: 4.27}}
"""


def written(folder: Path, text: str) -> Path:
    """A repository with the project's studies and one table, `small`."""
    (folder / "studies" / "results").mkdir(parents=True)
    for study in (ROOT / "studies").glob("*.yaml"):
        (folder / "studies" / study.name).symlink_to(study)
    (folder / "studies" / "results" / "small.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", definition.names(ROOT))
def test_runs_of_the_committed_tables_pass_the_checks_and_have_the_rows_steps(name: str) -> None:
    table = definition.read(name, ROOT)
    content = {run: load_safe(settings.params(ROOT)) for run, settings in table.runs.items()}
    for row in table.rows:
        if row.run is None:
            continue
        params = content[row.run]
        assert (row.dataset or table.dataset) in params["datasets"]
        assert row.step in {"baseline", "regress", *params["cascade"]}
        assert row.entry is None or row.entry in params["regressors"]
        methods = {params["method"], *(params["compare"]["methods"] or [])}
        assert row.method is None or row.method in methods or row.method == params["cascade"][row.step].get("method")


def test_a_run_is_its_study_with_its_keys_changed(tmp_path: Path) -> None:
    root = written(tmp_path, SMALL)
    table = definition.read("small", root)
    one, two = (load_safe(table.runs[name].params(root)) for name in ("one", "two"))
    assert (two.pop("lambda"), one.pop("lambda")) == (0.5, 0.1)
    assert (two["cascade"]["age_0_116"].pop("epochs"), one["cascade"]["age_0_116"].pop("epochs")) == (3, 16)
    assert one == two


def test_the_command_of_a_run_is_what_a_person_types() -> None:
    assert Run(study="utkface").command(ROOT) == "agecascade study utkface && dvc repro evaluate"
    changed = Run(
        study="utkface", set={"compare.seeds": [0, 1], "sigma": None, "cascade.age_0_116.compile": True, "augment": {"flip": 0.5}}
    )
    expected = "-S 'compare.seeds=[0,1]' -S 'sigma=null' -S '+cascade.age_0_116.compile=true' -S 'augment={flip:0.5}'"
    assert changed.command(ROOT) == f"agecascade study utkface && dvc exp run {expected} evaluate"


@pytest.mark.parametrize(
    ("row", "step", "name", "fits"),
    [
        ({"step": "target"}, "target", "dex-tinyagenet-s3", True),
        ({"step": "target"}, "faces", "dex-tinyagenet-s3", False),
        ({"step": "target", "method": "dex"}, "target", "dldl-tinyagenet-s0", False),
        ({"step": "target", "method": "dldl"}, "target", "dldl_v2-tinyagenet-s0", False),
        ({"step": "target", "backbone": "timm/a-b"}, "target", "dex-timm/a-b-s0", True),
        ({"step": "target", "backbone": "c3ae"}, "target", "dex-tinyagenet-s0", False),
        ({"step": "regress", "entry": "svr"}, "regress", "svr", True),
        ({"step": "regress", "entry": "svr"}, "regress", "ridge", False),
        ({"step": "baseline"}, "baseline", "median", True),
    ],
)
def test_which_rows_of_a_run_a_row_is(row: dict[str, Any], step: str, name: str, fits: bool) -> None:
    assert Row(name="A", run="one", **row).fits(step, name) is fits


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("run: one, step", "run: on, step", "row A: unknown run 'on'; did you mean one"),
        ("run: one, step: age_0_116", "run: one", "row A: a row of a run names its step"),
        ("run: one, step: age_0_116", "run: one, step: regress", "row A: a row of a run names its step"),
        ("{MAE: 4.27}", "{RMSE: 4.27}", "row C: published: unknown column 'RMSE'"),
        ("{name: C, published: {MAE: 4.27}}", "{name: C}", "row C: neither a run nor published figures"),
        ("run: two", "run: one", "run two: no row shows it"),
        ("  one:", "  One:", "'One' is no name"),
        ("title: a table", "titel: a table", "title: Field required"),
    ],
)
def test_a_fault_is_named_with_its_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ParamsError) as error:
        definition.read("small", written(tmp_path, SMALL.replace(old, new)))
    assert str(error.value).startswith("studies/results/small.yaml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "message"),
    [("cascade.age_0_16.epochs", "there is no age_0_16"), ("lambda.x", "lambda is no block"), ("lamda", "unknown key 'lamda'")],
)
def test_a_key_that_the_study_lacks_is_named(key: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        Run(study="utkface", set={key: 1}).params(ROOT)


def test_unknown_tables_and_runs_are_named(tmp_path: Path) -> None:
    root = written(tmp_path, SMALL)
    with pytest.raises(ParamsError, match="unknown table of results 'smal'; did you mean small"):
        definition.read("smal", root)
    with pytest.raises(AgecascadeError, match="unknown run 'tow'"):
        definition.chosen(definition.read("small", root), ["tow"])
    assert list(definition.chosen(definition.read("small", root), ["two"])) == ["two"]
    assert list(definition.chosen(definition.read("small", root), [])) == ["one", "two"]
