"""How many of FG-NET's faces each detector finds, how far its points are from the published ones, and how fast.

usage: uv run python benchmarks/detection.py [--quick]
Needs FGNET.zip in the mirror (AGECASCADE_MIRROR) or in archives/; --quick takes every tenth picture, and fetches no weights. Prints
a table in Markdown, a line per detector and setting, and writes the faces whose eyes were found worst, with both sets of points, to
plots/detection/ (real people: nothing of plots/ is ever committed). A face counts as found where the align stage would crop it. Errors
are distances over the published distance of the eyes' centres; eyes: the mean over both. Milliseconds a picture are those of detection,
retries included, pictures decoded, one thread.
The last line printed is one JSON object of YuNet with retries: found, found_share, eye_error (mean), pictures_per_s.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from agecascade.archives import open_archives
from agecascade.dataset_report.quality import landmark_errors, summarise_errors
from agecascade.datasets import reader
from agecascade.datasets.base import ManifestRow
from agecascade.errors import FaceError
from agecascade.evaluation.tables import to_markdown
from agecascade.faces.crops import Frame, cut, transform_points
from agecascade.faces.detection import DetectionResult, choose_face, create_finder
from agecascade.faces.detectors import Annotation, Face
from agecascade.faces.detectors.retinaface import DESIGNS
from agecascade.faces.face import Points
from agecascade.imaging import decode_image
from agecascade.io.places import archive_folders
from agecascade.params import Align, Detection
from agecascade.plots.sheets import COLOUR_NAMES, DETECTED, PUBLISHED, Tile, contact_sheet, mark_points

ARCHIVE = "FGNET.zip"
MAIN = "yunet, with retries"
ONCE, RETRIES = Detection(), Detection(scales=[0.5, 0.35])
SETTINGS = {
    "annotation": ("annotation", ONCE),
    "yunet": ("yunet", ONCE),
    MAIN: ("yunet", RETRIES),
    "yunet, ONNX Runtime, with retries": ("yunet", RETRIES.model_copy(update={"runtime": "onnxruntime"})),
    "retinaface, MobileNet-0.25": ("retinaface", ONCE.model_copy(update={"network": "mobilenet0.25"})),
    "retinaface, MobileNet-0.25, with retries": ("retinaface", RETRIES.model_copy(update={"network": "mobilenet0.25"})),
    "retinaface, ResNet-50": ("retinaface", ONCE),
}
DRAWN = {"yunet": MAIN, "retinaface-mobilenet0.25": "retinaface, MobileNet-0.25, with retries"}  # file, setting
WORST, SIDE, CROP = 7, 192, 128
PLOTS = Path("plots/detection")


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the archive, (H, W, 3), and the data set's annotation of it."""

    name: str
    image: np.ndarray
    annotation: Annotation


@dataclass(eq=False)
class Tally:
    """Results of a detector over the pictures so far."""

    pictures: int = 0
    seconds: float = 0.0
    attempts: Counter[str] = field(default_factory=Counter)  # that found a face
    errors: list[Points] = field(default_factory=list)  # (6,) each, as landmark_errors returns them
    faces: list[tuple[float, str, np.ndarray, Points, Points]] = field(default_factory=list)  # the worst: error, name, crop, points

    @property
    def found(self) -> int:
        return sum(self.attempts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    path = next((folder / ARCHIVE for folder in archive_folders() if (folder / ARCHIVE).is_file()), None)
    if path is None:
        folders = ", ".join(map(str, archive_folders()))
        sys.exit(f"error: {ARCHIVE} is in none of {folders}; set AGECASCADE_MIRROR, or `agecascade datasets fgnet`")
    tallies, unavailable = measure(path, 10 if quick else 1, fetch=not quick)
    lines = [line(name, tallies[name]) if name in tallies else {"detector": name, "found": unavailable[name]} for name in SETTINGS]
    print(to_markdown(pd.DataFrame(lines)))
    chosen = tallies[MAIN]
    for file, setting in DRAWN.items():
        if setting in tallies:
            draw(PLOTS / f"worst-{file}.png", setting, tallies[setting])
    figures = summarise_errors(np.stack(chosen.errors))
    assert figures is not None
    rate = round(chosen.pictures / chosen.seconds, 1)
    summary = {"found": chosen.found, "found_share": round(chosen.found / chosen.pictures, 4), "eye_error": figures.eyes["mean"]}
    print(json.dumps({**summary, "pictures_per_s": rate}))


def measure(path: Path, step: int, fetch: bool) -> tuple[dict[str, Tally], dict[str, str]]:
    """The results of each setting, and the reason for each that cannot run; one pass over the archive. fetch: weights that are not here."""
    tallies: dict[str, Tally] = {}
    unavailable: dict[str, str] = {}
    for name, (detector, detection) in SETTINGS.items():
        try:
            if fetch or at_hand(detector, detection):
                create_finder(detector, detection)
                tallies[name] = Tally()
            else:
                unavailable[name] = "its weights are not here, and --quick fetches none"
        except FaceError as error:
            print(error, file=sys.stderr)
            unavailable[name] = "its weights are not available here"
    for picture in pictures(path, step):
        for name, tally in tallies.items():
            detect(picture, *SETTINGS[name], tally)
    return tallies, unavailable


def at_hand(detector: str, detection: Detection) -> bool:
    """Whether a detector's weights need no download: YuNet's come with the package."""
    return detector != "retinaface" or DESIGNS[detection.network].source.local() is not None


def pictures(path: Path, step: int) -> Iterator[Picture]:
    """Every `step`-th picture in the order of names, decoded one at a time."""
    with open_archives(path) as archive:
        rows = [row for row in reader("fgnet").rows(archive, {}) if isinstance(row, ManifestRow)]
        selected = {row.member: row for row in sorted(rows, key=lambda row: row.member)[::step]}
        for member in archive.members():
            if row := selected.get(member.name):
                points = np.array(row.landmarks, dtype=np.float64).reshape(-1, 2)
                yield Picture(row.sample_id, decode_image(member.read()), Annotation(points))


def detect(picture: Picture, detector: str, detection: Detection, tally: Tally) -> None:
    """Run one detector on one picture and add the result to the tally."""
    find = create_finder(detector, detection)
    start = time.perf_counter()
    (finding,) = find([picture.image], [picture.annotation])
    tally.seconds += time.perf_counter() - start
    tally.pictures += 1
    face = choose_face(finding, picture.image.shape, picture.annotation, detector, Align(detection=detection))
    aligned = cut(picture.image, face, picture.annotation, Frame(CROP, margin=0.25)) if isinstance(face, Face) else None
    if isinstance(face, Face) and aligned is not None:
        tally.attempts[finding.attempt] += 1
        if detector != "annotation":
            add_errors(picture, finding, face, aligned, tally)


def add_errors(picture: Picture, finding: DetectionResult, face: Face, aligned: Any, tally: Tally) -> None:
    """The face's errors; its crop as long as it is among the worst."""
    assert face.points is not None
    assert picture.annotation.landmarks is not None
    published = picture.annotation.landmarks[:5]
    errors = landmark_errors(face.points[None], published[None])[0]  # (6,)
    tally.errors.append(errors)
    caption = f"{picture.name}, score {face.score:.2f}, {finding.attempt}"
    points = (transform_points(each, aligned.matrix) for each in (face.points, published))
    tally.faces.append((float(errors[0]), caption, aligned.image, *points))
    tally.faces = sorted(tally.faces, key=lambda entry: -entry[0])[:WORST]


def line(name: str, tally: Tally) -> dict[str, Any]:
    """A row of the table."""
    tried = "; ".join(f"{attempt}: {count}" for attempt, count in tally.attempts.most_common())
    start = {
        "detector": name,
        "found": f"{tally.found} of {tally.pictures}",
        "share": percent(tally.found / tally.pictures),
        "attempts": tried,
    }
    errors = summarise_errors(np.stack(tally.errors)) if tally.errors else None
    figures = ["mean", "median", "p95", "above_0.1", "above_0.25"]
    shown = [""] * len(figures)
    if errors is not None:
        shown = [percent(errors.eyes[key]) if key.startswith("above") else f"{errors.eyes[key]:.4f}" for key in figures]
    titles = ["eye error", "median", "95 %", "above 0.1", "above 0.25"]
    return {**start, **dict(zip(titles, shown, strict=True)), "ms": f"{1000 * tally.seconds / tally.pictures:.3g}"}


def draw(path: Path, setting: str, tally: Tally) -> None:
    """The worst faces with the published points and the detector's."""
    tiles = [
        Tile(mark_points(crop, SIDE, {PUBLISHED: published, DETECTED: detected}), f"error {error:.2f}", caption)
        for error, caption, crop, detected, published in tally.faces
    ]
    colours = f"{COLOUR_NAMES[PUBLISHED]}: published points, {COLOUR_NAMES[DETECTED]}: the detector's"
    title = f"{setting}: the {len(tiles)} worst of {tally.found:,} faces by the error of the eyes. {colours}"
    contact_sheet(path, "FG-NET", title, tiles, WORST, SIDE)
    print(f"the worst faces: {os.fspath(path)}: {', '.join(caption.split(',')[0] for _, caption, *_ in tally.faces)}\n")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
