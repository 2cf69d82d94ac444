"""Marked photos: boxes where the faces are, tags inside the picture and beside other faces."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.plots.annotated import ALARM, USUAL, Marked, annotated


def rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def coloured(picture: np.ndarray, colour: str) -> np.ndarray:
    """Which pixels (H, W) have a colour."""
    return (np.abs(picture.astype(int) - rgb(colour)) <= 2).all(axis=2)


def test_a_box_is_drawn_where_the_face_is() -> None:
    grey = np.full((1000, 1200, 3), 128, np.uint8)
    drawn = np.asarray(annotated(grey, [Marked((300, 400, 500, 650), "34", "28 to 41")]))
    assert drawn.shape == grey.shape
    assert (grey == 128).all()  # the picture itself stays
    blue = coloured(drawn, USUAL)
    for edge in (blue[500, 295:310], blue[500, 490:505], blue[400:410, 400], blue[640:655, 400]):
        assert edge.sum() == 3
    assert not blue[420:630, 320:480].any()
    assert not coloured(drawn, ALARM).any()
    tag = np.argwhere(blue[:395])  # above the box, about its middle
    assert tag[:, 0].min() > 330
    assert abs(tag[:, 1].mean() - 400) < 15


def test_an_alarm_is_orange_and_a_small_picture_is_enlarged() -> None:
    drawn = np.asarray(annotated(np.full((200, 400, 3), 128, np.uint8), [Marked((100, 50, 200, 150), "15", alarm=True)]))
    assert drawn.shape == (400, 800, 3)
    assert coloured(drawn, ALARM)[200, 196:206].sum() == 3
    assert not coloured(drawn, USUAL).any()


def test_a_row_at_the_top_edge_has_each_tag_within_its_own_box() -> None:
    boxes = [(20 + 260 * i, 4, 240 + 260 * i, 280) for i in range(3)]
    drawn = np.asarray(
        annotated(np.full((300, 800, 3), 128, np.uint8), [Marked(box, "34", "28 to 41", f"#{i}") for i, box in enumerate(boxes)])
    )
    blue = coloured(drawn, USUAL)
    for left, top, right, bottom in boxes:
        assert blue[top + 10 : top + 30, left + 20 : right - 20].sum() > 1000  # the ground of the tag
        assert not blue[top + 60 : bottom - 10, left + 10 : right - 10].any()
    between = blue[:, 244:276]  # but for the frames
    assert not between.any()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(*[st.floats(-50, 450)] * 2, *[st.floats(1, 300)] * 2), min_size=1, max_size=12))
def test_any_boxes_are_drawn(boxes: list[tuple[float, float, float, float]]) -> None:
    marked = [Marked((x, y, x + w, y + h), "100", "90 to 110", f"#{i}") for i, (x, y, w, h) in enumerate(boxes)]
    assert annotated(np.zeros((820, 400, 3), np.uint8), marked).size == (400, 820)
