"""Places of tags: at the own box, never over the box of another face, inside the picture."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.plots.tags import CLEAR, HEAD, TALL, Place, Rect, Surroundings, Wanted, leader, place

CANVAS = (1000, 800)
WANTED = Wanted([7.0, 4.0, 2.0], 20, 11)  # 140, 80 and 40 pixels wide at most, 77, 44 and 22 at least


def placed(boxes: list[Rect], wanted: Wanted = WANTED, canvas: tuple[int, int] = CANVAS) -> list[Place]:
    """The places of the tags of boxes, one after another."""
    places: list[Place] = []
    for number, box in enumerate(boxes):
        places.append(place(wanted, box, Surroundings(canvas, boxes[:number] + boxes[number + 1 :], [one.rect for one in places])))
    return places


def test_a_tag_of_a_lone_face_is_above_it_and_may_be_wider() -> None:
    (lone,) = placed([Rect(400, 300, 500, 430)])
    assert (lone.form, lone.size, lone.line) == (0, 20, False)
    assert lone.rect == Rect(380, 300 - 20 * TALL, 520, 300)


def test_a_tag_without_room_above_is_within_its_own_box_at_the_top() -> None:
    top, other = placed([Rect(100, 10, 260, 200), Rect(270, 10, 430, 200)])
    assert (top.rect, top.form) == (Rect(110, 10, 250, 10 + 20 * TALL), 0)
    assert other.rect.left >= 270


def test_a_tag_between_two_rows_keeps_away_from_the_upper_face() -> None:
    upper, lower = Rect(300, 100, 440, 300), Rect(300, 320, 440, 520)  # 20 pixels between them: a tag there could be of either
    _, tag = placed([upper, lower])
    assert (tag.rect.top, tag.form) == (320, 0)
    _, tag = placed([upper, lower._replace(top=345, bottom=545)])
    assert tag.rect.bottom == 345
    assert tag.rect.top - upper.bottom > CLEAR * 20 * TALL


@pytest.mark.parametrize(("width", "form", "size"), [(140, 0, 20), (100, 0, 100 / 7), (70, 1, 17.5), (30, 2, 15)])
def test_a_narrow_face_in_a_row_has_smaller_letters_and_then_less_text(width: float, form: int, size: float) -> None:
    row = [Rect(200 + (width + 4) * i, 300, 200 + (width + 4) * i + width, 450) for i in range(3)]
    _, tag, _ = placed(row)
    assert (tag.form, tag.size) == (form, pytest.approx(size))
    assert row[1].left - 1e-9 <= tag.rect.left
    assert tag.rect.right <= row[1].right + 1e-9


def test_nobody_else_has_a_head_under_a_tag() -> None:
    boxes = [Rect(300, 300, 380, 400), Rect(400, 300, 480, 400)]
    for tag, head in zip(placed(boxes), (boxes[1], boxes[0]), strict=True):
        assert not tag.rect.overlap(head.grown(HEAD[0] * 20, 0, HEAD[2] * 20, 0))


def test_a_tiny_face_in_a_crowd_has_a_line_that_crosses_no_face() -> None:
    tiny = Rect(500, 400, 512, 412)
    crowd = [Rect(380, 250, 497, 405), Rect(515, 250, 620, 405), Rect(498, 300, 514, 398)]
    tag = placed([*crowd, tiny])[-1]
    assert tag.line
    assert not any(tag.rect.overlap(box) for box in crowd)
    x, y, to_x, to_y = leader(tag.rect, tiny)
    assert (tag.rect.left <= x <= tag.rect.right, tag.rect.top <= y <= tag.rect.bottom) == (True, True)
    assert (tiny.left <= to_x <= tiny.right, tiny.top <= to_y <= tiny.bottom) == (True, True)


def test_a_line_is_the_shortest_one() -> None:
    assert leader(Rect(0, 0, 10, 10), Rect(20, 30, 40, 50)) == (10, 10, 20, 30)
    assert leader(Rect(50, 35, 70, 45), Rect(20, 30, 40, 50)) == (50, 40, 40, 40)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.floats(0.5, 1.0),
    st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), min_size=36, max_size=36),
)
def test_tags_of_faces_side_by_side_hide_no_other_face_and_no_tag(
    columns: int, rows: int, share: float, shifts: list[tuple[float, float]]
) -> None:
    wide, tall = CANVAS[0] / columns, CANVAS[1] / rows
    boxes = []
    for number in range(columns * rows):
        x, y = (number % columns + 0.5) * wide, (number // columns + 0.5) * tall
        half_x, half_y = share * wide / 2, share * tall / 2
        x, y = x + shifts[number][0] * (wide - 2 * half_x), y + shifts[number][1] * (tall - 2 * half_y)
        boxes.append(Rect(x - half_x, y - half_y, x + half_x, y + half_y))
    places = placed(boxes)
    for number, tag in enumerate(places):
        assert sum(tag.rect.overlap(box) for i, box in enumerate(boxes) if i != number) < 1e-6
        assert sum(tag.rect.overlap(other.rect) for other in places[:number]) < 1e-6


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.floats(-50, 950)] * 2, *[st.floats(1, 300)] * 2), min_size=1, max_size=12))
def test_tags_of_any_boxes_are_in_the_picture(boxes: list[tuple[float, float, float, float]]) -> None:
    for tag in placed([Rect(x, y, x + w, y + h) for x, y, w, h in boxes]):
        assert -1e-6 <= tag.rect.left <= tag.rect.right <= CANVAS[0] + 1e-6
        assert -1e-6 <= tag.rect.top <= tag.rect.bottom <= CANVAS[1] + 1e-6
