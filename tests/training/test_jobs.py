"""Label grids: a range, a list, what occurs, groups; and what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agecascade.errors import TrainingError
from agecascade.loading import Faces
from agecascade.params import Grid
from agecascade.training.jobs import label_grid


def faces(*label: float, grouped: bool = False) -> Faces:
    count = len(label)
    ids = np.array([f"p{i}" for i in range(count)])
    return Faces(ids, np.zeros((count, 4, 4, 3), np.uint8), np.array(label), np.full(count, np.nan), np.full(count, ""), grouped)


def test_each_kind() -> None:
    assert label_grid(Grid(low=0, high=3), faces(0, 1.5), "set") == [0, 1, 2, 3]
    assert label_grid(Grid(values=[0, 2, 9]), faces(0, 1.5), "set") == [0, 2, 9]
    assert label_grid(Grid(present=True), faces(5, 1, 5, 3), "set") == [1, 3, 5]
    assert label_grid(Grid(groups=True), faces(17.5, 1, 17.5, grouped=True), "set") == [1, 17.5]
    assert label_grid(Grid(present=True), faces(17.5, 1, grouped=True), "set") == [1, 17.5]


@pytest.mark.parametrize(
    ("grid", "faces", "message"),
    [
        (Grid(low=0, high=100), faces(17.5, 1, grouped=True), r"set: its labels are groups.*say datasets\.set\.grid: \{groups: true\}"),
        (Grid(groups=True), faces(17, 1), r"set: its labels are numbers, no groups; give datasets\.set\.grid low and high"),
        (Grid(low=0, high=100), faces(1, np.nan, np.nan), "set: 2 of 3 pictures have no label, p1 among them; a grid needs labels"),
        (Grid(present=True), faces(np.nan), "set: 1 of 1 pictures have no label, p0 among them"),
        (
            Grid(values=[2, 5]),
            faces(3, 1, 6),
            r"set: the grid 2\.\.5 does not cover 2 labels, 1 of p1 among them; widen",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(grid: Grid, faces: Faces, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as raised:
        label_grid(grid, faces, "set")
    assert len(str(raised.value).splitlines()) == 1


def test_faces_taken_of_groups_are_groups() -> None:
    some = faces(1, 5, 10, grouped=True).take(np.array([0, 2]))
    assert some.grouped
    assert not replace(some, grouped=False).take(np.array([0])).grouped
