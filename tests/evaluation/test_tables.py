"""agecascade.evaluation.tables and .runs: what stands in a table, and how experiments and runs become one."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agecascade.errors import AgecascadeError
from agecascade.evaluation import runs
from agecascade.evaluation.tables import BOUNDED, TableRow, current_tables, mae_table, to_markdown, write_table_files

SUMMARY = {
    "mae": 3.456,
    "mae_low": 3.1,
    "mae_high": 3.8,
    "interval": "t over folds",
    "pooled_mae": 3.5,
    "rmse": 4.6,
    "pearson": 0.9123,
    "cs_3": 0.5,
    "ca_3": 0.45,
    "cs_5": 0.7,
    "ca_5": 0.65,
    "pictures": 400,
    "folds": 5,
}
CHAIN = ["faces", "imdb", "target"]


def test_the_columns_and_their_order():
    table = mae_table([TableRow("b", "dldl_v2", "tinyagenet", CHAIN, 0, SUMMARY), TableRow("a", "dex", "tinyagenet", [], 1, SUMMARY)])
    assert table["data set"].tolist() == ["a", "b"]
    assert table["cascade"].tolist() == ["", "faces > imdb > target"]
    assert table.columns.tolist() == [
        *["data set", "method", "backbone", "cascade", "seed", "folds", "n", "MAE", "95 % CI", "CI over"],
        *["pooled MAE", "RMSE", "Pearson", "CS(5)", "CA(3)", "CA(5)"],
    ]


def test_rows_of_one_data_set_stay_as_given():
    rows = [TableRow("a", method, "tinyagenet", CHAIN, 0, SUMMARY) for method in ("svr", "dldl_v2", "dex")]
    assert mae_table(rows)["method"].tolist() == ["svr", "dldl_v2", "dex"]


def test_markdown_says_what_is_bounded_by_time_and_leaves_blank_what_is_undefined():
    without = {key: value for key, value in SUMMARY.items() if key != "pearson"}
    rows = [TableRow("a", "dldl_v2", "net", CHAIN, 0, SUMMARY), TableRow("a", "autosklearn", "net", CHAIN, 0, without, bounded=True)]
    lines = to_markdown(mae_table(rows)).splitlines()
    cells = "a|dldl_v2|net|faces > imdb > target|0|5|400|3.46|3.10 to 3.80|folds|3.50|4.60|0.912|0.700|0.450|0.650|"
    assert lines[2] == "| " + " | ".join(cells.split("|")) + " |"
    assert lines[3].endswith("| 4.60 |  | 0.700 | 0.450 | 0.650 | † |")
    assert lines[1].startswith("| --- | --- | --- | --- | ---: |")
    assert lines[-1] == BOUNDED


def test_epsilon_stands_where_a_row_has_it():
    table = mae_table([TableRow("a", "dldl_v2", "net", CHAIN, 0, {**SUMMARY, "epsilon_error": 0.31})], confidence=0.9)
    assert table["epsilon"].tolist() == [0.31]
    assert "90 % CI" in table
    assert BOUNDED not in to_markdown(table)


def test_median_and_quartiles_stand_where_there_are_folds_and_r2_where_labels_differ():
    spread = {"fold_mae_median": 3.2, "fold_mae_quartile_1": 2.81, "fold_mae_quartile_3": 4.0, "r2": 0.4567}
    rows = [
        TableRow("a", "svr", "net", [], 0, {**SUMMARY, **spread}),
        TableRow("a", "knn", "net", [], 0, {**SUMMARY, **spread, "folds": 1}),
    ]
    table = mae_table(rows)
    assert table["fold quartiles"].fillna("").tolist() == ["2.81 to 4.00", ""]
    lines = to_markdown(table).splitlines()
    assert "| 3.20 | 2.81 to 4.00 | 3.50 | 4.60 | 0.457 | 0.912 |" in lines[2]
    assert "|  |  | 3.50 | 4.60 | 0.457 | 0.912 |" in lines[3]


def test_csv_can_be_read_back(tmp_path: Path):
    table = mae_table([TableRow("a", "dldl_v2", "net", CHAIN, 0, SUMMARY)])
    write_table_files(tmp_path / "tables" / "mae", table)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tables" / "mae.csv"), table)


def test_the_tables_of_the_pipeline_are_shown(tmp_path: Path):
    with pytest.raises(AgecascadeError, match=r"holds no table yet; run `dvc repro`"):
        current_tables(tmp_path)
    (tmp_path / "metrics" / "tables").mkdir(parents=True)
    (tmp_path / "metrics" / "tables" / "mae.md").write_text("| MAE |\n| ---: |\n| 3.14 |\n")
    assert "| 3.14 |" in current_tables(tmp_path)


def state(rev: str, name: str | None, lambda_er: float, mae: float | None) -> dict[str, Any]:
    """One state as `dvc exp show --json` prints it."""
    figures = {"sample_fgnet": {"target": {"dldl_v2-tinyagenet-s0": {**SUMMARY, "mae": mae}}}}
    metrics = {"metrics/mae.json": {"data": figures}} if mae is not None else {}
    params = {"params.yaml": {"data": {"study": "sample", "lambda": lambda_er, "sigma": 2.0}}}
    return {"rev": rev, "name": name, "data": {"rev": rev, "params": params, "metrics": metrics}, "error": None, "experiments": None}


def shown(workspace: dict[str, Any], branch: dict[str, Any], *experiments: dict[str, Any]) -> list[dict[str, Any]]:
    """The output of `dvc exp show --json`."""
    return [workspace, {**branch, "experiments": [{"revs": [each], "name": each["name"], "executor": None} for each in experiments]}]


def run(experiment: str, lambda_er: str, mae: float) -> dict[str, Any]:
    """One run as agecascade.evaluation.tracked.evaluation_runs gives it: params are text, figures numbers only."""
    figures = {key: value for key, value in SUMMARY.items() if key != "interval"}
    rows = {"sample_fgnet": {"target": {"dldl_v2-tinyagenet-s0": {**figures, "mae": mae, "folds": 5.0}}}}
    return {"experiment": experiment, "params": {"study": "sample", "lambda": lambda_er, "sigma": "2.0"}, "rows": rows}


MAIN = state("f60b347e62ab", "main", 1.0, 4.0)


def table_of(monkeypatch: pytest.MonkeyPatch, output: list[dict[str, Any]], known: list[dict[str, Any]]) -> pd.DataFrame:
    monkeypatch.setattr(runs, "dvc_evaluations", lambda root: runs.parse_experiments(output))
    monkeypatch.setattr(runs, "evaluation_runs", lambda: known)
    return runs.runs_table(Path())


def test_the_branch_and_its_experiments_stand_in_one_table(monkeypatch: pytest.MonkeyPatch):
    output = shown(
        {**copy.deepcopy(MAIN), "rev": "workspace", "name": None},
        MAIN,
        state("b6ca139a4a42", "laced-ices", 0.1, 3.1),
        state("595a9eddbdc0", "flaky-daze", 10.0, 13.0),
        state("595a9eddbdc1", "still-queued", 3.0, None),
    )
    table = table_of(monkeypatch, output, [])
    assert table["experiment"].tolist() == ["main", "laced-ices", "flaky-daze"]
    assert table["lambda"].tolist() == [1.0, 0.1, 10.0]
    assert table["MAE"].tolist() == [4.0, 3.1, 13.0]
    assert "| laced-ices | 0.1 | 2 | sample_fgnet | target | dldl_v2-tinyagenet-s0 | 5 | 400 | 3.10 |" in to_markdown(table)


@pytest.mark.parametrize("state_of_it", ["queued", "running", "failed"])
def test_an_experiment_without_a_result_does_not_show_its_baselines(monkeypatch: pytest.MonkeyPatch, state_of_it: str):
    workspace = {**copy.deepcopy(MAIN), "rev": "workspace", "name": None}
    output = shown(workspace, MAIN, state("b6ca139a4a42", "laced-ices", 0.1, 4.0), state("595a9eddbdc0", "done", 10.0, 13.0))
    for experiment, now in zip(output[1]["experiments"], [state_of_it, "success"], strict=True):
        experiment["executor"] = {"state": now, "name": "dvc-task", "local": None}
    assert table_of(monkeypatch, output, [])["experiment"].tolist() == ["main", "done"]
    figures = table_of(monkeypatch, output, [run("laced-ices", "0.1", 6.6)])  # evaluated, and failed behind it
    assert figures["MAE"].tolist() == [4.0, 13.0, 6.6]


def test_figures_of_data_sets_that_the_study_does_not_have_are_left_out(monkeypatch: pytest.MonkeyPatch):
    chosen = state("b6ca139a4a42", "main", 1.0, 4.0)
    chosen["data"]["params"]["params.yaml"]["data"]["datasets"] = {"utkface": {}}
    assert not len(table_of(monkeypatch, shown(chosen, chosen), []))


def test_a_workspace_that_differs_has_its_own_line(monkeypatch: pytest.MonkeyPatch):
    table = table_of(monkeypatch, shown(state("workspace", None, 0.5, 3.9), MAIN), [])
    assert table["experiment"].tolist() == ["workspace", "main"]


def test_a_run_known_to_both_stands_once_and_dvcs_figures_count(monkeypatch: pytest.MonkeyPatch):
    output = shown({**copy.deepcopy(MAIN), "rev": "workspace", "name": None}, MAIN, state("b6ca139a4a42", "laced-ices", 0.1, 3.1))
    known = [
        run("f60b347", "1.0", 99.0),  # the branch, by its commit
        run("laced-ices", "0.1", 99.0),
        run("f60b347", "7.0", 5.5),  # the same commit with params never committed
        run("gone-away", "0.1", 6.6),  # an experiment that DVC has removed
    ]
    table = table_of(monkeypatch, output, known)
    assert table["MAE"].tolist() == [4.0, 3.1, 5.5, 6.6]
    assert table["folds"].tolist() == [5] * 4


def test_runs_that_differ_by_decoding_or_have_no_sigma_stand_apart(monkeypatch: pytest.MonkeyPatch):
    main = copy.deepcopy(MAIN)
    main["data"]["params"]["params.yaml"]["data"] |= {"decoding": "expectation", "sigma": None}
    known = [run("f60b347", "1.0", 3.9), run("f60b347", "1.0", 99.0)]
    for each, decoding in zip(known, ("median", "expectation"), strict=True):
        each["params"] |= {"decoding": decoding, "sigma": "None"}
    table = table_of(monkeypatch, shown(state("workspace", None, 1.0, None), main), known)
    assert table[["decoding", "MAE"]].to_numpy().tolist() == [["expectation", 4.0], ["median", 3.9]]
    assert "sigma" not in table


def test_whatever_is_swept_has_a_column(monkeypatch: pytest.MonkeyPatch):
    """A param that no two runs of one study differ in has none; nor has one that the row's name tells."""
    main, other, strange = copy.deepcopy(MAIN), state("b6ca139a4a42", "laced-ices", 1.0, 3.1), state("c6ca139a4a42", "far-away", 1.0, 3.2)
    for each, pooling, seed in ((main, "hybrid", 0), (other, "max", 1), (strange, "hybrid", 0)):
        each["data"]["params"]["params.yaml"]["data"] |= {
            "daa": {"width": 64, "nearest": False},
            "align": {"size": 64},
            "pooling": pooling,
            "seed": seed,
        }
    strange["data"]["params"]["params.yaml"]["data"] |= {"study": "another", "align": {"size": 128}}
    known = [run("laced-ices", "1.0", 99.0), run("laced-ices", "1.0", 3.3)]
    for each, width in zip(known, ("64", "32"), strict=True):
        each["params"] |= {"pooling": "max", "daa.width": width, "daa.nearest": "False", "seed": "1"}
    table = table_of(monkeypatch, shown(state("workspace", None, 1.0, None), main, other, strange), known)
    assert table[["pooling", "daa.width", "MAE"]].to_numpy().tolist() == [
        ["hybrid", 64, 4.0],
        ["max", 64, 3.1],
        ["hybrid", 64, 3.2],
        ["max", 32, 3.3],
    ]
    assert not {"seed", "align.size", "daa.nearest", "study"} & set(table)


def test_nothing_yet_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(runs, "dvc_evaluations", lambda root: [])
    monkeypatch.setattr(runs, "evaluation_runs", list)
    with pytest.raises(AgecascadeError, match="neither DVC nor MLflow knows an evaluation yet"):
        runs.table_over_runs(tmp_path)


def test_outside_a_dvc_repository_is_an_error(tmp_path: Path):
    with pytest.raises(AgecascadeError, match="`dvc exp show` failed"):
        runs.dvc_evaluations(tmp_path)


def test_figures_are_read_from_a_commit_or_from_the_workspace(tmp_path: Path):
    git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "mae.json").write_text('{"a": 1}')
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    (tmp_path / "mae.json").write_text('{"a": 2}')
    assert runs.figures_of(tmp_path, "HEAD", "mae.json") == {"a": 1}
    assert runs.figures_of(tmp_path, "workspace", "mae.json") == {"a": 2}
    for content in ("no JSON", "[]"):
        (tmp_path / "mae.json").write_text(content)
        assert runs.figures_of(tmp_path, "workspace", "mae.json") == {}
    assert runs.figures_of(tmp_path, "HEAD", "gone.json") == runs.figures_of(tmp_path, "workspace", "gone.json") == {}


def test_states_whose_metrics_lack_the_figures_are_read_from_their_commits():
    output = shown(state("workspace", None, 1.0, None), state("f60b347e62ab", "main", 1.0, None))
    read = {("f60b347e62ab", "metrics/mae.json"): {"a": {"target": {"svr": {"mae": 3.0}}}}}
    (evaluation,) = runs.parse_experiments(output, lambda revision, file: read.get((revision, file), {}))
    assert (evaluation.names, evaluation.rows["a"]["target"]["svr"]["mae"]) == (("main", "f60b347"), 3.0)


@pytest.mark.slow
def test_real_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = "import json, pathlib, sys; lam = float(pathlib.Path('params.yaml').read_text().split()[1]); "
    script += "pathlib.Path('metrics').mkdir(exist_ok=True); "
    script += "json.dump({'a': {'target': {'svr': {'mae': 3 + lam}}}}, open('metrics/mae.json', 'w'))"
    (tmp_path / "evaluate.py").write_text(script)
    (tmp_path / "params.yaml").write_text("lambda: 1.0\n")
    # no metric of DVC's: it is read from the commits
    stage = f"cmd: {sys.executable} evaluate.py\n    params: [lambda]\n    outs: [metrics/mae.json: {{cache: false}}]\n"
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  evaluate:\n    {stage}")
    dvc = [sys.executable, "-m", "dvc"]
    commands = [
        ["git", "init", "--quiet", "--initial-branch", "main"],
        ["git", "config", "user.name", "nobody"],
        ["git", "config", "user.email", "nobody@example.org"],
        [*dvc, "init", "--quiet"],
        [*dvc, "repro", "--quiet"],
        ["git", "add", "--all"],
        ["git", "commit", "--quiet", "--message", "start"],
        [*dvc, "exp", "run", "--quiet", "--temp", "--name", "low", "-S", "lambda=0.1"],
    ]
    for command in commands:
        subprocess.run(command, cwd=tmp_path, check=True)
    maes = {evaluation.names[0]: evaluation.rows["a"]["target"]["svr"]["mae"] for evaluation in runs.dvc_evaluations(tmp_path)}
    assert maes == {"main": 4.0, "low": 3.1}


def test_runs_of_other_test_pictures_are_not_compared_silently(monkeypatch: pytest.MonkeyPatch):
    """Two runs with as many, but other pictures stood below each other as if their MAEs could be compared."""
    main, other, old = copy.deepcopy(MAIN), state("b6ca139a4a42", "laced-ices", 0.1, 3.1), state("c6ca139a4a42", "far-away", 0.2, 3.2)
    for each, digest in ((main, "aaa"), (other, "bbb")):
        each["data"]["metrics"]["metrics/mae.json"]["data"]["sample_fgnet"]["target"]["dldl_v2-tinyagenet-s0"]["test_set"] = digest
    monkeypatch.setattr(runs, "dvc_evaluations", lambda root: runs.parse_experiments(shown(main, main, other, old)))
    monkeypatch.setattr(runs, "evaluation_runs", list)
    text = runs.table_over_runs(Path())
    assert "| 400 | 1 | 4.00 |" in text
    assert "| 400 | 2 | 3.10 |" in text
    assert "| 400 | unknown | 3.20 |" in text
    assert "sample_fgnet: not comparable: these rows were tested on 2 different sets of pictures, folds or labels" in text
    assert "of 1 row it is unknown" in text
    other["data"]["metrics"]["metrics/mae.json"]["data"]["sample_fgnet"]["target"]["dldl_v2-tinyagenet-s0"]["test_set"] = "aaa"
    text = runs.table_over_runs(Path())
    assert "test pictures" not in text
    assert "not comparable" not in text
