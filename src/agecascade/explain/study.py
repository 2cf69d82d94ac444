"""Stage explain: what the networks of a step look at on their test pictures, each fold's network on its own, as figures and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from agecascade import model_folder
from agecascade.errors import ModelError, ParamsError
from agecascade.explain import KINDS, comparison_ages, draw_study, grad_cam, lacking, maps, require_kinds, score_map
from agecascade.explain.explained import Array, Explained, concatenated, figures, joined
from agecascade.explain.occlusion import occlude
from agecascade.inference import predict_values
from agecascade.io.compute import keep_freed_memory, ordered
from agecascade.loading import Images
from agecascade.loading.faces import Faces
from agecascade.loading.pictures import take
from agecascade.loading.shared import SharedFaces
from agecascade.model_folder import SharedModel
from agecascade.params import Explain, Params
from agecascade.runtimes import torch_runtime
from agecascade.runtimes.torch_runtime import BATCH_ROWS, TorchModel
from agecascade.schema import are_ages


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
    """Everything that `settings` asks for, of test pictures of all folds, by the workers of `compute` where that is a cluster.

    Raises ModelError that begins with a key of the settings, and ComputeError where workers are lost or see other files.
    """
    splits = pd.read_parquet(data / "splits" / f"{settings.dataset}.parquet")
    shared = SharedFaces.of(data / "aligned" / settings.dataset, params.image_size, params.compute.cache_gib)
    tested = pictures_tested(splits, shared.load(), settings.pictures, params.seed)
    if not len(tested):
        raise ModelError(f"dataset: {settings.dataset} has no test pictures; see datasets.{settings.dataset}.test")

    def model(step: str, fold: int) -> SharedModel:
        return SharedModel.of(model_folder.find_model(models / step, params.main_row, fold))

    part, before = _part(params.image_size), settings.before
    items = [
        _TestedPart(int(fold), model(settings.step, int(fold)), model(before, int(fold)) if before else None, rows[start : start + part])
        for fold, rows in ((fold, rows.to_numpy()) for fold, rows in tested.groupby("fold")["row"])
        for start in range(0, len(rows), part)
    ]
    results = ordered(partial(_explained, settings, shared), items, params.compute, threads=params.compute.threads, alone=True)
    folds: dict[int, list[Explained]] = {}
    for item, result in zip(items, results, strict=True):
        folds.setdefault(item.fold, []).append(result)
    return joined([concatenated(parts) for parts in folds.values()])


def _part(size: int) -> int:
    """Pictures of one call: whole batches of maps and of predictions, so that they are the same wherever they are computed."""
    return math.lcm(maps.pictures_at_once(size, torch.cuda.is_available()), BATCH_ROWS)


@dataclass(frozen=True, eq=False)
class _TestedPart:
    """The networks of a fold, after and before the step, and the rows (n,) of some of its pictures among the faces."""

    fold: int
    model: SharedModel
    before: SharedModel | None
    rows: NDArray[np.int64]


def _explained(settings: Explain, shared: SharedFaces, part: _TestedPart) -> Explained:
    """What is asked for of a part, here or on a worker."""
    keep_freed_memory()
    faces, rows = shared.load(), part.rows
    model = torch_runtime.load(part.model.found())
    before = torch_runtime.load(part.before.found()) if part.before else None
    return _of_pictures(settings, model, before, np.asarray(take(faces.images, rows)), faces.label[rows])


def pictures_tested(splits: pd.DataFrame, faces: Faces, most: int, seed: int) -> pd.DataFrame:
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


def _of_pictures(settings: Explain, model: TorchModel, before: TorchModel | None, images: NDArray[np.uint8], label: Array) -> Explained:
    value = _values(model, images)
    explained = Explained(images, label, value, 1, of_ages=grad_cam.scores_of_ages(model))
    require_kinds(model, settings.kinds)
    for kind in settings.kinds or KINDS:
        if fault := lacking(model, kind):
            explained.skipped[kind] = fault
        else:
            _ADD[kind](explained, model, before, settings)
    return explained


def _values(model: TorchModel, images: Images) -> Array:
    card = model.card
    value, _ = predict_values(model.network, model.method, images, card.image_size, card.channels, card.flip, BATCH_ROWS)
    return value


def _add_score_maps(explained: Explained, model: TorchModel, before: TorchModel | None, settings: Explain) -> None:
    explained.score_maps = score_map.score_maps(model, explained.images)
    explained.scores, explained.lifts = score_map.pooling_lift(model, explained.images)


def _add_cams(explained: Explained, model: TorchModel, before: TorchModel | None, settings: Explain) -> None:
    for when, network in (("before", before), ("after", model)):
        if network is None:
            continue
        asked = {"predicted": None, "true": explained.label} if grad_cam.scores_of_ages(network) else {"value": None}
        if not of_one_kind(network, model):
            asked.pop("true", None)
        for target, ages in asked.items():
            explained.cams[f"{when}, {target}"] = grad_cam.grad_cam(network, explained.images, settings.layer, ages)


def of_one_kind(before: TorchModel, model: TorchModel) -> bool:
    """Whether both steps learned ages, or both scores: a network of ages has no score of an attractiveness of 7.5."""
    return are_ages(before.card.grid) == are_ages(model.card.grid)


def _add_occlusion(explained: Explained, model: TorchModel, before: TorchModel | None, settings: Explain) -> None:
    explained.occlusion = occlude(model, explained.images)


def _add_ages(explained: Explained, model: TorchModel, before: TorchModel | None, settings: Explain) -> None:
    explained.ages = comparison_ages.comparison_ages(model, explained.images)


_ADD: dict[str, Callable[[Explained, TorchModel, TorchModel | None, Explain], None]] = {
    "score_map": _add_score_maps,
    "grad_cam": _add_cams,
    "occlusion": _add_occlusion,
    "comparison_ages": _add_ages,
}
