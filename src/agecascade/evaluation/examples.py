"""Faces of test pictures beside their estimates: good and poor ones (DLDL-v2, Fig. 4), the highest and the lowest (Fig. 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from agecascade.errors import ModelError
from agecascade.evaluation.results import Results
from agecascade.imaging import decode_image
from agecascade.io.parquet_rows import read_rows, rows_of
from agecascade.plots.examples import Face, two_groups

GOOD, POOR = 20, 10  # faces of Fig. 4: two rows of ten and of five
RANKED = 8  # at each end of Fig. 5


class Chosen(NamedTuple):
    """Predictions of two groups of pictures, in the order in which they are shown."""

    first: pd.DataFrame
    second: pd.DataFrame


def draw_examples(results: Results) -> None:
    """Write estimates.png and top_and_bottom.png of the best row of the target data set; nothing where no network was tested on it."""
    best = results.main_row()
    if best is None:
        return
    good, poor = good_and_poor(best.predictions, GOOD, POOR)
    top, bottom = highest_and_lowest(best.predictions, RANKED)
    shown = pd.unique(pd.concat([good, poor, top, bottom])["sample_id"])
    faces = aligned_faces(results.data / "aligned" / best.row.dataset, shown.tolist())
    estimates = {"best estimate in each band of labels": _faces(good, faces), "largest errors": _faces(poor, faces, poor_from=0)}
    two_groups(results.plots / "estimates.png", best.label, estimates)
    poor_from = min(results.params.evaluate.levels, default=math.inf)
    ends = {"highest predictions": _faces(top, faces, poor_from), "lowest predictions": _faces(bottom, faces, poor_from)}
    title = f"{best.label}; orange: an error of {poor_from:g} {results.unit(best.row.dataset)} or more"
    two_groups(results.plots / "top_and_bottom.png", title, ends)


def good_and_poor(predictions: pd.DataFrame, good: int, poor: int) -> Chosen:
    """The best estimate in each of `good` equally filled bands of labels, and the `poor` largest errors; each sorted by label.

    Bands, because the smallest errors of all are of the labels that most pictures have. No picture is in both groups, and a small data
    set gives fewer: at most a half of its pictures are good and a quarter are poor. predictions: schema.PREDICTIONS.
    """
    frame = _each_once(predictions).assign(error=lambda rows: (rows["prediction"] - rows["label"]).abs())
    by_error = frame.sort_values(["error", "sample_id"], ascending=[False, True], kind="stable")
    worst = by_error.head(min(poor, len(frame) // 4))
    others = frame.drop(worst.index).sort_values(["label", "sample_id"], kind="stable")
    bands = np.arange(len(others)) * min(good, max(1, len(frame) // 2)) // max(1, len(others))
    best = others.assign(band=bands).sort_values(["band", "error", "sample_id"], kind="stable").groupby("band").head(1)
    return Chosen(best, worst.sort_values(["label", "sample_id"], kind="stable"))


def highest_and_lowest(predictions: pd.DataFrame, count: int) -> Chosen:
    """The `count` highest predictions, highest first, and the `count` lowest, lowest last; fewer where there are not twice as many."""
    ranked = _each_once(predictions).sort_values(["prediction", "sample_id"], ascending=[False, True], kind="stable")
    count = min(count, len(ranked) // 2)
    return Chosen(ranked.head(count), ranked.tail(count))


def aligned_faces(folder: Path, sample_ids: list[str]) -> Mapping[str, np.ndarray]:
    """{sample_id: picture, RGB (H, W, 3) uint8} of aligned pictures; only their row groups are read.

    Raises ModelError where a picture is not among them.
    """
    parts = sorted(folder.glob("part-*.parquet"))
    rows = rows_of(parts, "sample_id", sample_ids)
    if len(rows) and rows.min() < 0:
        missing = sample_ids[int(rows.argmin())]
        raise ModelError(f"{folder} has no aligned face of {missing!r}, which was tested; run `dvc repro align@{folder.name}`")
    pictures = read_rows(parts, rows, ["image"])
    return {name: decode_image(row["image"]) for name, row in zip(sample_ids, pictures, strict=True)}


def _each_once(predictions: pd.DataFrame) -> pd.DataFrame:
    """A picture that several folds tested, once, with the first fold's prediction; rows numbered anew."""
    return predictions.sort_values(["fold", "sample_id"]).drop_duplicates("sample_id").reset_index(drop=True)


def _faces(rows: pd.DataFrame, faces: Mapping[str, np.ndarray], poor_from: float = math.inf) -> list[Face]:
    """The faces of some predictions; those with an error of `poor_from` or more are poor."""
    shown = zip(rows["sample_id"], rows["label"], rows["prediction"], strict=True)
    return [Face(faces[name], label, value, abs(value - label) >= poor_from) for name, label, value in shown]
