"""The headline: which row it is of, its figures by hand, and the curves that overlay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade import params
from agecascade.evaluation.against import Version
from agecascade.evaluation.comparison import contenders, main_contender
from agecascade.evaluation.headline import coverage, error_by_label, headline
from agecascade.evaluation.results import Results, headline_step
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.tables import TableRow
from agecascade.params import Params
from finished import MAIN, figures
from places import sample_params


@pytest.fixture
def study() -> Params:
    return params.check(sample_params())


def test_it_is_of_the_longest_chain_on_the_target(study: Params) -> None:
    assert headline_step(study, figures()["sample_fgnet"]) == "target"
    assert headline_step(study, {"target_from_scratch": [MAIN]}) == "target_from_scratch"
    assert headline_step(study, {"target": ["dex-tinyagenet-s0"]}) is None


def test_pictures_are_of_the_same_row(study: Params) -> None:
    rows = [
        EvaluatedRow(step, MAIN, TableRow("sample_fgnet", "dldl_v2", "tinyagenet", study.chain(step), 0, {}), pd.DataFrame(), {0: "digest"})
        for step in ("target", "target_from_scratch")
    ]
    best = Results(study, rows, Path(), Path(), Path(), Path()).main_row()
    assert best is not None
    assert best.step == "target"


def test_of_two_equal_chains_all_take_the_last(study: Params) -> None:
    """The pictures and the coverage were of the first, the figures of the last."""
    chains = {"target": ["faces", "target"], "target_from_scratch": ["scratch", "target_from_scratch"]}
    rows = [
        EvaluatedRow(step, MAIN, TableRow("sample_fgnet", "dldl_v2", "tinyagenet", chain, 0, {}), pd.DataFrame(), {0: "digest"})
        for step, chain in chains.items()
    ]
    best = Results(study, rows, Path(), Path(), Path(), Path()).main_row()
    assert best is not None
    main = main_contender(contenders(rows), best)
    assert main is not None
    assert best.step == main.first.step == "target_from_scratch"


def test_rows_are_compared_with_the_headline(study: Params) -> None:
    """They were compared with the row of the last step, which is the one from scratch."""
    rows = [
        EvaluatedRow(step, MAIN, TableRow("sample_fgnet", "dldl_v2", "tinyagenet", study.chain(step), 0, {}), pd.DataFrame(), {0: "digest"})
        for step in ("target", "target_from_scratch")
    ]
    main = main_contender(contenders(rows), Results(study, rows, Path(), Path(), Path(), Path()).main_row())
    assert main is not None
    assert main.first.step == headline_step(study, figures()["sample_fgnet"]) == "target"
    content = study.model_dump(by_alias=True)
    assert Version("here", content, study, lambda path: b"", "").main_key()[0] == "target"


def test_its_figures_have_short_names(study: Params) -> None:
    assert headline(study, figures(), covered=0.75) == {
        "mae": 5.0, "mae_low": 4.0, "mae_high": 6.0, "rmse": 7.0, "pearson": 0.8, "cs_5": 0.6, "mae_baseline": 9.0, "coverage": 0.75,
        "pictures": 300, "folds": 5,
    }  # fmt: skip
    assert headline(study, {}) == {}


def test_coverage_counts_both_ends_and_leaves_out_what_has_no_interval() -> None:
    frame = pd.DataFrame({"label": [1.0, 2.0, 3.0, 4.0], "low": [1.0, 2.5, 0.0, np.nan], "high": [2.0, 3.0, 3.0, np.nan]})
    assert coverage(frame) == pytest.approx(2 / 3)
    assert coverage(frame[["label"]]) is None
    assert coverage(frame.assign(low=np.nan)) is None


def test_errors_by_label_are_the_means_of_bands() -> None:
    frame = pd.DataFrame({"label": [0.0, 1.0, 20.0], "prediction": [2.0, 1.5, 16.0]})
    bands = error_by_label(frame)
    assert bands["label"].tolist() == [0.5, 1.5, 19.5]
    assert bands["mae"].tolist() == [2.0, 0.5, 4.0]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=50))
def test_bands_hold_every_picture_once(pairs: list[tuple[float, float]]) -> None:
    frame = pd.DataFrame(pairs, columns=["label", "prediction"])
    bands = error_by_label(frame)
    assert bands["pictures"].sum() == len(frame)
    mean = np.average(bands["mae"], weights=bands["pictures"])
    assert mean == pytest.approx((frame["label"] - frame["prediction"]).abs().mean(), abs=1e-9)
