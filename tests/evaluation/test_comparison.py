"""The table `comparison`: who is compared with whom, seeds, other test pictures, ranks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agecascade import params
from agecascade.evaluation.comparison import contenders, rank_blocks, write_comparison
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import BASELINE, EvaluatedRow
from agecascade.evaluation.summary import summarise
from agecascade.evaluation.tables import TableRow
from places import sample_params

PICTURES, FOLDS = 120, 6


def row(step: str, method: str, seed: int = 0, shift: float = 0.0, noise: float = 1.0) -> EvaluatedRow:
    """Predictions whose errors are the picture's own, a shift, and noise of the row's own."""
    index = np.arange(PICTURES)
    hard = np.random.default_rng(99).gamma(2, 2, PICTURES)
    own = np.random.default_rng([seed, len(method), len(step)]).normal(0, noise, PICTURES)
    frame = pd.DataFrame({"sample_id": [f"p{i}" for i in index], "fold": index % FOLDS, "label": 30.0, "label_sigma": np.nan})
    frame["prediction"] = 30 + 6 + hard + shift + own
    line = TableRow("sample_fgnet", method, "tinyagenet" if step != BASELINE else "-", [step], seed, summarise(frame, [5], 0.95, 0))
    name = method if step in ("regress", BASELINE) else f"{method}-tinyagenet-s{seed}"
    return EvaluatedRow(step, name, line, frame, {0: "digest"} if step == "target" else {})


def results(folder: Path, rows: list[EvaluatedRow]) -> Results:
    for name in sample_params()["datasets"]:
        (folder / "data" / "manifest").mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame({"sample_id": [f"p{i}" for i in range(PICTURES)], "subject": [f"s{i // 2}" for i in range(PICTURES)]})
        frame.to_parquet(folder / "data" / "manifest" / f"{name}.parquet")
    return Results(params.check(sample_params()), rows, folder / "data", folder / "models", folder / "metrics", folder / "plots")


def table(folder: Path, rows: list[EvaluatedRow]) -> tuple[pd.DataFrame, str]:
    write_comparison(results(folder, rows))
    path = folder / "metrics" / "tables" / "comparison"
    return pd.read_csv(path.with_suffix(".csv")), path.with_suffix(".md").read_text()


def test_every_row_stands_beside_the_main_one(tmp_path: Path):
    rows = [row(BASELINE, "median", shift=5), row("target", "dldl_v2"), row("target", "dex", shift=0.02), row("regress", "svr", shift=-2)]
    frame, text = table(tmp_path, rows)
    assert frame["method"].tolist() == ["median", "dex", "svr"]
    assert frame["verdict"].tolist() == ["worse", "not distinguishable", "better"]
    assert (frame["p (Holm)"] >= frame["p"]).all()
    assert frame["CI over"].tolist() == ["folds"] * 3
    assert frame["bootstrap over"].tolist() == ["subjects"] * 3
    assert frame["difference"].to_numpy() == pytest.approx((frame["MAE"] - frame["main MAE"]).to_numpy(), abs=2e-4)
    assert "Not distinguishable from it at 5 %, p adjusted for 3 tests (Holm): 1 of 3 rows. One seed each" in text
    assert re.search(r"Ranks over 6 folds: Friedman's chi-square \d+\.\d\d, p 0\.0\d\d: the rows differ\.", text)
    assert "the best is svr on" in text
    assert (tmp_path / "plots" / "critical_difference.png").stat().st_size > 5000


def test_the_main_row_is_that_of_the_headline(tmp_path: Path):
    """Two steps of one method: that with the longer chain, though it stands first."""
    scratch = row("again", "dldl_v2", shift=0.5)
    long = row("target", "dldl_v2")
    long = replace(long, row=replace(long.row, chain=["agedb", "target"]))
    frame, text = table(tmp_path, [long, scratch])
    assert frame["cascade"].tolist() == ["again"]
    assert frame["main MAE"][0] == pytest.approx(long.mae, abs=1e-4)
    assert "less that of dldl_v2, agedb > target" in text


def test_rows_that_differ_in_seed_alone_are_one(tmp_path: Path):
    rows = [row("target", name, seed, shift) for name, shift in (("dldl_v2", 0), ("dex", 0.5)) for seed in (0, 1, 2)]
    assert [len(rival.rows) for rival in contenders(rows)] == [3, 3]
    frame, text = table(tmp_path, rows)
    assert len(frame) == 1
    assert frame["seeds"].tolist() == ["3, main 3"]
    maes = [[row.mae for row in rows[:3]], [row.mae for row in rows[3:]]]
    assert frame["seed deviation"][0] == pytest.approx(np.sqrt(np.var(maes, axis=1, ddof=1).mean()), abs=1e-4)
    assert frame["MAE"][0] == pytest.approx(np.mean(maes[1]), abs=1e-4)
    assert "do not cover another seed" not in text
    assert "needs 3 rows on the same test pictures of 5 folds or data sets, here are 2 rows and 6 folds" in text
    assert not (tmp_path / "plots" / "critical_difference.png").exists()


def test_a_row_of_other_test_pictures_is_not_comparable(tmp_path: Path):
    short = row("regress", "svr")
    short = replace(short, predictions=short.predictions.iloc[:60])
    frame, _ = table(tmp_path, [row("target", "dldl_v2"), row("target", "dex"), short])
    verdicts = dict(zip(frame["method"], frame["verdict"], strict=True))
    assert verdicts["svr"] == "not comparable: of 60 test pictures here and 120 there, 60 are the same ones in the same fold"
    assert frame.set_index("method").loc["svr", ["difference", "p", "MAE"]].isna().all()


def test_two_protocols_in_one_row_are_not_comparable(tmp_path: Path):
    """Seeds of one method, left by two splits: their mean would be of nothing."""
    second = row("target", "dex", 1)
    second = replace(second, predictions=second.predictions.assign(fold=lambda frame: frame["fold"] // 2))
    frame, _ = table(tmp_path, [row("target", "dldl_v2"), row("target", "dex", 0), second])
    assert frame["verdict"][0].startswith("not comparable: of 120 test pictures here and 120 there")


def test_networks_are_ranked_over_data_sets_where_there_are_enough(tmp_path: Path):
    shifts = {"dldl_v2": 0.0, "dex": 1.0, "er": 2.0}
    rows = [
        replace(row("target", method, shift=shift), row=replace(row("target", method, shift=shift).row, dataset=name))
        for name in ("a", "b", "c", "d", "sample_fgnet")
        for method, shift in shifts.items()
    ]
    errors, over = rank_blocks(results(tmp_path, rows))
    assert (errors.shape, over) == ((5, 3), "5 data sets")
    assert errors.rank(axis=1).mean().to_dict() == {"dldl_v2, tinyagenet": 1, "dex, tinyagenet": 2, "er, tinyagenet": 3}
    assert rank_blocks(results(tmp_path, rows[3:]))[1] == "6 folds"  # four data sets are too few


def test_one_row_alone_has_no_table(tmp_path: Path):
    write_comparison(results(tmp_path, [row("target", "dldl_v2")]))
    assert not (tmp_path / "metrics").exists()


def test_the_plot_has_the_same_bytes_for_the_same_numbers(tmp_path: Path):
    rows = [row("target", "dldl_v2"), row("target", "dex", shift=0.1), row("regress", "svr", shift=1)]
    for place in ("first", "second"):
        write_comparison(results(tmp_path / place, rows))
    first, second = (tmp_path / place / "plots" / "critical_difference.png" for place in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
