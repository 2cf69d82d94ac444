"""What is a rule of the tables: whether labels are ages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agecascade.schema import are_ages


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1.0, 10.0], False),  # a scale from 1 to 10
        ([0.0, 11.0], True),  # children
        ([np.nan, 17.5, 28.5], True),
        ([np.nan], False),
        ([], False),
    ],
)
def test_labels_above_every_score_are_ages(labels: list[float], expected: bool) -> None:
    assert are_ages(np.array(labels)) is expected
    assert are_ages(pd.Series(labels, dtype=float)) is expected
