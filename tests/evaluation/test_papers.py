"""Papers' tables beside our runs: what counts as a run of a row, what a line says, and that the committed files fit their studies."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agecascade import study
from agecascade.errors import AgecascadeError
from agecascade.evaluation import papers, runs
from agecascade.evaluation.papers import PaperTable, tables_beside_papers
from agecascade.evaluation.runs import Evaluation
from agecascade.evaluation.tables import to_markdown
from agecascade.io.yaml_text import load_yaml
from agecascade.params import Augment, check
from agecascade.tracking.names import flat
from places import ROOT

TABLE = PaperTable.model_validate(
    {
        "title": "A paper, Table 1",
        "study": "small",
        "step": "target",
        "where": {"lambda": 1},
        "columns": ["MAE", "CA(3)"],
        "ours": {"MAE": "mae", "CA(3)": "ca_3"},
        "percent": ["CA(3)"],
        "rows": [
            {"name": "A", "where": {"method": "dldl_v2"}, "figures": ["3.10", 0.5]},
            {"name": "B", "where": {"method": "dex"}},
        ],
    }
)


def evaluation(rows: dict[str, float], **params: Any) -> Evaluation:
    """A run of the study `small` with these MAEs of rows."""
    figures = {name: {"mae": mae, "ca_3": mae / 10} for name, mae in rows.items()}
    content = {"study": "small", "lambda": 1.0, "method": "dldl_v2", "seed": 0, "augment": {"flip": 0.5}, **params}
    return Evaluation(("name",), content, {"faces": {"target": figures, "regress": {"svr": {"mae": 1.0}}}})


def line(table: Any, index: int) -> dict[str, Any]:
    return {key: value for key, value in table.iloc[index].to_dict().items() if not pd.isna(value)}


def test_repetitions_are_averaged_and_the_paper_is_quoted_as_printed():
    """By hand: the mean of 5 and 6 is 5.5, their deviation sqrt(((0.5)^2 + (0.5)^2) / 1) = 0.7071."""
    table = papers.compare(TABLE, [evaluation({"dldl_v2-tinyagenet-s0": 5.0}), evaluation({"dldl_v2-tinyagenet-s1": 6.0}, seed=1)])
    first = line(table, 0)
    assert first.pop("deviation") == pytest.approx(0.5**0.5)
    assert first == {"row": "A", "our MAE": 5.5, "runs": 2, "our CA(3)": 55.0, "paper: MAE": "3.10", "paper: CA(3)": "0.5"}
    assert line(table, 1) == {"row": "B", "runs": 0, "paper: MAE": "", "paper: CA(3)": ""}
    assert "| A | 5.50 | 0.71 | 2 | 55.00 | 3.10 | 0.5 |" in to_markdown(table)


def test_rows_of_one_run_and_of_queued_ones_are_alike():
    """The row's own method and seed count, not those of params.yaml, and compare makes no other setting."""
    one = [evaluation({"dldl_v2-tinyagenet-s0": 5.0, "dex-tinyagenet-s0": 7.0}, compare={"methods": ["dex"]})]
    queued = [evaluation({"dldl_v2-tinyagenet-s0": 5.0}), evaluation({"dex-tinyagenet-s0": 7.0}, method="dex")]
    assert papers.compare(TABLE, one).equals(papers.compare(TABLE, queued))


def test_a_row_without_daa_is_one_row_whatever_daa_is_told():
    """Of a sweep over templates, all runs tell the same of the method beside it, be it a row of theirs or a run of its own."""
    swept = [
        evaluation({"daa-tinyagenet-s0": mae, "dex-tinyagenet-s0": 7.0}, method="daa", head="daa", daa={"templates": templates})
        for templates, mae in (("binary", 5.0), ("single_channel", 6.0))
    ]
    alone = evaluation({"dex-tinyagenet-s1": 8.0}, method="dex", head="pooled", daa={"templates": "binary"}, seed=1)
    both = TABLE.model_copy(update={"rows": [TABLE.rows[1], TABLE.rows[0].model_copy(update={"where": {"method": "daa"}})]})
    table = papers.compare(both, [*swept, alone])
    assert table[["row", "our MAE", "runs"]].to_numpy().tolist() == [["B", 7.5, 2], ["A", 5.0, 1], ["A", 6.0, 1]]


def test_options_of_another_method_make_no_other_setting_and_its_own_do():
    swept = [
        evaluation({"dldl_v2-tinyagenet-s0": 5.0, "dex-tinyagenet-s0": mae}, method_options={"dex": {"decoding": decoding}})
        for decoding, mae in (("median", 7.0), ("mode", 8.0))
    ]
    before = evaluation({"dldl_v2-tinyagenet-s1": 6.0}, seed=1)  # a run from before there were options
    table = papers.compare(TABLE, [*swept, before])
    assert table[["row", "our MAE", "runs"]].to_numpy().tolist() == [["A", 5.5, 2], ["B", 7.0, 1], ["B", 8.0, 1]]


def test_draws_of_templates_are_repetitions_and_of_other_methods_there_is_one():
    swept = [
        evaluation({"daa-tinyagenet-s0": mae, "dex-tinyagenet-s0": 7.0}, method="daa", head="daa", daa={"draw": draw})
        for draw, mae in enumerate((5.0, 6.0))
    ]
    both = TABLE.model_copy(update={"rows": [TABLE.rows[1], TABLE.rows[0].model_copy(update={"where": {"method": "daa"}})]})
    table = papers.compare(both, swept)
    assert table[["row", "our MAE", "runs"]].to_numpy().tolist() == [["B", 7.0, 1], ["A", 5.5, 2]]


def test_backbones_stand_apart():
    """Be they of one run or of two, of one seed or of several."""
    one = [evaluation({"dldl_v2-tinyagenet-s0": 5.0, "dldl_v2-thinagenet-s0": 4.0})]
    queued = [evaluation({"dldl_v2-tinyagenet-s0": 5.0}), evaluation({"dldl_v2-thinagenet-s1": 4.0}, backbone="thinagenet", seed=1)]
    for evaluations in (one, queued):
        assert papers.compare(TABLE, evaluations)[["row", "our MAE"]].to_numpy().tolist()[:2] == [["A", 5.0], ["A", 4.0]]


def test_mlflow_knows_text_alone():
    text = evaluation({"dldl_v2-tinyagenet-s0": 5.0}, **{"lambda": "1.0", "seed": "0"})
    known = evaluation({"dldl_v2-tinyagenet-s1": 6.0}, seed=1)
    assert line(papers.compare(TABLE, [known, text]), 0)["runs"] == 2


def test_other_settings_stand_apart():
    """Another augmentation is no repetition; the first of two runs of one seed counts."""
    evaluations = [
        evaluation({"dldl_v2-tinyagenet-s0": 5.0}),
        evaluation({"dldl_v2-tinyagenet-s0": 9.0}),
        evaluation({"dldl_v2-tinyagenet-s0": 6.0}, augment="none"),
    ]
    table = papers.compare(TABLE, evaluations)
    assert table["row"].tolist() == ["A", "A", "B"]
    assert table["our MAE"].tolist()[:2] == [5.0, 6.0]


def test_regressors_have_rows_too_also_those_bounded_by_time():
    rows = [{"name": name, "where": {"regressor": name}, "figures": ["9.68"]} for name in ("svr", "autosklearn")]
    table = PaperTable.model_validate({"title": "T", "study": "small", "step": "regress", "columns": ["MAE"], "rows": rows})
    bounded = {"faces": {"regress": {"autosklearn": {"mae": 4.0}}}}
    measured = papers.compare(table, [replace(evaluation({"dldl_v2-tinyagenet-s0": 5.0}), bounded=bounded)])
    assert measured[["row", "our MAE", "runs"]].to_numpy().tolist() == [["svr", 1.0, 1], ["autosklearn", 4.0, 1]]


def test_regressors_are_known_by_their_kind_and_features():
    """Whatever their entries in params.yaml are called, as text of MLflow or from a file; the entry tells two of one kind apart."""
    entries = {
        "svr": {"features": "bif"},
        "plain": {"features": "cnn", "regressor": "svr"},
        "tuned": {"features": "cnn", "regressor": "svr"},
    }
    for unnamed in (None, "None"):
        known = {name: {"regressor": unnamed, **settings} for name, settings in entries.items()}
        figures = {"svr": {"mae": 1.0}, "plain": {"mae": 2.0}, "tuned": {"mae": 3.0}}
        run = Evaluation(
            ("name",), {"study": "small", "seed": 0, "method": "dldl_v2", "regressors": known}, {"faces": {"regress": figures}}
        )

        def maes(where: dict[str, Any], run: Evaluation = run) -> list[float]:
            content = {"title": "T", "study": "small", "step": "regress", "columns": ["MAE"], "rows": [{"name": "A", "where": where}]}
            return papers.compare(PaperTable.model_validate(content), [run])["our MAE"].tolist()

        assert maes({"regressor": "svr", "features": "bif"}) == [1.0]
        assert maes({"regressor": "svr", "features": "cnn"}) == [2.0, 3.0]
        assert maes({"regressor": "svr", "features": "cnn", "entry": "tuned"}) == [3.0]


def test_what_a_paper_quotes_of_others_stands_beside_our_rows_and_is_no_run():
    quoted, ours = {"name": "Human", "figures": ["6.30"]}, {"name": "A", "where": {"method": "dldl_v2"}, "figures": ["2.29"]}
    elsewhere = {"name": "B", "study": "other", "where": {"method": "dldl_v2"}, "figures": ["1.97"]}
    content = {"title": "T", "study": "small", "step": "target", "columns": ["MAE"]}
    table = PaperTable.model_validate({**content, "rows": [quoted, ours, elsewhere]})
    runs = [evaluation({"dldl_v2-tinyagenet-s0": 5.0}), evaluation({"dldl_v2-tinyagenet-s0": 4.0}, study="other")]
    lines = papers.compare(table, runs)
    assert [line(lines, index) for index in range(3)] == [
        {"row": "Human", "runs": 0, "paper: MAE": "6.30"},
        {"row": "A", "our MAE": 5.0, "runs": 1, "paper: MAE": "2.29"},
        {"row": "B", "our MAE": 4.0, "runs": 1, "paper: MAE": "1.97"},
    ]
    assert table.studies == ["small", "other"]
    assert papers.compare(PaperTable.model_validate({**content, "rows": [quoted]}), runs) is None


@pytest.mark.parametrize("changed", [{"study": "other"}, {"lambda": 0.1}, {"lambda": "none"}])
def test_what_does_not_fit_is_no_run_of_the_table(changed: dict[str, Any]):
    assert papers.compare(TABLE, [evaluation({"dldl_v2-tinyagenet-s0": 5.0}, **changed)]) is None


def test_the_committed_tables_fit_their_studies():
    """Every key of every row stands in the study's params or is a row's own, and every step is one of its cascade."""
    tables = papers.read_tables(ROOT)
    assert {table.study for table in tables} >= {"dldl_v2_ablations", "cascaded_table4", "daa_utkface"}
    for table in tables:
        rendered = {name: load_yaml(study.render(name, ROOT)) for name in table.studies}
        for row in (row for row in table.rows if row.where is not None):
            params = rendered[table.study_of(row)]
            checked = check(params)
            setting = dict(table.setting(row))
            step = setting.pop("step")
            assert step in {*checked.cascade, "regress"}, (table.title, row.name)
            if step == "regress":
                wanted = setting.pop("regressor"), setting.pop("features"), setting.pop("entry", None)
                found = [
                    entry
                    for entry, settings in checked.regressors.items()
                    if (settings.regressor or entry, settings.features) == wanted[:2] and wanted[2] in (None, entry)
                ]
                assert len(found) == 1, (table.title, row.name, found)
            elif backbone := setting.get("backbone"):
                assert backbone in {checked.backbone, *checked.compare.backbones} or len(table.studies) == 1, (table.title, row.name)
            # a block may be a preset's name, in the row as in the study
            unknown = {key for key in setting if key not in flat(params) and not ("." not in key and key in params)}
            assert not unknown, (table.title, row.name)


def test_every_printed_figure_is_a_number_or_a_gap():
    """As the papers print them: a number, with its last zeros, and its deviation where they have one; or a dash where there is none."""
    for table in papers.read_tables(ROOT):
        for row in table.rows:
            for figure in row.figures or []:
                parts = str(figure).split(" ± ") if figure not in ("", "-") else []
                assert len(parts) < 3, (table.title, row.name, figure)
                assert all(math.isfinite(float(part)) for part in parts), (table.title, row.name, figure)


@pytest.mark.parametrize(
    ("name", "data", "sigma", "networks"),
    [
        ("dldl_v2_morph2", {"morph2": ("random", 0.2)}, 2.0, "agenet"),
        ("dldl_v2_chalearn2015", {"chalearn2015": ("official", 0.0)}, 2.0, "agenet"),
        ("dldl_v2_chalearn2016", {"chalearn2016": ("official", 0.0)}, 2.0, "agenet"),
        ("dldl_v2_utkface", {"utkface": ("random", 0.2), "utkface_21_60": ("official", 0.0)}, 2.0, "agenet"),
        ("dldl_v2_scut_fbp", {"scut_fbp": ("random", 0.2)}, 0.5, "attnet"),
        ("dldl_v2_cfd", {"cfd": ("random", 0.2)}, 0.5, "attnet"),
    ],
)
def test_the_studies_of_dldl_v2_have_the_papers_recipe(name: str, data: dict[str, tuple[str, float]], sigma: float, networks: str):
    """Section 4.1 of DLDL-v2: Adam, 1e-3, a tenth of it after 30 of 60 epochs, batches of 128, lambda 1, 224 pixels, both networks."""
    params = check(load_yaml(study.render(name, ROOT)))
    assert (params.lambda_er, params.sigma, params.image_size, params.pooling) == (1.0, sigma, 224, "hybrid")
    assert params.augment == Augment(preset="dldl_v2")
    assert {row.backbone for row in params.rows} == {f"thin{networks}", f"tiny{networks}"}
    for recipe in (params.pretrain["faces"], *params.cascade.values()):
        assert (recipe.optimizer, recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == ("adam", 60, 128, 1e-3, 0)
        assert (recipe.schedule.name, recipe.schedule.every, recipe.schedule.factor) == ("step", 30, 0.1)
    tested = {step.dataset: params.datasets[step.dataset] for step in params.cascade.values()}
    assert {key: (dataset.protocol, dataset.test) for key, dataset in tested.items()} == data
    assert all(dataset.validation == 0 for dataset in params.datasets.values())
    assert all(params.chain(step) == ["faces", step] for step in params.cascade)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": [{"name": "C"}]}, "row C: neither where"),
        ({"columns": ["MAE"]}, "row A: 2 figures for 1 columns"),
        ({"rows": []}, "at least 1"),
        ({"rowz": []}, "Extra inputs"),
        ({"percent": ["CA3"]}, "CA3"),
    ],
)
def test_a_faulty_table_names_the_file(tmp_path: Path, change: dict[str, Any], said: str):
    import json

    (tmp_path / "studies" / "papers").mkdir(parents=True)
    (tmp_path / "studies" / "papers" / "t.yaml").write_text(json.dumps({**TABLE.model_dump(), **change}))  # JSON is YAML
    with pytest.raises(AgecascadeError, match=f"papers/t.yaml: .*{said}"):
        papers.read_tables(tmp_path)


def test_the_command_says_what_to_run_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "dvc_evaluations", lambda root: [])
    monkeypatch.setattr(runs, "evaluation_runs", list)
    with pytest.raises(AgecascadeError, match=r"their studies are .*dldl_v2_ablations"):
        tables_beside_papers(ROOT)


def test_the_command_shows_each_table_under_its_title(monkeypatch: pytest.MonkeyPatch):
    ran = {"study": "dldl_v2_ablations", "lambda": 0.1, "pooling": "hybrid", "augment": {"jitter": 0.1}}
    ran |= {"datasets": {"utkface": {"grid": {"low": 0, "high": 116, "step": 1}}}}
    known = Evaluation(("one",), ran, {"utkface": {"age_0_116": {"mr_l2-tinyagenet-s0": {"mae": 5.0}}}})
    monkeypatch.setattr(runs, "all_evaluations", lambda root: [known])
    text = tables_beside_papers(ROOT)
    assert text.startswith("DLDL-v2, Table 11: single-stage methods\n\n| row | our MAE | ")
    assert "| MR (l2) | 5.00 |  | 1 | 3.665 | 0.337 | 3.696 | 0.294 | 2.282 |" in text
