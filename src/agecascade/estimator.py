"""Estimator: predicts one row per face from pictures, which it aligns as the align stage does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from agecascade import model_folder
from agecascade.age_thresholds import AgeCheck, probability_at_least
from agecascade.errors import FaceError, ModelError, unknown_name
from agecascade.faces.crops import Frame
from agecascade.faces.detection import Finder, create_finder
from agecascade.faces.face import Image
from agecascade.faces.rows import COLUMNS, OF_THRESHOLD, Columns, FaceRow, reduced, rows_of, table
from agecascade.imaging.inputs import Named, named_pictures, opened
from agecascade.inference import predict_values
from agecascade.io.threads import in_order
from agecascade.methods.base import Method
from agecascade.model_folder import IDENTITY, ModelCard
from agecascade.models.base import Network
from agecascade.params import Detection
from agecascade.params.data import MAX_MEGAPIXELS, MOST_MEGAPIXELS

__all__ = ["COLUMNS", "OF_THRESHOLD", "Columns", "Estimator", "FaceRow", "FoldModel"]
PYRAMID = 2  # params.Detection.pyramid in photos: group photos are large, and their faces small
BATCH_ROWS = 256  # crops held at once; pictures are released as soon as they are cropped
_SHARED = ("crop", "study", "step", "backbone", "method", "grid", "normalisation")  # keys of model.json


@dataclass(frozen=True, eq=False)
class FoldModel:
    """One trained network with its method and description."""

    network: Network
    method: Method
    card: ModelCard

    @property
    def frame(self) -> Frame:
        """How the network's faces are cropped."""
        return self.card.crop.frame

    def predict(self, crops: Image, threshold: float | None = None) -> np.ndarray:
        """Value, low and high (3, N) in label units of crops (N, S, S, 3); low and high are NaN where the model has no interval.

        With a threshold (4, N): also the probability of having reached it, NaN where the method predicts no distribution.
        """
        return self.predict_distribution(crops, threshold)[0]

    def predict_distribution(self, crops: Image, threshold: float | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """What `predict` returns, and the probabilities (N, K) of the grid's values, None where the method predicts none."""
        card = self.card
        value, distribution = predict_values(
            self.network, self.method, crops, card.image_size, card.channels, flip=card.flip, batch_size=BATCH_ROWS
        )
        unknown = np.full_like(value, np.nan)
        ends = (unknown, unknown) if card.interval is None else card.interval.bounds(value, distribution, np.array(card.grid))
        if threshold is None:
            return np.stack([value, *ends]), distribution  # (3, N)
        probability = unknown if distribution is None else probability_at_least(distribution, card.grid, threshold)
        return np.stack([value, *ends, probability]), distribution  # (4, N)


class Estimator:
    """One model, or the mean over the folds of one. `predict` may run in several threads at once: each has a detector of its own."""

    def __init__(
        self,
        folds: list[FoldModel],
        detector: str | None = "yunet",
        detection: Detection | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        batch_size: int = BATCH_ROWS,
    ) -> None:
        """detector, detection: for photos; None where no detector can repeat the crops of training.

        max_megapixels: a larger picture is a row with an error, and is not decoded. batch_size: faces that the network sees at once, and
        rows that are held at once. Raises FaceError where one of them is no such number.
        """
        self.folds = folds
        self.frame = folds[0].frame
        self.detector = detector
        self.detection = detection or Detection()
        self.max_megapixels, self.batch_size = _limits(max_megapixels, batch_size)
        self.note: str | None = None  # what every row says of this model

    @classmethod
    def load(
        cls, folder: Path | str, device: str | None = None, *, max_side: int | None = None, min_score: float | None = None
    ) -> Estimator:
        """Read a folder with a model.json, or its parent: then all of its fold<k> are averaged.

        device: torch's name; the default is CUDA where there is one. max_side, min_score: of the detection in photos, where they shall
        differ from training's. Raises ModelError where a file is missing or does not fit, and FaceError where one of these is no
        setting of a detector.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ModelError(
                f"{folder} is no folder; a model folder holds model.json and model.safetensors: train the model first (`dvc repro`)"
            )
        paths = [folder] if (folder / "model.json").is_file() else _fold_folders(folder)
        folds = [load_fold(path, device) for path in paths]
        _refuse_other_models(paths, folds)
        crop = folds[0].card.crop
        return cls(folds, crop.detector if crop.repeatable else None, _in_photos(crop.detection, max_side, min_score))

    def predict(
        self,
        images: Any,
        aligned: bool = False,
        *,
        threshold: float | None = None,
        challenge: float | None = None,
        distribution: bool = False,
        landmarks: bool = False,
        workers: int = 1,
    ) -> pd.DataFrame:
        """One row per face: path, face (0 is the largest), value, low, high, left, top, right, bottom, score, note, error.

        images: one or several pictures, a folder, which is searched through, or `imaging.sources.Sources`. A picture is a path, the
        bytes of a file, an RGB uint8 array (H, W, 3), a uint8 tensor (3, H, W) or (H, W, 3), or a Pillow image; all but paths get their
        position as `path`. What is no picture, cannot be read, has more than `max_megapixels` or no face gives one row with `error` and
        a value of NaN. aligned: each picture is a crop already. Values and the interval's ends are in label units, the box in pixels.
        threshold: two columns more: the probability of having reached this age, by the predicted distribution, NaN where the method
        predicts none; and a decision, "pass" or "challenge", None without a face. Who passes is estimated at `challenge` or older; without
        `challenge`, the whole interval lies at or above the threshold (docs/how_to/thresholds.md).
        distribution, landmarks: a column more each: the probabilities of the values of `grid`, and x and y of right eye, left eye, nose,
        right and left mouth corner, in pixels. workers: threads that read pictures and find faces; the rows are the same with any number.
        Raises FaceError where the detector cannot run, a folder holds no picture, or `images` is neither a picture nor several, and
        ModelError where the model knows only crops that no detector can repeat, or cannot tell the threshold or a distribution.
        """
        columns = self.columns(threshold, challenge, distribution=distribution, landmarks=landmarks, frame=getattr(images, "framed", False))
        frames = [self.valued(rows, columns) for rows in self.face_batches(images, aligned, workers=workers)]
        return pd.concat(frames, ignore_index=True) if frames else self.valued([], columns)

    def predict_batches(self, images: Any, aligned: bool = False, *, workers: int = 1, **options: Any) -> Iterator[pd.DataFrame]:
        """As `predict`, with its options, in frames of some `batch_size` rows, so that memory does not grow with the number of pictures."""
        columns = self.columns(**{"frame": getattr(images, "framed", False), **options})
        return (self.valued(rows, columns) for rows in self.face_batches(images, aligned, workers=workers))

    def ages(self, images: Any, aligned: bool = False, *, workers: int = 1) -> NDArray[np.float64]:
        """The value of the largest face of each picture (N,), NaN without one: what scikit-learn's functions take as y_pred.

        images, aligned and workers are those of `predict`, which raises as this does.
        """
        found: list[float] = []
        for rows in self.face_batches(images, aligned, workers=workers):
            values = self.valued(rows)["value"]
            found += [value for value, row in zip(values, rows, strict=True) if not row.face]  # the largest, or none
        return np.array(found)

    @property
    def grid(self) -> list[float]:
        """The labels that a distribution gives probabilities of, ascending."""
        return self.folds[0].card.grid

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # scikit-learn's signature
        """The settings that may be changed, as scikit-learn's estimators name them; `set_params` changes them."""
        return {
            "batch_size": self.batch_size,
            "max_megapixels": self.max_megapixels,
            "max_side": self.detection.max_side,
            "min_score": self.detection.min_score,
        }

    def set_params(self, **params: Any) -> Estimator:
        """Change settings of `get_params`; returns the estimator. Raises FaceError for an unknown one or one that cannot be."""
        known = self.get_params()
        for name in params:
            if name not in known:
                raise FaceError(unknown_name("setting of an Estimator", name, known))
        new = {**known, **params}
        detection = _changed(self.detection, {name: new[name] for name in ("max_side", "min_score")})
        self.max_megapixels, self.batch_size = _limits(new["max_megapixels"], new["batch_size"])
        self.detection = detection
        return self

    def columns(
        self,
        threshold: float | None = None,
        challenge: float | None = None,
        *,
        distribution: bool = False,
        landmarks: bool = False,
        frame: bool = False,
    ) -> Columns:
        """The columns that `predict` writes with these options. Raises ModelError where this model cannot tell the threshold."""
        return Columns(self.age_check(threshold, challenge), frame, distribution, landmarks)

    def age_check(self, threshold: float | None, challenge: float | None = None) -> AgeCheck | None:
        """The question whether persons have reached an age; None without one. Raises ModelError where this model cannot answer it."""
        if threshold is None:
            if challenge is not None:
                raise ModelError("challenge: it goes with a threshold, the legal age (--threshold, threshold=); give both")
            return None
        check = AgeCheck(float(threshold), None if challenge is None else float(challenge))
        check.require(self.folds[0].card.grid, all(fold.card.interval is not None for fold in self.folds))
        return check

    def face_batches(self, images: Any, aligned: bool = False, *, workers: int = 1, shown: int | None = None) -> Iterator[list[FaceRow]]:
        """The cropped faces of the pictures that `predict` takes, some `batch_size` at once, without their values. Raises as `predict`.

        shown: pixels of the longer side to which each picture is reduced and kept in its rows, for drawing.
        """
        if not workers >= 1:
            raise FaceError(f"workers: 1 or more is wanted, found {workers}")
        batch = self._finder(aligned).batch  # raises before any picture is read
        pictures = named_pictures(images)
        several = iter(lambda: list(islice(pictures, batch)), [])
        rows: list[FaceRow] = []
        for found in in_order(lambda named: self._cropped(named, aligned, shown), several, workers):
            rows += found
            if len(rows) >= self.batch_size:
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
        return create_finder(self.detector, self.detection)

    def _frame(self, aligned: bool) -> Frame:
        # a crop as it was cut holds its margin already
        return Frame(self.frame.size) if aligned else self.frame

    def valued(self, rows: list[FaceRow], columns: Columns = Columns()) -> pd.DataFrame:  # noqa: B008  # immutable
        """The columns of `predict` of cropped faces and of pictures without one."""
        found = [place for place, row in enumerate(rows) if row.crop is not None]
        values = np.full((3 + (columns.check is not None), len(rows)), np.nan)  # value, low, high, probability
        distributions: list[list[float] | None] = [None] * len(rows)
        for start in range(0, len(found), self.batch_size):
            places = found[start : start + self.batch_size]
            crops = np.stack([rows[place].crop for place in places])  # type: ignore[misc]  # all have one
            values[:, places], distribution = self._predicted(crops, columns)
            for place, probabilities in zip(places, distribution.tolist(), strict=False):
                distributions[place] = probabilities
        return table(rows, values, columns, distributions, self.note)

    def _predicted(self, crops: Image, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """The mean over the folds: values (3 or 4, N), and distributions (N, K), or none where they are not asked for."""
        asked = () if columns.check is None else (columns.check.threshold,)
        if not columns.distribution:
            return np.mean([fold.predict(crops, *asked) for fold in self.folds], axis=0), np.empty(0)
        values, distributions = zip(*(fold.predict_distribution(crops, *asked) for fold in self.folds), strict=True)
        if any(distribution is None for distribution in distributions):
            method = self.folds[0].card.method
            raise ModelError(f"distribution: a model trained with {method} predicts no distribution, but a value alone")
        return np.mean(values, axis=0), np.mean(distributions, axis=0)


def _in_photos(trained: dict[str, Any], max_side: int | None, min_score: float | None) -> Detection:
    """The detection of training in photos: small faces are searched for in large ones, and what is given is changed."""
    given = {"max_side": max_side, "min_score": min_score}
    changed = {key: value for key, value in given.items() if value is not None}
    return _changed(Detection.model_validate(trained), {"pyramid": max(PYRAMID, trained.get("pyramid", 0)), **changed})


def _changed(detection: Detection, changes: dict[str, Any]) -> Detection:
    """A detection with other settings; raises FaceError where one cannot be."""
    try:
        return Detection.model_validate({**detection.model_dump(), **changes})
    except ValidationError as error:
        fault = error.errors()[0]
        raise FaceError(f"{fault['loc'][0]}: {fault['msg']}, found {fault['input']!r}") from None


def _limits(max_megapixels: float, batch_size: int) -> tuple[float, int]:
    """Both, checked; raises FaceError."""
    if not 0 < max_megapixels <= MOST_MEGAPIXELS:  # so that NaN is refused
        raise FaceError(f"max_megapixels is above 0 and at most {MOST_MEGAPIXELS:g}, found {max_megapixels}")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise FaceError(f"batch_size: a whole number of 1 or more is wanted, found {batch_size}")
    return max_megapixels, batch_size


def _fold_folders(folder: Path) -> list[Path]:
    """The folders fold0, fold1, ... of a model; raises ModelError where there is none, or one of them is missing."""
    paths = model_folder.fold_folders(folder)
    if not paths:
        raise ModelError(f"{folder} holds no model.json, nor does a fold<k> in it; train the model first (`dvc repro`)")
    missing = next((k for k, path in enumerate(paths) if path.name != f"fold{k}"), None)
    if missing is not None:
        raise ModelError(f"{folder} holds {paths[-1].name} without fold{missing}; `dvc checkout` restores it, or name one fold alone")
    return paths


def _refuse_other_models(paths: list[Path], folds: list[FoldModel]) -> None:
    """Raise ModelError where the folds are no folds of one model: they differ in more than their fold."""
    first = folds[0].card
    for path, fold in zip(paths, folds, strict=True):
        for key in _SHARED:
            if getattr(fold.card, key) != getattr(first, key):
                raise ModelError(f"{path}/model.json: `{key}` differs from {paths[0].name}'s; folds of one model share it")


def load_fold(folder: Path, device: str | None = None) -> FoldModel:
    """One model folder; device: torch's name, the default is CUDA where there is one. Raises ModelError."""
    network, method, card = model_folder.load(folder)
    if card.method == IDENTITY:
        raise ModelError(f"{folder} recognises identities and estimates nothing; give a model of a cascade step, models/<step>/...")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    return FoldModel(network, method.to(device), card)
