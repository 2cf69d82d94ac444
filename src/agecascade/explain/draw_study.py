"""The pictures of stage explain: score maps by age, Grad-CAM before and after a step, occlusion over the mean face, comparison ages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecascade.explain.explained import Explained, Mask, loss_of
from agecascade.explain.maps import enlarged
from agecascade.params import Explain
from agecascade.plots.explanations import Panel, comparison_figure, occlusion_figure, sheet


def draw(folder: Path, name: str, explained: Explained, settings: Explain) -> None:
    """Write the pictures of what was explained into a folder."""
    if explained.score_maps is not None:
        _score_maps(folder / "score_map.png", name, explained, settings)
    if explained.cams:
        _grad_cam(folder / "grad_cam.png", name, explained, settings)
    if explained.occlusion is not None:
        _occlusion(folder / "occlusion.png", name, explained, settings)
    if explained.ages is not None:
        everyone = {"all": np.ones(len(explained.label), bool)}
        bands = {**everyone, **explained.groups(settings, extremes=False)}
        deltas = {named(band, mask): explained.ages.deltas[mask].mean(0) for band, mask in bands.items()}
        mae = float(np.abs(explained.value - explained.label).mean())
        comparison_figure(folder / "comparison_ages.png", explained.ages.ages, deltas, explained.ages.errors(explained.label), mae)


def mean_face(explained: Explained, mask: Mask) -> NDArray[np.uint8]:
    """The mean picture (S, S, 3) of the faces of a mask (N,)."""
    return np.rint(explained.images[mask].mean(0)).astype(np.uint8)


def named(group: str, mask: Mask) -> str:
    """A group's name with how many faces it has."""
    count = int(mask.sum())
    return group if group.startswith(("top", "bottom")) else f"{group} ({count} face{'s' * (count != 1)})"


def spread(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The places of `count` of the values (N,), evenly from the lowest to the highest."""
    order = np.argsort(values, kind="stable")
    return order[np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))]


def _score_maps(path: Path, name: str, explained: Explained, settings: Explain) -> None:
    assert explained.score_maps is not None
    size = explained.images.shape[1]
    groups = explained.groups(settings, extremes=True) or {"all": np.ones(len(explained.label), bool)}
    rows = []
    for group, mask in groups.items():
        places = np.flatnonzero(mask)
        shown = places[spread(explained.value[places], settings.shown)]
        singles = enlarged(explained.score_maps[shown], size)
        mean = enlarged(explained.score_maps[mask].mean(0, keepdims=True), size)[0]
        face = mean_face(explained, mask)
        panels = [Panel(face, "mean face"), Panel(face, "mean score map", mean)]
        panels += [Panel(explained.images[i], _said(explained, i), single) for i, single in zip(shown, singles, strict=True)]
        rows.append((named(group, mask).replace(" (", "\n("), panels))
    sheet(
        path,
        f"{name}: score maps by label, and of the highest and lowest predictions; red: the largest of each picture, blue: the smallest",
        rows,
    )


def _grad_cam(path: Path, name: str, explained: Explained, settings: Explain) -> None:
    size = explained.images.shape[1]
    shown = spread(explained.label, settings.shown)
    maps = {kind: enlarged(cams[shown], size) for kind, cams in explained.cams.items()}
    if settings.before is None:  # there is nothing to be after
        maps = {kind.removeprefix("after, "): cams for kind, cams in maps.items()}
    rows = []
    for place, i in enumerate(shown):
        panels = [Panel(explained.images[i], f"label {_said(explained, i)}")]
        panels += [Panel(explained.images[i], kind if place == 0 else "", cams[place]) for kind, cams in maps.items()]
        rows.append(("", panels))
    steps = f"before: {settings.before}, after: {settings.step}" if settings.before else f"step {settings.step}"
    what = "predicted and true label" if explained.of_ages else "predicted value"
    sheet(path, f"{name}: Grad-CAM, {what}; layer {settings.layer}; {steps}", rows)


def _occlusion(path: Path, name: str, explained: Explained, settings: Explain) -> None:
    assert explained.occlusion is not None
    columns = {}
    groups = {"all": np.ones(len(explained.label), bool), **explained.groups(settings, extremes=False)}
    for group, mask in groups.items():
        loss = loss_of(explained.occlusion, explained.label, mask)
        if loss is not None:
            columns[named(group, mask)] = (mean_face(explained, mask), loss)
    if columns:
        occlusion_figure(path, f"{name}: change of the MAE in percent where a part is hidden", columns)


def _said(explained: Explained, row: int) -> str:
    return f"{round(float(explained.label[row]), 1):g}, predicted {explained.value[row]:.1f}"
