"""Annotated pictures of predicted rows, and maps of what the model looked at, into one folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pandas as pd

from agecascade.age_thresholds import CHALLENGE
from agecascade.plots.annotated import Marked, annotated

if TYPE_CHECKING:
    from agecascade.estimator import FaceRow
    from agecascade.explain.photos import Explainer

SHOWN = 2048  # pixels of the longer side to which pictures are reduced
QUALITY = 92  # of JPEG
YEARS_FROM = 20  # span of a grid from which values are shown without a decimal
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 60  # characters of a photo's name


class Drawer:
    """Draws each picture that has a face into a folder, and adds the columns `drawn` and, with maps, `map`: the names of the files."""

    shown = SHOWN

    def __init__(self, folder: Path, grid: Sequence[float], explainer: Explainer | None = None) -> None:
        self._folder, self._explainer, self._pictures = folder, explainer, 0
        self._digits = 0 if grid[-1] - grid[0] >= YEARS_FROM else 1

    def __call__(self, rows: Sequence[FaceRow], frame: pd.DataFrame) -> pd.DataFrame:
        """Draw the pictures of rows, which keep them (`FaceRow.shown`), and of the same rows with their values."""
        drawn: list[str | None] = [None] * len(rows)
        for _, group in groupby(range(len(rows)), key=lambda place: (rows[place].path, rows[place].frame, id(rows[place].shown))):
            places = [place for place in group if rows[place].box is not None]
            if not places or (shown := rows[places[0]].shown) is None:
                continue
            self._pictures += 1
            name = f"{self._stem(rows[places[0]])}.jpg"
            marked = [self._marked(frame.iloc[place], shown.scale, len(places) > 1) for place in places]
            annotated(shown.image, marked).save(self._folder / name, quality=QUALITY, subsampling=0)
            for place in places:
                drawn[place] = name
        frame = frame.assign(drawn=pd.Series(drawn, frame.index, dtype="str"))
        return frame if self._explainer is None else frame.assign(map=self._maps(rows, frame))

    def _maps(self, rows: Sequence[FaceRow], frame: pd.DataFrame) -> pd.Series:
        """The name of the map of each face, which is drawn beside its picture."""
        names = [None if row.crop is None else f"{PurePath(frame['drawn'].iloc[i]).stem}_face{row.face}.png" for i, row in enumerate(rows)]
        assert self._explainer is not None
        self._explainer.draw(rows, frame, [None if name is None else self._folder / name for name in names])
        return pd.Series(names, frame.index, dtype="str")

    def _stem(self, row: FaceRow) -> str:
        """The name of a drawn picture without its suffix: its number, and what every system takes of its path."""
        name = _UNSAFE.sub("_", PurePath(row.path).stem)[:_LONGEST] or "photo"
        return f"{self._pictures:04d}_{name}" + ("" if row.frame is None else f"_frame{row.frame}")

    def _marked(self, said: pd.Series, scale: float, several: bool) -> Marked:
        """What is drawn of a face: its number where there are several, its value, and the interval."""
        left, top, right, bottom = (float(said[edge]) * scale for edge in ("left", "top", "right", "bottom"))
        known = isinstance(said["error"], float) and not pd.isna(said["value"])
        value = self._number(said["value"]) if known else "?"
        detail = f"{self._number(said['low'])} to {self._number(said['high'])}" if known and not pd.isna(said["low"]) else ""
        name = f"#{said['face']}" if several else ""
        return Marked((left, top, right, bottom), value, detail, name, said.get("decision") == CHALLENGE)

    def _number(self, value: Any) -> str:
        return f"{value:.{self._digits}f}"
