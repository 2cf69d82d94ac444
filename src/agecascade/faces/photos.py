"""The faces of what a person hands over: as in training, and smaller ones of large photos too; in threads, in order, and a few at once."""

from __future__ import annotations

import numbers
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from pydantic import ValidationError

from agecascade.errors import FaceError, ModelError
from agecascade.faces.crops import Frame
from agecascade.faces.detection import Finder, create_finder
from agecascade.faces.rows import FaceRow, reduced, rows_of
from agecascade.imaging.inputs import Named, named_pictures, opened
from agecascade.io.threads import in_order
from agecascade.params import Detection
from agecascade.params.data import MAX_MEGAPIXELS, MOST_MEGAPIXELS

PYRAMID = 2  # params.Detection.pyramid in photos: group photos are large, and their faces small
RUNTIME = "onnxruntime"  # params.Detection.runtime in photos, where YuNet found no face of training

BATCH_ROWS = 256  # crops held at once; pictures are released as soon as they are cropped
SHOWN_ROWS = 16  # as many where pictures are kept for drawing
_CREATING = threading.Lock()  # a detector of each thread; while it starts, it silences OpenCV for the whole process


class FaceSearch:
    """How faces are found and cropped. Several threads may search at once: each has a detector of its own."""

    def __init__(
        self,
        frame: Frame,
        detector: str | None = "yunet",
        detection: Detection | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        batch_size: int = BATCH_ROWS,
    ) -> None:
        """frame: of the crops; the rest as of `Estimator`. Raises FaceError where a limit cannot be."""
        self.frame, self.detector = frame, detector
        self.detection = detection or Detection()
        self.max_megapixels, self.batch_size = checked_limits(max_megapixels, batch_size)

    def face_batches(self, images: Any, aligned: bool = False, *, workers: int = 1, shown: int | None = None) -> Iterator[list[FaceRow]]:
        """The cropped faces of the pictures that `Estimator.predict` takes, some `batch_size` at once, without values. Raises as `predict`.

        shown: pixels of the longer side to which each picture is reduced and kept in its rows, for drawing.
        """
        size = self.batch_size if shown is None else min(self.batch_size, SHOWN_ROWS)
        return self._groups(images, aligned, workers, shown, lambda: size)

    def _groups(
        self, images: Any, aligned: bool, workers: int, shown: int | None, size: Callable[[], int]
    ) -> Generator[list[FaceRow], None, None]:
        """The rows of whole pictures, `size` of them or some more at once."""
        whole_number("workers", workers)
        if isinstance(images, str) and not images.strip():  # a variable that was never set; Path("") is the working folder
            raise FaceError("an empty name is no picture and no folder")
        batch = self._finder(aligned).batch  # raises before any picture is read
        pictures = named_pictures(images)
        several = iter(lambda: list(islice(pictures, batch)), [])
        rows: list[FaceRow] = []
        with closing(in_order(lambda named: self._cropped(named, aligned, shown), several, workers)) as results:
            for found in results:
                rows += found
                if len(rows) >= size():
                    yield rows
                    rows = []
        if rows:
            yield rows

    def _cropped(self, pictures: list[tuple[str, Any]], aligned: bool, shown: int | None) -> list[FaceRow]:
        """The rows of some pictures, by this thread's detector."""
        read = [(name, opened(picture, self.max_megapixels)) for name, picture in pictures]
        rows: list[FaceRow] = []
        for (_, picture), (_, image), found in zip(pictures, read, rows_of(read, self._finder(aligned), self._frame(aligned)), strict=True):
            kept = None if shown is None or isinstance(image, str) else reduced(image, shown)
            for row in found:
                row.shown, row.frame = kept, picture.frame if isinstance(picture, Named) else None
            rows += found
        return rows

    def _finder(self, aligned: bool) -> Finder:
        if aligned:
            return create_finder("whole", self.detection)
        if self.detector is None:
            raise ModelError(
                "this model learned from crops around its data set's own landmarks, which no detector finds in a photo; "
                "give it aligned crops (--aligned, aligned=True)"
            )
        with _CREATING:
            return create_finder(self.detector, self.detection)

    def _frame(self, aligned: bool) -> Frame:
        # a crop as it was cut holds its margin already
        return Frame(self.frame.size) if aligned else self.frame


def in_photos(trained: dict[str, Any], trained_with: str | None, max_side: int | None, min_score: float | None) -> Detection:
    """The detection of training in photos: small faces are searched for in large ones, and what is given is changed.

    trained_with: the detector of the training set. The runtime stays that of training where YuNet found its faces, so that each pixel
    of a crop is the same. Raises FaceError where a setting cannot be.
    """
    given = {"max_side": max_side, "min_score": min_score}
    wanted = {key: value for key, value in given.items() if value is not None}
    runtime = trained.get("runtime", "opencv") if trained_with == "yunet" else RUNTIME
    pyramid = max(PYRAMID, trained.get("pyramid", 0))
    return changed(Detection.model_validate(trained), {"pyramid": pyramid, "runtime": runtime, **wanted})


def changed(detection: Detection, changes: dict[str, Any]) -> Detection:
    """A detection with other settings; raises FaceError where one cannot be."""
    try:
        return Detection.model_validate({**detection.model_dump(), **changes})
    except ValidationError as error:
        fault = error.errors()[0]
        raise FaceError(f"{fault['loc'][0]}: {fault['msg']}, found {fault['input']!r}") from None


def checked_limits(max_megapixels: float, batch_size: int) -> tuple[float, int]:
    """Both; raises FaceError where one of them cannot be."""
    if not isinstance(max_megapixels, numbers.Real) or not 0 < max_megapixels <= MOST_MEGAPIXELS:  # so that NaN is refused
        raise FaceError(f"max_megapixels is above 0 and at most {MOST_MEGAPIXELS:g}, found {max_megapixels!r}")
    return max_megapixels, whole_number("batch_size", batch_size)


def whole_number(name: str, value: Any) -> int:
    """A setting that is a whole number of 1 or more; raises FaceError where it is none."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise FaceError(f"{name}: a whole number of 1 or more is wanted, found {value!r}")
    return int(value)
