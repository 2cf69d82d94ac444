"""Marked photos: boxes where the faces are, tags inside the picture and beside other faces."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.plots import annotated as annotated_module
from agecascade.plots.annotated import ALARM, USUAL, Marked, _place, _Rect, annotated


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
    for edge in (blue[500, 295:310], blue[500, 490:505], blue[398:410, 400], blue[640:655, 400]):
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


def test_a_tag_goes_below_where_there_is_no_room_above() -> None:
    place = _place((60, 20), _Rect(100, 5, 150, 90), [], [], (400, 300), 3)
    assert place == _Rect(95, 93, 155, 113)


def test_a_tag_avoids_another_face_and_its_tag() -> None:
    box, other = _Rect(100, 100, 150, 160), _Rect(90, 20, 160, 95)
    place = _place((60, 20), box, [other], [_Rect(90, 163, 170, 183)], (400, 300), 3)
    assert place.overlap(other) == 0
    assert place.overlap(box) == 0
    assert place.overlap(_Rect(90, 163, 170, 183)) == 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.floats(-50, 450)] * 2, *[st.floats(1, 300)] * 2), min_size=1, max_size=12))
def test_any_boxes_are_drawn_and_tags_stay_in_the_picture(boxes: list[tuple[float, float, float, float]]) -> None:
    places: list[_Rect] = []
    real = annotated_module._place

    def noted(*arguments: object) -> _Rect:
        places.append(real(*arguments))  # type: ignore[arg-type]
        return places[-1]

    annotated_module._place = noted  # type: ignore[assignment]
    try:
        marked = [Marked((x, y, x + w, y + h), "100", "90 to 110", f"#{i}") for i, (x, y, w, h) in enumerate(boxes)]
        drawn = annotated(np.zeros((820, 400, 3), np.uint8), marked)
    finally:
        annotated_module._place = real
    assert len(places) == len(boxes)
    for place in places:
        assert place.left >= 0
        assert place.top >= 0
        assert place.bottom <= drawn.height + 1
        assert place.right <= drawn.width + 1
