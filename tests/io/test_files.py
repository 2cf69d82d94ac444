"""agecascade.io.files: figures with the digits that are meant, and CSV files in one format."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.io.files import rounded, write_csv, write_figures, write_json
from agecascade.results.kept import KEPT

METRICS = Path(__file__).resolve().parents[2] / "metrics"


def test_figures_have_six_significant_digits_and_integers_all_of_theirs(tmp_path: Path) -> None:
    figures = {
        "mae": 7.496912345678,
        "small": 0.000123456789,
        "pictures": 12345678,
        "interval": "t",
        "none": None,
        "folds": [2 / 3, 5],
    }
    write_figures(tmp_path / "mae.json", figures)
    assert json.loads((tmp_path / "mae.json").read_text()) == {
        "mae": 7.49691, "small": 0.000123457, "pictures": 12345678, "interval": "t", "none": None, "folds": [0.666667, 5],
    }  # fmt: skip


def test_the_last_bits_of_another_processor_change_no_byte(tmp_path: Path) -> None:
    mae = 9.594731256
    for name, value in (("here", mae), ("there", mae * (1 + 1e-12))):
        write_figures(tmp_path / name, {"mae": value})
    assert mae != mae * (1 + 1e-12)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_is_within_half_a_unit_of_the_sixth_digit_and_stable(value: float) -> None:
    assert math.isclose(rounded(value), value, rel_tol=5.1e-6, abs_tol=1e-310)
    assert rounded(rounded(value)) == rounded(value)


def test_figures_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_figures(tmp_path / "mae.json", {"mae": math.nan})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted(METRICS.rglob("*.json")), ids=lambda path: path.relative_to(METRICS).as_posix())
def test_the_committed_figures_are_as_they_would_be_written(path: Path, tmp_path: Path) -> None:
    content = json.loads(path.read_text())
    if path.is_relative_to(METRICS / "results"):  # a kept run has its params to their last digit, for they say whether it is stale
        write_json(tmp_path / "again.json", content | {each: rounded(content[each]) for each in KEPT})
    else:
        write_figures(tmp_path / "again.json", content)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_frames_are_written_one_below_the_other_under_one_header(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a, b", None], "value": [1 / 3, 2.0]})
    write_csv(tmp_path / "once.csv", frame)
    assert (tmp_path / "once.csv").read_bytes() == b'name,value\n"a, b",0.333333\n,2\n'
    write_csv(tmp_path / "pieces.csv", iter([frame[:1], frame[1:]]))
    assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "once.csv").read_bytes()
    write_csv(tmp_path / "four.csv", frame, float_format="%.4f")
    assert (tmp_path / "four.csv").read_bytes() == b'name,value\n"a, b",0.3333\n,2.0000\n'


def test_a_failure_between_frames_leaves_the_earlier_file(tmp_path: Path) -> None:
    def frames() -> Iterator[pd.DataFrame]:
        yield pd.DataFrame({"value": [1]})
        raise OSError("the disk is gone")

    (tmp_path / "out.csv").write_text("earlier")
    with pytest.raises(OSError, match="the disk is gone"):
        write_csv(tmp_path / "out.csv", frames())
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "earlier"
