"""Estimator: predicts one row per face from pictures, which it aligns as the align stage does."""

from __future__ import annotations

import copy
import numbers
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade import released
from agecascade.age_thresholds import AgeCheck
from agecascade.errors import FaceError, ModelError, unknown_name
from agecascade.faces.crops import Frame
from agecascade.faces.detection import Finder, create_finder
from agecascade.faces.face import Image
from agecascade.faces.photos import changed, checked_limits, in_photos, whole_number
from agecascade.faces.rows import COLUMNS, OF_THRESHOLD, Columns, FaceRow, reduced, rows_of, table
from agecascade.imaging.inputs import Named, is_address, named_pictures, opened
from agecascade.io.threads import in_order
from agecascade.model_card import note_on_drawn
from agecascade.params import Detection
from agecascade.params.data import MAX_MEGAPIXELS
from agecascade.runtimes import FoldModel, averaged, load_fold
from agecascade.runtimes.folders import model_folders

__all__ = ["COLUMNS", "OF_THRESHOLD", "Columns", "Estimator", "FaceRow", "FoldModel", "load_fold"]
BATCH_ROWS = 256  # crops held at once; pictures are released as soon as they are cropped
_CREATING = threading.Lock()  # a detector of each thread; while it starts, it silences OpenCV for the whole process
SHOWN_ROWS = 16  # as many where pictures are kept for drawing
_SHARED = ("crop", "study", "step", "backbone", "method", "method_options", "grid", "normalisation")  # keys of model.json


class Estimator:
    """One model, or all folds of one: the mean of their predictions; of their distributions where it decodes a mode or median.

    `predict` may run in several threads at once: each has a detector of its own.
    """

    def __init__(
        self,
        folds: list[FoldModel],
        detector: str | None = "yunet",
        detection: Detection | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        batch_size: int = BATCH_ROWS,
        note: str | None = None,
    ) -> None:
        """detector, detection: for photos; None where no detector can repeat the crops of training.

        max_megapixels: a larger picture is a row with an error, and is not decoded. batch_size: faces that the network sees at once, and
        rows that are held at once. Raises FaceError where one of them is no such number.
        """
        self.folds = folds
        self.frame = folds[0].frame
        self.detector = detector
        self.detection = detection or Detection()
        self.max_megapixels, self.batch_size = checked_limits(max_megapixels, batch_size)
        self.note = note  # what every row says of this model
        self._source: tuple[Path | str | None, str | None] | None = None  # what `load` was given, for a copy in another process

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
            paths = model_folders(place)
            folds = [load_fold(path, device) for path in paths]
        _refuse_other_models(paths, folds)
        crop = folds[0].card.crop
        detector = crop.detector if crop.repeatable else None
        note = note_on_drawn([fold.card for fold in folds])
        estimator = cls(folds, detector, in_photos(crop.detection, crop.trained_with, max_side, min_score), note=note)
        estimator._source = (Path(folder).absolute() if folder is not None and registry_address(folder) is None else folder, device)
        return estimator

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes: where it was loaded from, and its settings; the folder is read there, and must be there still."""
        if self._source is None:
            raise TypeError("an Estimator is pickled by the folder that it was loaded from; this one was made of folds: use Estimator.load")
        return _reloaded, (*self._source, self.get_params())

    def __sklearn_clone__(self) -> Estimator:
        """A copy with settings of its own; the networks, which nothing changes, are shared. scikit-learn's `clone` asks for it."""
        return copy.copy(self)

    def __copy__(self) -> Estimator:
        other = Estimator(self.folds, self.detector, self.detection, self.max_megapixels, self.batch_size, self.note)
        other._source = self._source
        return other

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

    @property
    def coverage(self) -> float | None:
        """The share of faces that low to high hold; None where the model has no interval."""
        intervals = [fold.card.interval for fold in self.folds]
        return None if intervals[0] is None or None in intervals else intervals[0].coverage

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
        detection = changed(self.detection, {name: new[name] for name in ("max_side", "min_score")})
        self.max_megapixels, self.batch_size = checked_limits(new["max_megapixels"], new["batch_size"])
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
        for name, value in (("threshold", threshold), ("challenge", challenge)):
            if not isinstance(value, numbers.Real | None) or isinstance(value, bool):
                raise ModelError(f"{name}: a number is wanted, found {value!r}")
        check = AgeCheck(float(threshold), None if challenge is None else float(challenge))
        check.require(self.folds[0].card.grid, all(fold.card.interval is not None for fold in self.folds))
        return check

    def face_batches(self, images: Any, aligned: bool = False, *, workers: int = 1, shown: int | None = None) -> Iterator[list[FaceRow]]:
        """The cropped faces of the pictures that `predict` takes, some `batch_size` at once, without their values. Raises as `predict`.

        shown: pixels of the longer side to which each picture is reduced and kept in its rows, for drawing.
        """
        whole_number("workers", workers)
        if isinstance(images, str) and not images.strip():  # a variable that was never set; Path("") is the working folder
            raise FaceError("an empty name is no picture and no folder")
        batch = self._finder(aligned).batch  # raises before any picture is read
        pictures = named_pictures(images)
        several = iter(lambda: list(islice(pictures, batch)), [])
        most = self.batch_size if shown is None else min(self.batch_size, SHOWN_ROWS)
        rows: list[FaceRow] = []
        for found in in_order(lambda named: self._cropped(named, aligned, shown), several, workers):
            rows += found
            if len(rows) >= most:
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
        """The mean over the folds: values (3 or 4, N), and distributions (N, K), or none where they are not asked for.

        A mode or median is that of the folds' mean distribution. Each fold's interval is then laid around it, and the mean of these is
        the interval: the mean of intervals around the folds' own values need not hold it.
        """
        asked = () if columns.check is None else (columns.check.threshold,)
        decoding = None if len(self.folds) == 1 else self.folds[0].mean_decoded
        if decoding is None and not columns.distribution:
            return np.mean([fold.predict(crops, *asked) for fold in self.folds], axis=0), np.empty(0)
        said = [fold.values(crops) for fold in self.folds]
        known = [distribution for _, distribution in said if distribution is not None]
        if len(known) < len(said):
            raise ModelError(f"distribution: a model trained with {self.folds[0].card.method} predicts no distribution, but a value alone")
        if decoding is not None:
            said = [averaged(said, self.grid, decoding)] * len(said)
        rows = [fold.rows_of(*one, *asked) for fold, one in zip(self.folds, said, strict=True)]
        return np.mean(rows, axis=0), np.mean(known, axis=0)


def _reloaded(folder: Path | str | None, device: str | None, settings: dict[str, Any]) -> Estimator:
    return Estimator.load(folder, device).set_params(**settings)


@contextmanager
def _local(folder: Path | str | None) -> Iterator[Path]:
    """The folder of a model while it is read: the released one, one of MLflow's registry, or the one that is named. Raises ModelError."""
    if isinstance(folder, str) and not folder.strip():
        raise ModelError("an empty name is no model; name its folder, or None for the one that comes with the package")
    if folder is None:
        try:
            yield released.folder()
        except ModelError as error:  # whose advice is to train or to export it
            fault = str(error).rpartition(";")[0]
            raise ModelError(f"{fault}; it comes with the package: install agecascade again, or name another model") from None
    elif (address := registry_address(folder)) is not None:
        from agecascade.registered import registered_folder

        with registered_folder(address) as place:
            yield place
    elif Path(folder).is_dir():
        yield Path(folder)
    elif Path(folder).exists():
        raise ModelError(f"{folder} is a file; name its folder, {Path(folder).parent}, which holds model.json too")
    elif is_address(str(folder)):
        raise ModelError(f"{folder} is an address, and addresses are not read: download the model's folder first, and name it")
    else:
        raise ModelError(f"{folder} is no folder; a model folder holds model.json beside its weights: train the model first (`dvc repro`)")


def registry_address(folder: Path | str) -> str | None:
    """The address `models:/...` of a model in MLflow's registry, also where a Path was made of it; None for a folder."""
    text = folder.as_posix() if isinstance(folder, Path) else folder
    return text if text.startswith("models:/") else None


def _refuse_other_models(paths: list[Path], folds: list[FoldModel]) -> None:
    """Raise ModelError where the folds are no folds of one model: they differ in more than their fold."""
    first = folds[0].card
    for path, fold in zip(paths, folds, strict=True):
        for key in _SHARED:
            if getattr(fold.card, key) != getattr(first, key):
                raise ModelError(f"{path}/model.json: `{key}` differs from {paths[0].name}'s; folds of one model share it")
