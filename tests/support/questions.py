"""Age thresholds: pictures of a row whose ages, estimates and folds a test knows."""

from __future__ import annotations

from typing import Any

import numpy as np

from agecascade.evaluation.legal_age import ESTIMATE, Question, bands


def question(age: Any, estimate: Any, fold: Any = 0, **changes: Any) -> Question:
    """Pictures with these ages, estimates and folds, each of a person of its own; changes: other fields."""
    age = np.asarray(age, float)
    n = len(age)
    fields = {
        "legal_age": 18.0,
        "minor": age < 18,
        "scores": {ESTIMATE: np.asarray(estimate, float)},
        "sample_id": np.arange(n).astype(str),
        "fold": np.broadcast_to(fold, n),
        "person": np.arange(n).astype(str),
        "slices": {"age": bands(age, 18.0)},
        "remarks": [],
    }
    return Question(**{**fields, **changes})
