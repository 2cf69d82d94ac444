"""Ridge regression (scikit-learn's), a sanity row."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sklearn.linear_model import Ridge

from agecascade.regressors.choosing import Choosing, Positive


class RidgeOptions(Choosing):
    """Ridge regression with the alpha of the lowest validation MAE."""

    parameter = "alpha"

    alpha: list[Positive] = Field([1.0, 10.0, 100.0, 1000.0, 10000.0], min_length=1)

    def estimator(self) -> Any:
        return Ridge()
