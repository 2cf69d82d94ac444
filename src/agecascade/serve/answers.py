"""The estimator's rows of each picture as JSON: the columns of `predict`, the distribution, and the score map where it is asked for."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from agecascade.serve.jobs import Question

if TYPE_CHECKING:
    import pandas as pd

    from agecascade.estimator import Estimator, FaceRow

Row = dict[str, Any]
EDGES = ("left", "top", "right", "bottom")
DIGITS = 6  # of a probability in a distribution
NO_TORCH = "this installation has no torch, which draws maps: install agecascade[pipeline], and give a model folder that it trained"


@dataclass(frozen=True)
class Answer:
    """The rows of one picture, without `path`; left_out: smaller faces beyond the limit."""

    rows: list[Row] = field(default_factory=list)
    left_out: int = 0


class Answers:
    """An estimator that answers several encoded pictures at once."""

    def __init__(self, estimator: Estimator, faces: int) -> None:
        """faces: of a picture, the largest first; smaller ones are counted, and have no row."""
        self.estimator, self._faces = estimator, faces
        self.lacking_maps = lacking_maps(estimator)

    def __call__(self, pictures: Sequence[bytes], question: Question) -> list[Answer]:
        """One answer for each picture; raises ModelError where the model cannot tell the threshold, or has no maps."""
        check = self.estimator.age_check(question.threshold, question.challenge)
        rows: list[list[Row]] = [[] for _ in pictures]
        for faces in self.estimator.face_batches(list(pictures)):
            frame = self.estimator.valued(faces, check)
            more = self._more(faces, question)
            for i, row in enumerate(_rows(frame)):
                rows[int(row.pop("path"))].append(row | {name: values[i] for name, values in more.items()})
        return [Answer(faces[: self._faces], max(0, len(faces) - self._faces)) for faces in rows]

    def _more(self, faces: Sequence[FaceRow], question: Question) -> dict[str, list[Any]]:
        """Further columns of cropped faces, None where there is none."""
        cropped = {i: face.crop for i, face in enumerate(faces) if face.crop is not None}
        crops = np.stack(list(cropped.values())) if cropped else None  # (N, S, S, 3)
        more: dict[str, list[Any]] = {}
        if question.distribution:
            more["distribution"] = [None] * len(faces)
            for i, distribution in zip(cropped, self._distributions(crops), strict=True):
                more["distribution"][i] = distribution
        if question.maps:
            more["map"] = [None] * len(faces)
            for i, score_map in zip(cropped, self._maps(crops), strict=True):
                more["map"][i] = score_map
        return more

    def _distributions(self, crops: np.ndarray | None) -> list[list[float] | None]:
        from agecascade.inference import predict_values

        if crops is None:
            return []
        of_folds = []
        for fold in self.estimator.folds:
            card = fold.card
            _, distribution = predict_values(fold.network, fold.method, crops, card.image_size, card.channels, flip=card.flip)
            if distribution is None:
                return [None] * len(crops)
            of_folds.append(distribution)
        return [[round(float(mass), DIGITS) for mass in row] for row in np.mean(of_folds, axis=0)]

    def _maps(self, crops: np.ndarray | None) -> list[Row]:
        """What adds to the score at each place of the crop, and the crop itself as a data address of a PNG."""
        if self.lacking_maps:
            from agecascade.errors import ModelError

            raise ModelError(f"maps: {self.lacking_maps}")
        if crops is None:
            return []
        from agecascade.explain.score_map import score_maps

        maps = np.mean([score_maps(fold, crops) for fold in self.estimator.folds], axis=0)  # (N, h, w)
        return [
            {"kind": "score_map", "crop": _address(crop), "values": np.round(of_face, DIGITS).tolist()}
            for crop, of_face in zip(crops, maps, strict=True)
        ]


def lacking_maps(estimator: Estimator) -> str | None:
    """Why an estimator has no score maps; None where it has them."""
    if not all(hasattr(fold, "network") for fold in estimator.folds):
        return NO_TORCH
    try:
        from agecascade.explain.score_map import lacking
    except ImportError:
        return NO_TORCH
    return lacking(estimator.folds[0])


def _rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of `predict` as JSON holds them: null for NaN and NA, the box as four columns."""
    rows = []
    for row in frame.to_dict("records"):
        box = row.pop("box", None)
        if "left" not in row:
            row |= dict(zip(EDGES, box or [None] * 4, strict=True))
        rows.append({str(name): _plain(value) for name, value in row.items()})
    return rows


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None  # pandas' NA


def _address(crop: np.ndarray) -> str:
    """A crop (S, S, 3) RGB as a data address."""
    from agecascade.imaging import encode_image

    return "data:image/png;base64," + base64.b64encode(encode_image(crop, "png", 0)).decode("ascii")
