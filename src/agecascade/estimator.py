"""Estimator: predicts one row per face from pictures, which it aligns as the align stage does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from pydantic import ValidationError

from agecascade import released
from agecascade.age_thresholds import AgeCheck
from agecascade.errors import FaceError, ModelError
from agecascade.faces.crops import SMALLEST_SIDE, Frame, cut
from agecascade.faces.detection import DetectionResult, Finder, create_finder
from agecascade.faces.face import Annotation, Face, Image
from agecascade.imaging.inputs import named_pictures, opened
from agecascade.model_card import Crop, fold_folders
from agecascade.params import Detection
from agecascade.params.data import MAX_MEGAPIXELS, MOST_MEGAPIXELS
from agecascade.runtimes import FoldModel, averaged, exported_without_card, load_fold

__all__ = ["COLUMNS", "Estimator", "FaceRow", "FoldModel", "load_fold"]

COLUMNS = ["path", "face", "value", "low", "high", "box", "score", "error"]
OF_THRESHOLD = ["probability", "decision"]  # behind them, where an age is asked for
PYRAMID = 2  # params.Detection.pyramid in photos: group photos are large, and their faces small
RUNTIME = "onnxruntime"  # params.Detection.runtime in photos, where YuNet found no face of training
BATCH_ROWS = 256  # crops held at once; pictures are released as soon as they are cropped
_SHARED = ("crop", "study", "step", "backbone", "method", "method_options", "grid", "normalisation")  # keys of model.json


@dataclass(eq=False)
class FaceRow:
    """One face, or a picture without one, before its value is known."""

    path: str
    face: int | None = None
    box: list[int] | None = None  # left, top, right, bottom in the picture's pixels
    score: float = np.nan
    error: str | None = None
    crop: Image | None = None  # (S, S, 3)


class Estimator:
    """One model, or all folds of one: the mean of their predictions; of their distributions where it decodes a mode or median."""

    def __init__(
        self,
        folds: list[FoldModel],
        detector: str | None = "yunet",
        detection: Detection | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        """detector, detection: for photos; None where no detector can repeat the crops of training.

        max_megapixels: a larger picture is a row with an error, and is not decoded. Raises FaceError where it is no such number.
        """
        self.folds = folds
        self.frame = folds[0].frame
        self.detector = detector
        self.detection = detection or Detection()
        if not 0 < max_megapixels <= MOST_MEGAPIXELS:  # so that NaN is refused
            raise FaceError(f"max_megapixels is above 0 and at most {MOST_MEGAPIXELS:g}, found {max_megapixels}")
        self.max_megapixels = max_megapixels

    @classmethod
    def load(
        cls,
        folder: Path | str | None = None,
        device: str | None = None,
        *,
        max_side: int | None = None,
        min_score: float | None = None,
    ) -> Estimator:
        """Read a folder with a model.json, or its parent: then all of its fold<k> are averaged; or the one model below it.

        folder: of a trained model or of an exported one; or an address of MLflow's registry, `models:/<name>@champion` or
        `models:/<name>/<version>`; None: the model that comes with the package. device: torch's name, the default is CUDA where there
        is one; exported files run on a processor by default. max_side, min_score: of the detection in photos, where they shall differ
        from training's. Raises ModelError where a file is missing or does not fit, NotInstalledError where the library is that runs
        it, and FaceError where one of these is no setting of a detector.
        """
        with _local(folder) as place:
            paths = _model_folders(place)
            folds = [load_fold(path, device) for path in paths]
        _refuse_other_models(paths, folds)
        crop = folds[0].card.crop
        return cls(folds, crop.detector if crop.repeatable else None, _in_photos(crop, max_side, min_score))

    def predict(
        self, images: Any, aligned: bool = False, *, threshold: float | None = None, challenge: float | None = None
    ) -> pd.DataFrame:
        """One row per face: path, face (0 is the largest), value, low, high, box, score, error.

        images: one or several pictures, or a folder, which is searched through. A picture is a path, the bytes of a file, an RGB
        uint8 array (H, W, 3), a uint8 tensor (3, H, W) or (H, W, 3), or a Pillow image; all but paths get their position as `path`.
        What is no picture, cannot be read, has more than `max_megapixels` or no face gives one row with `error` and a value of NaN.
        aligned: each picture is a crop already. Values and the interval's ends are in label units, box in pixels.
        threshold: two columns more: the probability of having reached this age, by the predicted distribution, NaN where the method
        predicts none; and a decision, "pass" or "challenge", None without a face. Who passes is estimated at `challenge` or older; without
        `challenge`, the whole interval lies at or above the threshold (docs/how_to/thresholds.md).
        Raises FaceError where the detector cannot run, a folder holds no picture, or `images` is neither a picture nor several, and
        ModelError where the model knows only crops that no detector can repeat, or cannot tell the threshold.
        """
        check = self.age_check(threshold, challenge)
        frames = list(self._batches(images, aligned, check))
        return pd.concat(frames, ignore_index=True) if frames else _frame([], np.empty((3 + (check is not None), 0)), check)

    def predict_batches(
        self, images: Any, aligned: bool = False, *, threshold: float | None = None, challenge: float | None = None
    ) -> Iterator[pd.DataFrame]:
        """As `predict`, in frames of some 256 rows, so that memory does not grow with the number of pictures."""
        return self._batches(images, aligned, self.age_check(threshold, challenge))

    def age_check(self, threshold: float | None, challenge: float | None = None) -> AgeCheck | None:
        """The question whether persons have reached an age; None without one. Raises ModelError where this model cannot answer it."""
        if threshold is None:
            if challenge is not None:
                raise ModelError("challenge: it goes with a threshold, the legal age (--threshold, threshold=); give both")
            return None
        check = AgeCheck(float(threshold), None if challenge is None else float(challenge))
        check.require(self.folds[0].card.grid, all(fold.card.interval is not None for fold in self.folds))
        return check

    def _batches(self, images: Any, aligned: bool, check: AgeCheck | None) -> Iterator[pd.DataFrame]:
        for rows in self.face_batches(images, aligned):
            yield self.valued(rows, check)

    def face_batches(self, images: Any, aligned: bool = False) -> Iterator[list[FaceRow]]:
        """The cropped faces of the pictures that `predict` takes, some 256 at once, without their values. Raises as `predict`."""
        find, frame = self._finder(aligned), self._frame(aligned)
        rows: list[FaceRow] = []
        pictures = named_pictures(images)
        while batch := [(name, opened(picture, self.max_megapixels)) for name, picture in islice(pictures, find.batch)]:
            rows += _rows(batch, find, frame)
            if len(rows) >= BATCH_ROWS:
                yield rows
                rows = []
        if rows:
            yield rows

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

    def valued(self, rows: list[FaceRow], check: AgeCheck | None = None) -> pd.DataFrame:
        """The columns of `predict` of cropped faces and of pictures without one."""
        crops = [row.crop for row in rows if row.crop is not None]
        values = np.full((3 + (check is not None), len(rows)), np.nan)  # value, low, high, probability
        if crops:
            values[:, [row.crop is not None for row in rows]] = self._of_folds(np.stack(crops), check)
        return _frame(rows, values, check)

    def _of_folds(self, crops: Image, check: AgeCheck | None) -> np.ndarray:
        """Value, low, high and with a check the probability (3 or 4, N): the mean over the folds.

        A mode or median is that of the folds' mean distribution. Each fold's interval is then laid around it, and the mean of these is
        the interval: the mean of intervals around the folds' own values need not hold it.
        """
        asked = () if check is None else (check.threshold,)
        if len(self.folds) == 1 or (decoding := self.folds[0].mean_decoded) is None:
            return np.mean([fold.predict(crops, *asked) for fold in self.folds], axis=0)  # (3 or 4, N)
        value, distribution = averaged([fold.values(crops) for fold in self.folds], self.folds[0].card.grid, decoding)
        return np.mean([fold.rows_of(value, distribution, *asked) for fold in self.folds], axis=0)  # (3 or 4, N)


def _rows(batch: list[tuple[str, Image | str]], find: Finder, frame: Frame) -> list[FaceRow]:
    """The cropped faces of each picture, or one row that says why there are none."""
    pictures = [picture for _, picture in batch if not isinstance(picture, str)]
    findings = iter(find(pictures, [Annotation()] * len(pictures)))
    rows: list[FaceRow] = []
    for name, picture in batch:
        rows += [FaceRow(name, error=picture)] if isinstance(picture, str) else _picture_rows(name, picture, next(findings), frame)
    return rows


def _picture_rows(name: str, picture: Image, finding: DetectionResult, frame: Frame) -> list[FaceRow]:
    if finding.fault:
        return [FaceRow(name, error=f"the detector failed: {finding.fault}")]
    if not finding.faces:
        return [FaceRow(name, error="no face found" if finding.unsound is None else "the points found make no face")]
    return [_row(name, i, picture, face, frame) for i, face in enumerate(finding.faces)]


def _row(name: str, number: int, picture: Image, face: Face, frame: Frame) -> FaceRow:
    row = FaceRow(name, number, [round(float(edge)) for edge in face.box], np.nan if face.score is None else face.score)
    try:
        crop = cut(picture, face, Annotation(), frame)
    except cv2.error as error:
        row.error = f"OpenCV cannot crop it: {' '.join(str(error).split())[:200]}"
        return row
    if crop is None:
        row.error = _no_crop(face)
    else:
        row.crop = crop.image
    return row


def _no_crop(face: Face) -> str:
    """Why a face cannot be cropped."""
    width, height = face.box[2:] - face.box[:2]
    if max(width, height) < SMALLEST_SIDE:
        return f"{width:.3g} x {height:.3g} pixels are too few for a face"
    return "the points found make no face"


def _frame(rows: list[FaceRow], values: np.ndarray, check: AgeCheck | None = None) -> pd.DataFrame:
    """The public columns: rows with their value, low and high (3, N); with a check, and a probability (4, N), those of OF_THRESHOLD too."""
    columns = {
        "path": pd.Series([row.path for row in rows], dtype="str"),
        "face": pd.Series([row.face for row in rows], dtype="Int64"),
        "value": values[0],
        "low": values[1],
        "high": values[2],
        "box": pd.Series([row.box for row in rows], dtype="object"),
        "score": pd.Series([row.score for row in rows], dtype="float64"),
        "error": pd.Series([row.error for row in rows], dtype="str"),
    }
    if check is None:
        return pd.DataFrame(columns, columns=COLUMNS)
    decisions = pd.Series(check.decisions(values[0], values[1]), dtype="str")
    return pd.DataFrame({**columns, "probability": values[3], "decision": decisions}, columns=[*COLUMNS, *OF_THRESHOLD])


def _in_photos(crop: Crop, max_side: int | None, min_score: float | None) -> Detection:
    """The detection of training in photos: small faces are searched for in large ones, and what is given is changed.

    The runtime stays that of training where YuNet found its faces, so that each pixel of a crop is the same.
    """
    trained = crop.detection
    runtime = trained.get("runtime", "opencv") if crop.trained_with == "yunet" else RUNTIME
    given = {"max_side": max_side, "min_score": min_score}
    changed = {key: value for key, value in given.items() if value is not None}
    try:
        return Detection.model_validate({**trained, "pyramid": max(PYRAMID, trained.get("pyramid", 0)), "runtime": runtime, **changed})
    except ValidationError as error:
        fault = error.errors()[0]
        raise FaceError(f"{fault['loc'][0]}: {fault['msg']}, found {fault['input']!r}") from None


@contextmanager
def _local(folder: Path | str | None) -> Iterator[Path]:
    """The folder of a model while it is read: the released one, one of MLflow's registry, or the one that is named. Raises ModelError."""
    if folder is None:
        yield released.folder()
    elif (address := registry_address(folder)) is not None:
        from agecascade.registered import registered_folder

        with registered_folder(address) as place:
            yield place
    elif Path(folder).is_dir():
        yield Path(folder)
    else:
        raise ModelError(f"{folder} is no folder; a model folder holds model.json beside its weights: train the model first (`dvc repro`)")


def registry_address(folder: Path | str) -> str | None:
    """The address `models:/...` of a model in MLflow's registry, also where a Path was made of it; None for a folder."""
    text = folder.as_posix() if isinstance(folder, Path) else folder
    return text if text.startswith("models:/") else None


def _model_folders(folder: Path) -> list[Path]:
    """The folder itself, its fold0, fold1, ..., or those of the one model that lies below it; raises ModelError."""
    if (folder / "model.json").is_file():
        return [folder]
    if (name := exported_without_card(folder)) is not None:
        raise ModelError(f"{folder / name} has no model.json beside it, which says how faces are cropped; copy both (`agecascade export`)")
    if paths := _folds(folder):
        return paths
    rows = [path for path in sorted(folder.iterdir()) if path.is_dir() and ((path / "model.json").is_file() or fold_folders(path))]
    if len(rows) == 1:
        return _model_folders(rows[0])
    if rows:
        raise ModelError(f"{folder} holds several models: {', '.join(path.name for path in rows)}; name one of them")
    raise ModelError(f"{folder} holds no model.json, nor does a fold<k> in it; train the model first (`dvc repro`)")


def _folds(folder: Path) -> list[Path]:
    """The folders fold0, fold1, ... of a model; raises ModelError where one of them is missing."""
    paths = fold_folders(folder)
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
