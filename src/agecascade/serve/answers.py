"""The estimator's rows of each picture as JSON: the columns of `predict`, the distribution, and the score map where it is asked for."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from agecascade.errors import ModelError
from agecascade.serve.jobs import Question

if TYPE_CHECKING:
    import pandas as pd

    from agecascade.estimator import Estimator, FaceRow

Row = dict[str, Any]
DIGITS = 6  # of a probability in a distribution
NO_LAYERS = "an exported model has no layers to look into; serve the folder of a trained one, with agecascade[pipeline] installed"


@dataclass
class Answer:
    """The rows of one picture; left_out: smaller faces beyond the limit."""

    rows: list[Row] = field(default_factory=list)
    left_out: int = 0


class Answers:
    """An estimator that answers several encoded pictures at once."""

    def __init__(self, estimator: Estimator, faces: int) -> None:
        """faces: of a picture, the largest first; smaller ones are counted, and have no row."""
        self.estimator, self._faces = estimator, faces
        self.lacking_maps = lacking_maps(estimator)
        self.lacking_distribution = lacking_distribution(estimator)

    def __call__(self, pictures: Sequence[bytes], question: Question) -> list[Answer]:
        """One answer for each picture; raises ModelError where the model cannot answer the question."""
        columns = self.estimator.columns(question.threshold, question.challenge, distribution=question.distribution)
        answers = [Answer() for _ in pictures]
        for found in self.estimator.face_batches(list(pictures)):
            faces = [row for row in found if row.face is None or row.face < self._faces]
            for beyond in found:
                answers[int(beyond.path)].left_out += beyond.face is not None and beyond.face >= self._faces
            maps = self._maps(faces) if question.maps else {}
            for i, (face, row) in enumerate(zip(faces, _rows(self.estimator.valued(faces, columns)), strict=True)):
                answers[int(face.path)].rows.append({**row, "map": maps.get(i)} if question.maps else row)
        return answers

    def _maps(self, faces: Sequence[FaceRow]) -> dict[int, Row]:
        """Of each cropped face what each place adds to the score, and the crop itself as a data address of a PNG."""
        cropped = {i: face.crop for i, face in enumerate(faces) if face.crop is not None}
        if self.lacking_maps:
            raise ModelError(f"maps: {self.lacking_maps}")
        if not cropped:
            return {}
        from agecascade.explain.score_map import score_maps

        crops = np.stack(list(cropped.values()))  # (N, S, S, 3)
        folds: list[Any] = list(self.estimator.folds)
        maps = np.mean([score_maps(fold, crops) for fold in folds], axis=0)  # (N, h, w)
        return {
            i: {"kind": "score_map", "crop": _address(crop), "values": np.round(of_face, DIGITS).tolist()}
            for (i, crop), of_face in zip(cropped.items(), maps, strict=True)
        }


def lacking_distribution(estimator: Estimator) -> str | None:
    """Why an estimator predicts no distribution; None where it does. It predicts a black crop, which also prepares the network."""
    from agecascade.estimator import FaceRow

    size = estimator.frame.size
    try:
        estimator.valued([FaceRow("", 0, crop=np.zeros((size, size, 3), np.uint8))], estimator.columns(distribution=True))
    except ModelError as error:
        return str(error)
    return None


def lacking_maps(estimator: Estimator) -> str | None:
    """Why an estimator has no score maps; None where it has them."""
    folds: list[Any] = list(estimator.folds)
    if not all(hasattr(fold, "network") for fold in folds):  # nor is torch imported
        return NO_LAYERS
    from agecascade.explain.score_map import lacking

    return lacking(folds[0])


def _rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of `predict` as JSON holds them: null for NaN and NA, probabilities of a distribution rounded."""
    rows = [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
    for row in rows:
        if row.get("distribution"):
            row["distribution"] = [round(mass, DIGITS) for mass in row["distribution"]]
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
