"""Stage explain: what the networks of a step look at on their test pictures, each fold's network on its own, as figures and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from agecascade import model_folder
from agecascade.errors import ModelError, ParamsError
from agecascade.estimator import FoldModel, load_fold
from agecascade.explain import comparison_ages, draw_study, grad_cam, score_map
from agecascade.explain.maps import Maps
from agecascade.explain.occlusion import Occlusion, occlude
from agecascade.inference import predict_values
from agecascade.loading import Images
from agecascade.loading.faces import Faces, load_cached_faces
from agecascade.loading.pictures import take
from agecascade.params import Explain, Params

KINDS = ("score_map", "grad_cam", "occlusion", "comparison_ages")
LACKING: dict[str, Callable[[FoldModel], str | None]] = {"score_map": score_map.lacking, "comparison_ages": comparison_ages.lacking}
COARSE = 7  # sides of the maps in the figures are at most this

Array = NDArray[np.float64]


@dataclass
class Explained:
    """N test pictures and what is known of each; label and value (N,) in label units. Kinds that were not asked for are missing."""

    images: NDArray[np.uint8]  # (N, S, S, 3)
    label: Array
    value: Array
    folds: int
    score_maps: Maps | None = None  # (N, h, w)
    score: float | None = None  # the mean of sum_k p_k x_k, and how far it lies above the mean of S
    pooling_lift: float | None = None
    cams: dict[str, Maps] = field(default_factory=dict)  # "after, predicted" -> (N, h, w)
    of_ages: bool = True  # Grad-CAM is of an age's score; else of the predicted value
    occlusion: Occlusion | None = None
    ages: comparison_ages.ComparisonAges | None = None
    skipped: dict[str, str] = field(default_factory=dict)  # kind: why the model has none

    def groups(self, settings: Explain, extremes: bool) -> dict[str, NDArray[np.bool_]]:
        """Masks (N,) of the faces of each band of labels, and of the highest and lowest predictions, without empty ones."""
        masks = {f"{low:g}-{high:g}": (self.label >= low) & (self.label <= high) for low, high in settings.bands}
        count = min(settings.extremes, len(self.value) // 2)
        if extremes and count:
            order = np.argsort(self.value, kind="stable")
            for name, rows in ((f"top {count}", order[::-1][:count]), (f"bottom {count}", order[:count])):
                masks[name] = np.isin(np.arange(len(order)), rows)
        return {name: mask for name, mask in masks.items() if mask.any()}


def explain(params: Params, name: str, data: Path, models: Path, plots: Path) -> dict[str, Any]:
    """Draw `explain.<name>` into the folder `plots` and return its figures; data, models: the folders of all.

    Raises ParamsError naming the key where a layer or kind does not exist for this model, or there is no test picture.
    """
    settings = params.explain[name]
    try:
        explained = explain_pictures(params, settings, data, models)
    except ModelError as error:
        if str(error).partition(":")[0] not in Explain.model_fields:  # of a model folder
            raise
        raise ParamsError(f"explain.{name}.{error}") from None
    draw_study.draw(plots, name, explained, settings)
    return figures(explained, settings)


def explain_pictures(params: Params, settings: Explain, data: Path, models: Path) -> Explained:
    """Everything that `settings` asks for, of test pictures of all folds. Raises ModelError that begins with a key of them."""
    splits = pd.read_parquet(data / "splits" / f"{settings.dataset}.parquet")
    faces = load_cached_faces(data / "aligned" / settings.dataset, params.image_size, params.compute.cache_gib)
    tested = test_pictures(splits, faces, settings.pictures, params.seed)
    if not len(tested):
        raise ModelError(f"dataset: {settings.dataset} has no test pictures; see datasets.{settings.dataset}.test")
    parts = []
    for fold, rows in tested.groupby("fold")["row"]:
        model = _model(params, models, settings.step, int(fold))
        before = _model(params, models, settings.before, int(fold)) if settings.before else None
        own = rows.to_numpy()
        parts.append(_of_fold(settings, model, before, np.asarray(take(faces.images, own)), faces.label[own]))
    return _joined(parts)


def test_pictures(splits: pd.DataFrame, faces: Faces, most: int, seed: int) -> pd.DataFrame:
    """At most so many pictures in the order of the faces: row, fold; of one that several folds test, the first fold.

    splits: sample_id, fold, role.
    """
    tested = splits[splits["role"] == "test"].sort_values("fold", kind="stable").drop_duplicates("sample_id")
    place = pd.Series(np.arange(len(faces)), index=faces.sample_id)
    frame = pd.DataFrame({"row": tested["sample_id"].map(place).to_numpy(), "fold": tested["fold"].to_numpy()})
    frame = frame.dropna().astype(int).sort_values("row", ignore_index=True)
    if len(frame) > most:
        frame = frame.iloc[np.sort(np.random.default_rng(seed).choice(len(frame), most, replace=False))]
    return frame


def _model(params: Params, models: Path, step: str, fold: int) -> FoldModel:
    return load_fold(model_folder.find_model(models / step, params.main_row, fold))


def _of_fold(settings: Explain, model: FoldModel, before: FoldModel | None, images: NDArray[np.uint8], label: Array) -> Explained:
    value = _values(model, images)
    explained = Explained(images, label, value, 1, of_ages=grad_cam.scores_of_ages(model))
    for kind in settings.kinds or KINDS:
        fault = LACKING.get(kind, lambda _: None)(model)
        if fault and settings.kinds is not None:
            allowed = [other for other in KINDS if not LACKING.get(other, lambda _: None)(model)]
            raise ModelError(f"kinds: {kind}: {fault}; this model has {', '.join(allowed)}")
        if fault:
            explained.skipped[kind] = fault
        else:
            _ADD[kind](explained, model, before, settings)
    return explained


def _values(model: FoldModel, images: Images) -> Array:
    card = model.card
    value, _ = predict_values(model.network, model.method, images, card.image_size, card.channels, flip=card.flip)
    return value


def _add_score_maps(explained: Explained, model: FoldModel, before: FoldModel | None, settings: Explain) -> None:
    explained.score_maps = score_map.score_maps(model, explained.images)
    explained.score, explained.pooling_lift = score_map.pooling_lift(model, explained.images)


def _add_cams(explained: Explained, model: FoldModel, before: FoldModel | None, settings: Explain) -> None:
    for when, network in (("before", before), ("after", model)):
        if network is None:
            continue
        asked = {"predicted": None, "true": explained.label} if grad_cam.scores_of_ages(network) else {"value": None}
        for target, ages in asked.items():
            explained.cams[f"{when}, {target}"] = grad_cam.grad_cam(network, explained.images, settings.layer, ages)


def _add_occlusion(explained: Explained, model: FoldModel, before: FoldModel | None, settings: Explain) -> None:
    explained.occlusion = occlude(model, explained.images)


def _add_ages(explained: Explained, model: FoldModel, before: FoldModel | None, settings: Explain) -> None:
    explained.ages = comparison_ages.comparison_ages(model, explained.images)


_ADD: dict[str, Callable[[Explained, FoldModel, FoldModel | None, Explain], None]] = {
    "score_map": _add_score_maps,
    "grad_cam": _add_cams,
    "occlusion": _add_occlusion,
    "comparison_ages": _add_ages,
}


def _joined(parts: Sequence[Explained]) -> Explained:
    """All folds' pictures, one after the other."""
    first = parts[0]

    def joined(of: Callable[[Explained], Any]) -> Any:
        return None if of(first) is None else np.concatenate([of(part) for part in parts])

    weights = [len(part.label) for part in parts]
    whole = Explained(joined(lambda part: part.images), joined(lambda part: part.label), joined(lambda part: part.value), len(parts))
    whole.score_maps = joined(lambda part: part.score_maps)
    if first.score is not None:
        whole.score = float(np.average([part.score for part in parts], weights=weights))  # type: ignore[arg-type]  # all have it
        whole.pooling_lift = float(np.average([part.pooling_lift for part in parts], weights=weights))  # type: ignore[arg-type]
    whole.cams = {name: joined(lambda part, name=name: part.cams[name]) for name in first.cams}
    if first.occlusion:
        whole.occlusion = Occlusion(joined(lambda part: part.occlusion.value), joined(lambda part: part.occlusion.hidden))
    if first.ages:
        whole.ages = comparison_ages.ComparisonAges(first.ages.ages, joined(lambda part: part.ages.estimates))
    whole.of_ages, whole.skipped = first.of_ages, first.skipped
    return whole


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


def loss_of(occlusion: Occlusion, label: Array, mask: NDArray[np.bool_]) -> Array | None:
    """The relative losses (56,) of the faces of a mask (N,); None where their MAE is 0."""
    return Occlusion(occlusion.value[mask], occlusion.hidden[mask]).relative_loss(label[mask])


def _losses(occlusion: Occlusion, label: Array, mask: NDArray[np.bool_]) -> dict[str, Any]:
    loss = loss_of(occlusion, label, mask)
    mae = float(np.abs(occlusion.value[mask] - label[mask]).mean())
    if loss is None:
        return {"mae": mae, "squares": None, "stripes": None}
    squares = loss[: COARSE**2].reshape(COARSE, COARSE)
    return {"mae": mae, "squares": squares.tolist(), "stripes": loss[COARSE**2 :].tolist()}


def _ages(ages: comparison_ages.ComparisonAges, label: Array, bands: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    deltas = {name: ages.deltas[mask].mean(0).tolist() for name, mask in bands.items()}
    return {"ages": ages.ages.tolist(), "mae": ages.errors(label).tolist(), "deviation": ages.tells().tolist(), "deltas": deltas}


def _coarse(mean: NDArray[Any]) -> list[list[float]]:
    """A map (h, w) as rows of at most 7 x 7 numbers, each the mean of what it stands for."""
    sides = [min(side, COARSE) for side in mean.shape]
    reduced = functional.adaptive_avg_pool2d(torch.from_numpy(np.asarray(mean, np.float64))[None], sides)[0]
    rows: list[list[float]] = reduced.tolist()
    return rows
