"""What was explained of the test pictures of all folds, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from agecascade.explain.comparison_ages import ComparisonAges
from agecascade.explain.maps import Maps
from agecascade.explain.occlusion import Occlusion
from agecascade.params import Explain

COARSE = 7  # sides of the maps in the figures are at most this

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass
class Explained:
    """N test pictures and what is known of each; label and value (N,) in label units. Kinds that were not asked for are missing."""

    images: NDArray[np.uint8]  # (N, S, S, 3)
    label: Array
    value: Array
    folds: int
    score_maps: Maps | None = None  # (N, h, w)
    scores: Maps | None = None  # (N,): sum_k p_k x_k, and how far it lies above the mean of S
    lifts: Maps | None = None
    score: float | None = None  # their means, once all folds are there
    pooling_lift: float | None = None
    cams: dict[str, Maps] = field(default_factory=dict)  # "after, predicted" -> (N, h, w)
    of_ages: bool = True  # Grad-CAM is of an age's score; else of the predicted value
    occlusion: Occlusion | None = None
    ages: ComparisonAges | None = None
    skipped: dict[str, str] = field(default_factory=dict)  # kind: why the model has none

    def groups(self, settings: Explain, extremes: bool) -> dict[str, Mask]:
        """Masks (N,) of the faces of each band of labels, and of the highest and lowest predictions, without empty ones."""
        masks = {f"{low:g}-{high:g}": (self.label >= low) & (self.label <= high) for low, high in settings.bands}
        count = min(settings.extremes, len(self.value) // 2)
        if extremes and count:
            order = np.argsort(self.value, kind="stable")
            for name, rows in ((f"top {count}", order[::-1][:count]), (f"bottom {count}", order[:count])):
                masks[name] = np.isin(np.arange(len(order)), rows)
        return {name: mask for name, mask in masks.items() if mask.any()}


def joined(folds: Sequence[Explained]) -> Explained:
    """All folds' pictures, one after the other."""
    whole, weights = concatenated(folds), [len(fold.label) for fold in folds]
    whole.folds = len(folds)
    if folds[0].scores is not None:
        whole.score = float(np.average([_mean(fold.scores) for fold in folds], weights=weights))
        whole.pooling_lift = float(np.average([_mean(fold.lifts) for fold in folds], weights=weights))
    return whole


def concatenated(parts: Sequence[Explained]) -> Explained:
    """The pictures of one fold, which several calls have explained, one after the other."""
    first = parts[0]

    def together(of: Callable[[Explained], Any]) -> Any:
        return None if of(first) is None else np.concatenate([of(part) for part in parts])

    whole = Explained(together(lambda part: part.images), together(lambda part: part.label), together(lambda part: part.value), 1)
    whole.score_maps = together(lambda part: part.score_maps)
    whole.scores, whole.lifts = together(lambda part: part.scores), together(lambda part: part.lifts)
    whole.cams = {name: np.concatenate([part.cams[name] for part in parts]) for name in first.cams}
    occlusions = [part.occlusion for part in parts if part.occlusion is not None]
    if occlusions:
        whole.occlusion = Occlusion(*(np.concatenate(values) for values in zip(*occlusions, strict=True)))
    ages = [part.ages for part in parts if part.ages is not None]
    if ages:
        whole.ages = ComparisonAges(ages[0].ages, np.concatenate([each.estimates for each in ages]))
    whole.of_ages, whole.skipped = first.of_ages, first.skipped
    return whole


def _mean(values: Maps | None) -> float:
    return float(torch.from_numpy(values).mean())


def figures(explained: Explained, settings: Explain) -> dict[str, Any]:
    """The figures of metrics/explain/<name>.json: maps at 7 x 7 places or fewer, means over each group of faces; label units."""
    everyone = {"all": np.ones(len(explained.label), bool)}
    bands = everyone | explained.groups(settings, extremes=False)
    groups = everyone | explained.groups(settings, extremes=True)
    content: dict[str, Any] = {
        "step": settings.step,
        "dataset": settings.dataset,
        "faces": {name: int(mask.sum()) for name, mask in groups.items()},
        "folds": explained.folds,
        "mae": float(np.abs(explained.value - explained.label).mean()),
        "not_of_this_model": explained.skipped,
    }
    if explained.score_maps is not None:
        means = {name: _coarse(explained.score_maps[mask].mean(0)) for name, mask in groups.items()}
        content["score_map"] = {"score": explained.score, "pooling_lift": explained.pooling_lift, "means": means}
    if explained.cams:
        cams = {name: _coarse(np.mean([scaled(cam) for cam in maps], axis=0)) for name, maps in explained.cams.items()}
        content["grad_cam"] = {"layer": settings.layer, "means": cams}
    if explained.occlusion is not None:
        content["occlusion"] = {name: _losses(explained.occlusion, explained.label, mask) for name, mask in bands.items()}
    if explained.ages is not None:
        content["comparison_ages"] = _ages(explained.ages, explained.label, bands)
    return content


def scaled(cam: NDArray[Any]) -> NDArray[Any]:
    """A Grad-CAM (h, w) whose largest value is one; zeros stay: nothing speaks for the age."""
    highest = cam.max()
    return cam / highest if highest > 0 else cam


def loss_of(occlusion: Occlusion, label: Array, mask: Mask) -> Array | None:
    """The relative losses (56,) of the faces of a mask (N,); None where their MAE is 0."""
    return Occlusion(occlusion.value[mask], occlusion.hidden[mask]).relative_loss(label[mask])


def _losses(occlusion: Occlusion, label: Array, mask: Mask) -> dict[str, Any]:
    loss = loss_of(occlusion, label, mask)
    mae = float(np.abs(occlusion.value[mask] - label[mask]).mean())
    if loss is None:
        return {"mae": mae, "squares": None, "stripes": None}
    squares = loss[: COARSE**2].reshape(COARSE, COARSE)
    return {"mae": mae, "squares": squares.tolist(), "stripes": loss[COARSE**2 :].tolist()}


def _ages(ages: ComparisonAges, label: Array, bands: dict[str, Mask]) -> dict[str, Any]:
    deltas = {name: ages.deltas[mask].mean(0).tolist() for name, mask in bands.items()}
    return {"ages": ages.ages.tolist(), "mae": ages.errors(label).tolist(), "deviation": ages.tells().tolist(), "deltas": deltas}


def _coarse(mean: NDArray[Any]) -> list[list[float]]:
    """A map (h, w) as rows of at most 7 x 7 numbers, each the mean of what it stands for."""
    sides = (min(mean.shape[0], COARSE), min(mean.shape[1], COARSE))
    reduced = functional.adaptive_avg_pool2d(torch.from_numpy(np.asarray(mean, np.float64))[None], sides)[0]
    rows: list[list[float]] = reduced.tolist()
    return rows
