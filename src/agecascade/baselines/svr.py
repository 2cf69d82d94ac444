"""Linear support vector regression on standardised features (liblinear)."""

from __future__ import annotations

import warnings
from math import nan
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from agecascade import metrics
from agecascade.baselines.folds import Fitted, Fold
from agecascade.params import Block

Positive = Annotated[float, Field(gt=0)]


class LinearSvr(Block):
    """LinearSVR with the C of the lowest validation MAE; without validation rows, the first of the list."""

    seed: int
    C: list[Positive] = Field([0.01, 0.1, 1.0], min_length=1)
    epsilon: float = Field(0.0, ge=0)  # half the width of the loss's flat part, in the label's unit
    max_iter: int = Field(20_000, ge=1)
    folds: int | None = Field(None, ge=1)

    def fit_predict(self, fold: Fold) -> Fitted:
        """See agecascade.baselines.Regressor; the choices are C, validation_mae, converged, chosen."""
        judged = len(fold.validation) > 0
        candidates = self.C if judged else self.C[:1]
        fits = [self._fit(fold, c) for c in candidates]
        errors = [metrics.mae(model.predict(fold.validation), fold.validation_label) if judged else nan for model, _ in fits]
        best = int(np.argmin(errors))
        model, converged = fits[best]
        if not converged:
            warnings.warn(f"svr: C = {candidates[best]:g} has not converged; raise regressors.svr.options.max_iter", stacklevel=2)
        choices = pd.DataFrame({"C": candidates, "validation_mae": errors, "converged": [converged for _, converged in fits]})
        return Fitted(model.predict(fold.test), choices.assign(chosen=choices.index == best))

    def _fit(self, fold: Fold, c: float) -> tuple[TransformedTargetRegressor, bool]:
        """A fitted model and whether the solver converged."""
        svr = LinearSVR(C=c, epsilon=self.epsilon, dual="auto", max_iter=self.max_iter, random_state=self.seed)
        # the label is centred, for liblinear shrinks the intercept too, but not scaled, so that epsilon keeps its unit
        model = TransformedTargetRegressor(make_pipeline(StandardScaler(), svr), transformer=StandardScaler(with_std=False))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(fold.train, fold.train_label)
        return model, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
