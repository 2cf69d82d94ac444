"""Tables of predictions in the common schema, from the columns that a test cares about."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from agecascade.schema import PREDICTIONS


def prediction_table(columns: dict[str, Any]) -> pa.Table:
    """schema.PREDICTIONS with these columns; those that may be null and are not given are null."""
    count = len(columns["sample_id"])
    return pa.table({name: columns.get(name, [None] * count) for name in PREDICTIONS.names}, schema=PREDICTIONS)
