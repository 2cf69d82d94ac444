"""The label grid of a data set, from what params.yaml says and what its faces show."""

from __future__ import annotations

import numpy as np

from agecascade.errors import TrainingError
from agecascade.loading import Faces
from agecascade.params import Grid


def label_grid(settings: Grid | None, faces: Faces, name: str) -> list[float]:
    """The K values of `datasets.<name>.grid` over these faces, ascending, in label units.

    `present` and `groups` take the labels of all roles: that an age occurs among the test pictures is known to the network.
    Raises TrainingError where a face has no label or one outside, and where groups are taken for numbers or the other way round.
    """
    missing = np.isnan(faces.label)
    if settings is None or missing.any():
        shown = f", {faces.sample_id[missing][0]} among them" if missing.any() else ""
        raise TrainingError(f"{name}: {missing.sum()} of {len(faces)} pictures have no label{shown}; a grid needs labels to train on")
    if settings.groups and not faces.grouped:
        raise TrainingError(f"{name}: its labels are numbers, no groups; give datasets.{name}.grid low and high, values, or present: true")
    if settings.is_range and faces.grouped:
        raise TrainingError(
            f"{name}: its labels are groups, no single years, and a range does not fit them; say datasets.{name}.grid: {{groups: true}}"
        )
    grid = settings.over(faces.label)
    _require_covered(faces, grid, name)
    return grid


def _require_covered(faces: Faces, grid: list[float], name: str) -> None:
    outside = (faces.label < grid[0]) | (faces.label > grid[-1])
    if outside.any():
        index = int(np.argmax(outside))
        raise TrainingError(
            f"{name}: the grid {grid[0]:g}..{grid[-1]:g} does not cover {outside.sum()} labels, {faces.label[index]:g} of "
            f"{faces.sample_id[index]} among them; widen datasets.{name}.grid or narrow datasets.{name}.clean"
        )
