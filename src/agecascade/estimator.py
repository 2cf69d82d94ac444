"""Estimator: predicts one row per face from pictures, which it aligns as the align stage does."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade.age_thresholds import AgeCheck
from agecascade.errors import FaceError, ModelError, unknown_name
from agecascade.faces.face import Image
from agecascade.faces.photos import BATCH_ROWS, SHOWN_ROWS, FaceSearch, changed, checked_limits, in_photos, whole_number
from agecascade.faces.rows import COLUMNS, OF_THRESHOLD, Columns, FaceRow, table
from agecascade.io.threads import AHEAD, compute_alone, in_order, threads_restored
from agecascade.model_card import ModelCard, note_on_drawn
from agecascade.params import Detection
from agecascade.params.data import MAX_MEGAPIXELS
from agecascade.runtimes import FoldModel, averaged, load_fold
from agecascade.runtimes.base import crops_at_once
from agecascade.runtimes.loading import loaded, registry_address

__all__ = ["COLUMNS", "OF_THRESHOLD", "Columns", "Estimator", "FaceRow", "FoldModel", "load_fold"]
Values = tuple[np.ndarray, list[list[float] | None]]  # value, low, high and, with a threshold, probability (3 or 4, N); distributions


class Estimator(FaceSearch):
    """One model, or all folds of one: the mean of their predictions; of their distributions where it decodes a mode or median.

    `predict` may run in several threads at once: each has a detector of its own.
    """

    def __init__(
        self,
        folds: list[FoldModel] | Future[list[FoldModel]],
        detector: str | None = "yunet",
        detection: Detection | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        batch_size: int = BATCH_ROWS,
        note: str | None = None,
        cards: list[ModelCard] | None = None,
    ) -> None:
        """detector, detection: for photos; None where no detector can repeat the crops of training.

        folds: or those that are being loaded, with their `cards`, by which faces are found meanwhile. max_megapixels: a larger picture
        is a row with an error, and is not decoded. batch_size: faces that the networks see at once, at most, and rows that are held at
        once. Raises FaceError where one of them is no such number.
        """
        self._folds, self._cards = folds, cards
        super().__init__(self.folds[0].frame if cards is None else cards[0].crop.frame, detector, detection, max_megapixels, batch_size)
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
        beside: bool = False,
    ) -> Estimator:
        """Read a folder with a model.json, or its parent: then all of its fold<k> are averaged; or the one model below it.

        folder: of a trained model or of an exported one; or an address of MLflow's registry, `models:/<name>@champion` or
        `models:/<name>/<version>`; None: the model that comes with the package. device: torch's name, the default is CUDA where there
        is one; exported files run on a processor by default. max_side, min_score: of the detection in photos, where they shall differ
        from training's. Raises ModelError where a file is missing or does not fit, NotInstalledError where the library is that runs
        it, and FaceError where one of these is no setting of a detector.
        beside: networks are loaded in a thread of their own while the first faces are looked for; what is wrong with them is raised
        where they are first needed (`folds`).
        """
        cards, folds = loaded(folder, device, beside)
        crop = cards[0].crop
        detector = crop.detector if crop.repeatable else None
        detection = in_photos(crop.detection, crop.trained_with, max_side, min_score)
        estimator = cls(folds, detector, detection, note=note_on_drawn(cards), cards=cards)
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
        other = Estimator(self._folds, self.detector, self.detection, self.max_megapixels, self.batch_size, self.note, self._cards)
        other._source = self._source
        return other

    @property
    def folds(self) -> list[FoldModel]:
        """The networks. Where they are loaded in a thread of their own, this waits for them, and raises as `load`."""
        if isinstance(self._folds, Future):
            self._folds = self._folds.result()
        return self._folds

    @property
    def cards(self) -> list[ModelCard]:
        """The description of each fold, which is there before its network is."""
        return [fold.card for fold in self.folds] if self._cards is None else self._cards

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
        right and left mouth corner, in pixels. workers: threads that read pictures and find faces, and as many in which
        networks compute meanwhile; the rows are the same with any number.
        Raises FaceError where the detector cannot run, a folder holds no picture, or `images` is neither a picture nor several, and
        ModelError where the model knows only crops that no detector can repeat, or cannot tell the threshold or a distribution.
        """
        columns = self.columns(threshold, challenge, distribution=distribution, landmarks=landmarks, frame=getattr(images, "framed", False))
        frames = [frame for _, frame in self.valued_batches(images, columns, aligned, workers=workers)]
        return pd.concat(frames, ignore_index=True) if frames else self.valued([], columns)

    def predict_batches(self, images: Any, aligned: bool = False, *, workers: int = 1, **options: Any) -> Iterator[pd.DataFrame]:
        """As `predict`, with its options, in frames of some `batch_size` rows, so that memory does not grow with the number of pictures."""
        columns = self.columns(**{"frame": getattr(images, "framed", False), **options})
        return (frame for _, frame in self.valued_batches(images, columns, aligned, workers=workers))

    def valued_batches(
        self, images: Any, columns: Columns, aligned: bool = False, *, workers: int = 1, shown: int | None = None
    ) -> Generator[tuple[list[FaceRow], pd.DataFrame], None, None]:
        """As `face_batches`, each with its columns of `predict`: faces are looked for in some threads while networks compute in others."""
        rows: list[FaceRow] = []
        values: list[Values] = []
        size = self.batch_size if shown is None else min(self.batch_size, SHOWN_ROWS)
        with closing(self._pieces(images, columns, aligned, workers, shown, size)) as pieces:
            for found, said in pieces:
                rows, values = rows + found, [*values, said]
                if len(rows) >= size:
                    yield rows, self._table(rows, values, columns)
                    rows, values = [], []
        if rows:
            yield rows, self._table(rows, values, columns)

    def _pieces(
        self, images: Any, columns: Columns, aligned: bool, workers: int, shown: int | None, size: int
    ) -> Generator[tuple[list[FaceRow], Values], None, None]:
        """Some rows after the other with their values, as many as a network takes best at once."""

        def valued(rows: list[FaceRow]) -> tuple[list[FaceRow], Values]:
            if workers > 1 and self.folds:  # they are loaded by then, and torch with them
                compute_alone()
            return rows, self._values(rows, columns)

        groups = self._groups(images, aligned, workers, shown, lambda: min(size, self._at_once))
        ahead = max(AHEAD, size // (whole_number("workers", workers) * self._at_once))
        with threads_restored(), closing(groups), closing(in_order(valued, groups, workers, ahead, ahead)) as pieces:
            yield from pieces

    @property
    def _at_once(self) -> int:
        """The number of crops that the networks take best, known before they are loaded; they may be on a GPU, and then take more."""
        loading = isinstance(self._folds, Future) and not self._folds.done()
        return crops_at_once(self.cards[0]) if loading else self.folds[0].at_once

    def ages(self, images: Any, aligned: bool = False, *, workers: int = 1) -> NDArray[np.float64]:
        """The value of the largest face of each picture (N,), NaN without one: what scikit-learn's functions take as y_pred.

        images, aligned and workers are those of `predict`, which raises as this does.
        """
        found: list[float] = []
        for rows, frame in self.valued_batches(images, Columns(), aligned, workers=workers):
            found += [value for value, row in zip(frame["value"], rows, strict=True) if not row.face]  # the largest, or none
        return np.array(found)

    @property
    def grid(self) -> list[float]:
        """The labels that a distribution gives probabilities of, ascending."""
        return self.cards[0].grid

    @property
    def coverage(self) -> float | None:
        """The share of faces that low to high hold; None where the model has no interval."""
        intervals = [card.interval for card in self.cards]
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
        check.require(self.grid, all(card.interval is not None for card in self.cards))
        return check

    def valued(self, rows: list[FaceRow], columns: Columns = Columns()) -> pd.DataFrame:  # noqa: B008  # immutable
        """The columns of `predict` of cropped faces and of pictures without one."""
        return self._table(rows, [self._values(rows, columns)], columns)

    def _table(self, rows: list[FaceRow], values: list[Values], columns: Columns) -> pd.DataFrame:
        numbers = np.concatenate([numbers for numbers, _ in values], axis=1)
        return table(rows, numbers, columns, [distribution for _, several in values for distribution in several], self.note)

    def _values(self, rows: list[FaceRow], columns: Columns) -> Values:
        """What the networks say of the rows that have a crop; NaN and None of the others."""
        found = [place for place, row in enumerate(rows) if row.crop is not None]
        values = np.full((3 + (columns.check is not None), len(rows)), np.nan)  # value, low, high, probability
        distributions: list[list[float] | None] = [None] * len(rows)
        for start in range(0, len(found), self.batch_size):
            places = found[start : start + self.batch_size]
            crops = np.stack([rows[place].crop for place in places])  # type: ignore[misc]  # all have one
            values[:, places], distribution = self._predicted(crops, columns)
            for place, probabilities in zip(places, distribution.tolist(), strict=False):
                distributions[place] = probabilities
        return values, distributions

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
