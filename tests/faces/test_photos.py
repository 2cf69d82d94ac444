"""Pictures to cropped faces on several threads: in order, and the threads end with the reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from agecascade.errors import FaceError
from agecascade.faces.crops import Frame
from agecascade.faces.face import Image
from agecascade.faces.photos import FaceSearch
from images import noise

SIZE = 32


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]


def test_the_faces_are_in_order_whoever_finds_them() -> None:
    search = FaceSearch(Frame(SIZE), batch_size=4)
    pictures: list[object] = [b"no picture" if i == 5 else noise(i, SIZE + i, SIZE) for i in range(11)]
    alone = list(search.face_batches(pictures, aligned=True))
    together = list(search.face_batches(pictures, aligned=True, workers=3))
    assert [[row.path for row in rows] for rows in together] == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9", "10"]]
    for rows, others in zip(alone, together, strict=True):
        for row, other in zip(rows, others, strict=True):
            assert (row.path, row.box, row.error) == (other.path, other.box, other.error)
            assert (row.crop is None) == (row.path == "5")
            assert row.crop is None or (row.crop == other.crop).all()


def test_threads_end_when_the_reader_stops() -> None:
    def pictures() -> Iterator[Image]:
        while True:
            yield noise(0, SIZE, SIZE)

    before = len(readers())
    batches = FaceSearch(Frame(SIZE), batch_size=2).face_batches(pictures(), aligned=True, workers=3)
    assert len(next(batches)) == 2
    assert len(readers()) > before
    batches.close()  # type: ignore[attr-defined]
    assert len(readers()) == before


def test_limits_are_checked_where_it_is_made() -> None:
    with pytest.raises(FaceError, match="batch_size: a whole number of 1 or more is wanted, found 0"):
        FaceSearch(Frame(SIZE), batch_size=0)
