"""How far a detector's points are from the published ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agecascade.faces.face import Points

EYES = "eyes"
POINTS = ("right_eye", "left_eye", "nose", "right_mouth_corner", "left_mouth_corner")  # the template's, sides as the subject has them
LEVELS = (0.1, 0.25)  # 0.25 is half an eye's width: what the field calls a failure
DIGITS = 4


def landmark_errors(found: Points, published: Points) -> Points:
    """Distances between found and published points over the published distance of the eyes (Jesorsky et al. 2001, but the mean
    of both eyes, not the worse one).

    found, published: (N, 5, 2) in one unit, points in the template's order. Returns (N, 6): the eye centres, which is the mean over
    both eyes, then each point. NaN in a row of which a point is not finite or whose published eyes coincide.
    """
    with np.errstate(all="ignore"):
        eyes = np.linalg.norm(published[:, 0] - published[:, 1], axis=1)  # (N,)
        each = np.linalg.norm(found - published, axis=2) / eyes[:, None]  # (N, 5)
    errors = np.column_stack([each[:, :2].mean(axis=1), each])  # (N, 6)
    errors[~np.isfinite(errors).all(axis=1)] = np.nan
    return errors


@dataclass(frozen=True)
class LandmarkError:
    """The errors of a data set in figures, by EYES and POINTS: mean, median, p95, above_0.1 and above_0.25 (shares)."""

    pictures: int  # with an error
    points: dict[str, dict[str, float]]

    @property
    def eyes(self) -> dict[str, float]:
        """The figures of the eye centres."""
        return self.points[EYES]


def summarise_errors(errors: NDArray[np.floating]) -> LandmarkError | None:
    """The figures of errors (N, 6), as `landmark_errors` returns them; None where no picture has an error."""
    finite = np.isfinite(errors[:, 0])
    known = errors if finite.all() else errors[finite]  # of millions, a copy counts
    if not len(known):
        return None
    return LandmarkError(len(known), {name: _figures(column) for name, column in zip((EYES, *POINTS), known.T, strict=True)})


def _figures(errors: NDArray[np.floating]) -> dict[str, float]:
    values = errors.astype(np.float64)
    figures = {"mean": values.mean(), "median": np.median(values), "p95": np.quantile(values, 0.95)}
    figures |= {f"above_{level:g}": (values > level).mean() for level in LEVELS}
    return {name: round(float(value), DIGITS) for name, value in figures.items()}
