"""How faces are found in a person's photos: as in training, and smaller ones in large photos too; and how much is read at once."""

from __future__ import annotations

import numbers
from typing import Any

from pydantic import ValidationError

from agecascade.errors import FaceError
from agecascade.params import Detection
from agecascade.params.data import MOST_MEGAPIXELS

PYRAMID = 2  # params.Detection.pyramid in photos: group photos are large, and their faces small
RUNTIME = "onnxruntime"  # params.Detection.runtime in photos, where YuNet found no face of training


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
