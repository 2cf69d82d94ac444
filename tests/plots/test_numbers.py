"""One figure reads the same wherever it is written."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.io.files import rounded
from agecascade.plots.numbers import CSV_FORMAT, interval_text, number_text, percent_text, unit_of_labels


@pytest.mark.parametrize(
    ("value", "text"),
    [(8.964999999999998, "8.97"), (8.965000000000002, "8.97"), (8.9649, "8.96"), (-0.001, "0.00"), (-8.965, "-8.97"), (5.0, "5.00")],
)
def test_sums_on_either_side_of_a_tie_are_written_alike(value: float, text: str) -> None:
    assert number_text(value) == text


@given(st.floats(-1e5, 1e5), st.integers(0, 4))
def test_what_is_read_back_from_a_file_is_written_as_the_number_itself(value: float, decimals: int) -> None:
    read = float(pd.read_csv(io.StringIO(pd.DataFrame({"x": [value]}).to_csv(float_format=CSV_FORMAT)))["x"][0])
    assert number_text(read, decimals) == number_text(rounded(value), decimals) == number_text(value, decimals)


@given(st.floats(-9, 9))
def test_it_is_within_half_of_the_last_digit(value: float) -> None:
    assert abs(float(number_text(value)) - value) <= 0.005 + 5e-6


def test_intervals_shares_units_and_what_is_no_number() -> None:
    assert interval_text(-0.004, 1.005) == "0.00 to 1.01"
    assert percent_text(0.50625) == "50.6 %"
    assert [unit_of_labels(True), unit_of_labels(False)] == ["years", "points"]
    assert number_text(math.nan) == "nan"
