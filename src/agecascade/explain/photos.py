"""Command explain: for each face of a person's photos a picture of what the model looked at, and one table of all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade.errors import ModelError, unknown_name
from agecascade.estimator import Estimator, FaceRow
from agecascade.explain import KINDS, comparison_ages, grad_cam, lacking, score_map
from agecascade.explain.maps import enlarged
from agecascade.explain.occlusion import PARTS, SQUARES, occlude, windows
from agecascade.inference import predict_values
from agecascade.plots.explanations import Bars, Panel, face_figure
from agecascade.runtimes.torch_runtime import TorchModel

TABLE = "faces.csv"
COLUMNS = ["picture", "score_map_at", "grad_cam_at", "occlusion_at", "occlusion_change"]  # behind those of `predict`
QUICK = ("score_map", "grad_cam")
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 60  # characters of a photo's name


class Explainer:
    """An estimator whose faces are explained: the mean over its folds where it has several."""

    def __init__(self, estimator: Estimator, kinds: Sequence[str] = (), layer: str | None = None) -> None:
        """kinds: of KINDS; empty for all that the model has. layer: of Grad-CAM, by default the last.

        Raises ModelError naming what there is where one, or the layer, is not, and where a layer is given without Grad-CAM.
        """
        self.estimator, self.layer = estimator, layer or grad_cam.LAST
        first = _trained(estimator)[0]
        allowed = [kind for kind in KINDS if lacking(first, kind) is None]
        for kind in kinds:
            if kind not in KINDS:
                raise ModelError(unknown_name("kind", kind, KINDS))
            if fault := lacking(first, kind):
                raise ModelError(f"{kind}: {fault}; this model has {', '.join(allowed)}")
        self.kinds = list(dict.fromkeys(kinds)) or allowed
        if "grad_cam" in self.kinds:
            grad_cam.require_maps(first, self.layer)
        elif layer is not None:
            raise ModelError(
                f"layer: {layer} is of grad_cam alone, and asked for is {', '.join(self.kinds)}; add grad_cam, or give no layer"
            )

    @classmethod
    def quickest(cls, estimator: Estimator) -> Explainer:
        """With one map, which takes one pass: the score map where the model has it, else Grad-CAM. Raises ModelError without either."""
        folds = _trained(estimator)
        allowed = [kind for kind in QUICK if lacking(folds[0], kind) is None]
        if not allowed:
            raise ModelError(f"--explain: {lacking(folds[0], QUICK[-1])}; `agecascade explain` draws the kinds that this model has")
        return cls(estimator, allowed[:1])

    def batches(self, images: Any, folder: Path, aligned: bool = False, *, frame: bool = False, workers: int = 1) -> Iterator[pd.DataFrame]:
        """Draw each face into a folder; yields the rows of `Estimator.predict` with COLUMNS, in frames of some 256.

        picture: the drawn file. *_at: row and column, 1 to 7, of the square where a map is highest, or whose hiding moves the prediction
        most, by occlusion_change (label units). frame: whether there are frames of videos. workers: as of `Estimator.predict`, which
        raises as this does, and ModelError where the layer has no maps.
        """
        number, columns = 0, self.estimator.columns(frame=frame)
        for rows in self.estimator.face_batches(images, aligned, workers=workers):
            table = self.estimator.valued(rows, columns)
            names: list[str | None] = [None] * len(rows)
            for place, row in enumerate(rows):
                if row.crop is not None:
                    number += 1
                    names[place] = f"{number:04d}_{_safe(row.path)}_face{row.face}.png"
            said = self.draw(rows, table, [None if name is None else folder / name for name in names])
            yield _typed(pd.concat([table, said.assign(picture=names)[COLUMNS]], axis=1))

    def draw(self, rows: Sequence[FaceRow], table: pd.DataFrame, files: Sequence[Path | None]) -> pd.DataFrame:
        """Draw each face of rows, of which `table` has the values, into its file; returns COLUMNS behind the first, one row for each."""
        extra = pd.DataFrame(index=table.index, columns=COLUMNS[1:], dtype=object)
        places = [place for place, row in enumerate(rows) if row.crop is not None]
        if places:
            maps = self._maps(np.stack([rows[place].crop for place in places]))  # type: ignore[misc]  # all have one
            for i, place in enumerate(places):
                file = files[place]
                assert file is not None
                extra.loc[table.index[place]] = self._draw(file, rows[place], table.iloc[place], maps, i)
        return extra

    def _maps(self, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Of each kind the mean over the folds, (N, S, S), (N, 49) or (N, K), and "distribution" (N, K) where there is one."""
        of_folds = [self._of_fold(fold, crops) for fold in _trained(self.estimator)]
        return {kind: np.mean([maps[kind] for maps in of_folds], axis=0) for kind in of_folds[0]}

    def _of_fold(self, fold: TorchModel, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        card, size = fold.card, crops.shape[1]
        maps: dict[str, NDArray[Any]] = {}
        if "score_map" in self.kinds:
            maps["score_map"] = enlarged(score_map.score_maps(fold, crops), size)
        if "grad_cam" in self.kinds:
            maps["grad_cam"] = enlarged(grad_cam.grad_cam(fold, crops, self.layer), size)
        if "occlusion" in self.kinds:
            maps["occlusion"] = occlude(fold, crops).change[:, :SQUARES]
        if "comparison_ages" in self.kinds:
            maps["comparison_ages"] = comparison_ages.comparison_ages(fold, crops).deltas
        _, distribution = predict_values(fold.network, fold.method, crops, card.image_size, card.channels, flip=card.flip)
        return maps if distribution is None else {**maps, "distribution": distribution}

    def _draw(self, path: Path, row: FaceRow, said: pd.Series, maps: dict[str, NDArray[Any]], i: int) -> list[Any]:
        """Draw one face; returns its values of COLUMNS behind the first."""
        face, at = row.crop, dict.fromkeys(COLUMNS[1:])
        assert face is not None
        panels = [Panel(face, "face")]
        for kind, title in (("score_map", "score map"), ("grad_cam", f"Grad-CAM, {self.layer}")):
            if kind in maps:
                panels.append(Panel(face, title, maps[kind][i]))
                at[f"{kind}_at"] = _place(maps[kind][i])
        if "occlusion" in maps:
            change = maps["occlusion"][i]
            largest = int(np.abs(change).argmax())
            panels.append(
                Panel(face, f"hidden: up to {change[largest]:+z.1f}", _squares(change, face.shape[0]), signed=True, blurred=False)
            )
            at |= {"occlusion_at": f"{largest // PARTS + 1} {largest % PARTS + 1}", "occlusion_change": float(change[largest])}
        interval = "" if np.isnan(said["low"]) else f", {said['low']:.1f} to {said['high']:.1f}"
        title = f"{_shown(row.path)}, face {row.face}: {said['value']:.1f}{interval}"
        face_figure(path, title, panels, self._bars(maps, i, float(said["value"])))
        return list(at.values())

    def _bars(self, maps: dict[str, NDArray[Any]], i: int, value: float) -> list[Bars]:
        bars = []
        if "distribution" in maps:
            bars.append(Bars(np.array(self.estimator.folds[0].card.grid), maps["distribution"][i], value))
        if "comparison_ages" in maps:
            deltas = maps["comparison_ages"][i]
            head: Any = _trained(self.estimator)[0].network.head
            ages = head.ages[:: head.sampling].cpu().numpy()
            bars.append(Bars(ages, deltas, value, "comparison age", "looks older by"))
        return bars


def _trained(estimator: Estimator) -> list[TorchModel]:
    """The folds, whose layers are looked into; raises ModelError where they are exported graphs."""
    folds = [fold for fold in estimator.folds if isinstance(fold, TorchModel)]
    if len(folds) < len(estimator.folds):
        raise ModelError("an exported model has no layers to look into; give the folder of the trained model (models/<step>/<row>)")
    return folds


def _squares(change: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Numbers of the 49 squares (49,) as a map (size, size)."""
    squares = np.zeros((size, size))
    for window, value in zip(windows(size), change, strict=False):
        squares[window.top : window.bottom, window.left : window.right] = value
    return squares


def _place(values: NDArray[Any]) -> str | None:
    """Row and column, 1 to 7, of the highest place of a map (S, S); None where all places are alike."""
    if np.ptp(values) == 0:
        return None
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return f"{row * PARTS // values.shape[0] + 1} {column * PARTS // values.shape[1] + 1}"


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Text and numbers in place of objects, so that all frames are alike."""
    texts = {name: frame[name].astype("string") for name in COLUMNS[:-1]}
    return frame.assign(occlusion_change=frame["occlusion_change"].astype("float64"), **texts)


def _safe(path: str) -> str:
    """A photo's name as part of a file name that every system takes."""
    return _SAFE.sub("_", PurePath(path).stem)[:_LONGEST] or "photo"


def _shown(path: str) -> str:
    """A photo's name in letters that the font of the pictures has."""
    return re.sub(r"[^ -~]", "?", PurePath(path).name)[:_LONGEST]
