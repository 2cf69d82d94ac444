"""The MAE of each fold as box plots, with published results as lines (cascaded fine-tuning, Figs. 10, 11 and 12)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow, by_label
from agecascade.evaluation.summary import fold_maes
from agecascade.plots import results as plots

FEWEST_FOLDS = 3  # of which there are quartiles


def draw_fold_errors(results: Results) -> None:
    """Write fold_errors.png of the rows of the target data set, and time_bounded_fold_errors.png of those bounded by time.

    The latter are apart, for they change at every run. A row of fewer than 3 folds is left out, and so is a plot without rows.
    """
    target = results.params.evaluate.target
    bounded = [row for row in results.rows if row.row.dataset == target and row.row.bounded]
    for name, rows in (("fold_errors.png", results.target_rows()), ("time_bounded_fold_errors.png", bounded)):
        if errors := errors_of_folds(rows):
            plots.fold_errors(results.plots / name, errors, results.params.evaluate.published, results.unit(target))


def errors_of_folds(rows: Sequence[EvaluatedRow]) -> dict[str, np.ndarray]:
    """{label of a row: (F,) MAE of each fold, in the label's unit}, of the rows of at least FEWEST_FOLDS folds."""
    errors = {label: fold_maes(row.predictions).to_numpy(np.float64) for label, row in by_label(rows).items()}
    return {label: maes for label, maes in errors.items() if len(maes) >= FEWEST_FOLDS}
