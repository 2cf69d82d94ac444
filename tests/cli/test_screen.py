"""The table on the screen: as wide as the terminal, cut politely, errors in the numbers' place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.cli import screen
from agecascade.cli.screen import ROWS, Screen, lines
from agecascade.faces.rows import Columns, FaceRow, table


def rows(*pictures: tuple[str, int]) -> pd.DataFrame:
    """(path, number of faces) of each picture; none is an error."""
    made = []
    for path, faces in pictures:
        made += [FaceRow(path, i, [10, 20, 110, 120], 0.9) for i in range(faces)] or [FaceRow(path, error="no face found")]
    values = np.array([[30.04, 25, 41.5] if row.error is None else [np.nan] * 3 for row in made]).T.reshape(3, -1)
    return table(made, values)


def test_a_table_with_room_shows_everything() -> None:
    assert list(lines(rows(("a.jpg", 2), ("no.jpg", 0), ("b.jpg", 1)), 100)) == [
        "path    face  value   low  high  left  top  right  bottom  score",
        "a.jpg      0   30.0  25.0  41.5    10   20    110     120   0.90",
        "           1   30.0  25.0  41.5    10   20    110     120   0.90",
        "no.jpg  no face found",
        "b.jpg      0   30.0  25.0  41.5    10   20    110     120   0.90",
    ]


def test_a_narrow_terminal_leaves_out_boxes_and_then_cuts_names_at_their_start() -> None:
    assert list(lines(rows(("holidays/2026/beach.jpg", 1)), 60))[1] == "holidays/2026/beach.jpg     0   30.0  25.0  41.5   0.90"
    assert list(lines(rows(("holidays/2026/beach.jpg", 1)), 48))[1] == "...026/beach.jpg     0   30.0  25.0  41.5   0.90"


def test_a_name_neither_breaks_a_line_nor_commands_the_terminal() -> None:
    (frame := rows(("a\n\x1b[2Jb\u202f1.jpg", 1), ("c.zip", 0))).loc[1, "error"] = "c.zip/d\r.jpg is truncated"
    assert list(lines(frame, 100))[1:] == [
        "a??[2Jb\u202f1.jpg     0   30.0  25.0  41.5    10   20    110     120   0.90",
        "c.zip          c.zip/d?.jpg is truncated",
    ]


def test_a_picture_that_is_named_twice_is_no_second_face() -> None:
    assert [line.split()[0] for line in lines(rows(("a.jpg", 2), ("a.jpg", 1), ("b.jpg", 0), ("b.jpg", 0)), 100)] == [
        *("path", "a.jpg", "1", "a.jpg", "b.jpg", "b.jpg")
    ]


def test_scores_have_two_decimals() -> None:
    frame = table([FaceRow("a.jpg", 0, [1, 2, 3, 4], 0.9)], np.array([[3.456], [3.0], [4.0]]))
    assert list(lines(frame, 40))[1] == "a.jpg     0   3.46  3.00  4.00   0.90"


def test_frames_of_a_video_are_told_apart() -> None:
    frame = table([FaceRow("a.mp4", 0, [1, 2, 3, 4], 0.9, frame=number) for number in (0, 30)], np.full((3, 2), 20.0), Columns(frame=True))
    assert [line.split()[:2] for line in list(lines(frame, 80))[1:]] == [["a.mp4", "0"], ["a.mp4", "30"]]


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), min_size=1)


@given(st.lists(st.tuples(NAMES, st.integers(0, 2)), min_size=1), st.integers(60, 200))
def test_no_line_is_wider_than_the_terminal(pictures: list[tuple[str, int]], width: int) -> None:
    shown = list(lines(rows(*pictures), width))
    assert len(shown) == 1 + sum(max(1, faces) for _, faces in pictures)
    assert max(map(screen._columns, shown)) <= width


@pytest.mark.parametrize(("count", "more"), [(ROWS, None), (ROWS + 1, "... and 1 row more;"), (1700, "... and 1,660 rows more; --output")])
def test_many_rows_are_cut(count: int, more: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    def frames() -> Iterator[pd.DataFrame]:
        for start in range(0, count, 17):
            yield rows(*[(f"{i}.jpg", 1) for i in range(start, min(start + 17, count))])

    Screen(100).write(frames())
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + ROWS + (more is not None)
    assert printed[ROWS].startswith(f"{ROWS - 1}.jpg")
    assert more is None or printed[-1].startswith(more)


def test_nothing_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(100).write(iter([]))
    assert capsys.readouterr().out == ""
