"""Grid search over one hyper-parameter: each value is fitted, and the lowest validation MAE selects one."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from math import nan
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from agecascade import metrics
from agecascade.regressors.folds import Fitted, Fold, Options

Positive = Annotated[float, Field(gt=0)]


class GridSearch(Options, ABC):
    """A scikit-learn regressor on features, standardised or not; the option that `parameter` names lists the values to try.

    The value of the lowest validation MAE is selected; without validation rows it is the first value.
    """

    parameter: ClassVar[str]
    prefix: ClassVar[str] = ""  # of the parameter's name in the estimator

    standardise: bool = True  # each feature to mean zero and deviation one over the training pictures

    @abstractmethod
    def estimator(self) -> Any:
        """The scikit-learn regressor; the value to select is set later."""

    def fit(self, estimator: Any, feature: NDArray[np.float64], fold: Fold) -> None:
        """Fit to the training rows; feature: (N, D), standardised where the option says so."""
        estimator.fit(feature, fold.train_label)

    def fit_predict(self, fold: Fold) -> Fitted:
        """See agecascade.regressors.Regressor; the choices are the value, validation_mae, converged, chosen."""
        scaler = StandardScaler(with_mean=self.standardise, with_std=self.standardise).fit(fold.train.astype(np.float64))
        train, validation, test = (_scaled(scaler, part) for part in (fold.train, fold.validation, fold.test))
        values = getattr(self, self.parameter) if len(validation) else getattr(self, self.parameter)[:1]
        estimator, tried, predictions = self.estimator(), [], []
        for value in values:
            estimator.set_params(**{self.prefix + self.parameter: value})
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                self.fit(estimator, train, fold)
            converged = getattr(estimator, "converged_", not any(issubclass(each.category, ConvergenceWarning) for each in caught))
            error = metrics.mae(estimator.predict(validation), fold.validation_label) if len(validation) else nan
            tried.append({self.parameter: value, "validation_mae": error, "converged": converged})
            predictions.append(np.asarray(estimator.predict(test), dtype=np.float64))
        best = int(np.argmin([each["validation_mae"] for each in tried]))
        choices = pd.DataFrame(tried)
        return Fitted(predictions[best], choices.assign(chosen=choices.index == best))


def _scaled(scaler: StandardScaler, feature: NDArray[np.float32]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = scaler.transform(feature.astype(np.float64)) if len(feature) else feature.astype(np.float64)
    return scaled
