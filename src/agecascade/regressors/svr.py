"""Linear support vector regression on standardised features (liblinear)."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from sklearn.compose import TransformedTargetRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from agecascade.regressors.choosing import Choosing, Positive


class SvrOptions(Choosing):
    """scikit-learn's LinearSVR with the C of the lowest validation MAE."""

    parameter = "C"
    inside = "regressor__"

    C: list[Positive] = Field([0.0001, 0.001, 0.01, 0.1], min_length=1)  # above, liblinear takes its time
    epsilon: float = Field(0.0, ge=0)  # half the width of the loss's flat part, in the label's unit
    max_iter: int = Field(20_000, ge=1)

    def estimator(self) -> Any:
        svr = LinearSVR(epsilon=self.epsilon, dual="auto", max_iter=self.max_iter, random_state=self.seed)
        # the label is centred, for liblinear shrinks the intercept too, but not scaled, so that epsilon keeps its unit
        return TransformedTargetRegressor(svr, transformer=StandardScaler(with_std=False))
