"""How many faces of a large group photo each detector finds, by their height and by how closely it looks.

usage: uv run python benchmarks/group_photos.py [--quick]
Needs FGNET.zip in the mirror (AGECASCADE_MIRROR) or in archives/. Pastes 20 faces of FG-NET, cut out around their published landmarks
with half of their height around and scaled to one height, into a grey canvas of 6,000 x 4,000 pixels, and looks at it with `max_side` 640,
1,280, 2,560 and 5,120, and with 640 and `pyramid: 2`; no retries. A face counts as found where the eyes of a detection are nearer to the
published ones than half of the eyes' distance; false: detections that are nearer to none. --quick: two heights and two
looks, and no weights are fetched. Prints a table in Markdown.
The last line printed is one JSON object: faces, and found, a share, of each detector at the last look over all heights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from agecascade.errors import FaceError
from agecascade.evaluation.tables import to_markdown
from agecascade.faces.detection import create_finder
from agecascade.faces.detectors import Annotation
from agecascade.faces.face import Image, Points
from agecascade.io.places import archive_folders
from agecascade.params import Detection
from detection import ARCHIVE, Picture, at_hand, pictures

WIDTH, HEIGHT, GREY = 6000, 4000, 128
COLUMNS, ROWS = 5, 4
HEIGHTS = [50, 100, 200, 400]  # pixels of a face, from the brows to the chin
LOOKS = [(640, 0), (640, 2), (1280, 0), (2560, 0), (5120, 0)]  # max_side, pyramid
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "yunet": ("yunet", {}),
    "yunet, ONNX Runtime": ("yunet", {"runtime": "onnxruntime"}),
    "retinaface, MobileNet-0.25": ("retinaface", {"network": "mobilenet0.25"}),
}
STEP = 50  # every 50th picture of FG-NET


@dataclass(frozen=True, eq=False)
class Group:
    """A group photo (H, W, 3), and the published eyes of its faces (F, 2, 2) in it."""

    image: Image
    eyes: Points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    path = next((folder / ARCHIVE for folder in archive_folders() if (folder / ARCHIVE).is_file()), None)
    if path is None:
        sys.exit(f"error: {ARCHIVE} is in none of {', '.join(map(str, archive_folders()))}; set AGECASCADE_MIRROR")
    people = list(pictures(path, STEP))[: COLUMNS * ROWS]
    heights, looks = ([100, 200], LOOKS[:2]) if quick else (HEIGHTS, LOOKS)
    groups = {height: group(people, height) for height in heights}
    lines, shares = [], {}
    for name, (detector, options) in DETECTORS.items():
        if quick and not at_hand(detector, Detection(**options)):
            continue
        for side, pyramid in looks:
            try:
                found, line = look(name, side, pyramid, groups)
            except FaceError as error:
                print(error, file=sys.stderr)
                break
            lines.append(line)
            shares[name] = round(found / (len(groups) * len(people)), 4)
    print(to_markdown(pd.DataFrame(lines)))
    print(json.dumps({"faces": len(groups) * len(people), "found": shares}))


def group(people: list[Picture], height: int) -> Group:
    """The faces in the middle of even cells, each so high; none is turned."""
    canvas = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    eyes = []
    for index, person in enumerate(people):
        assert person.annotation.landmarks is not None
        landmarks = person.annotation.landmarks
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        around = (high - low)[1] / 2
        left, top = np.floor(np.maximum(low - around, 0)).astype(int)
        right, bottom = np.ceil(high + around).astype(int)
        cut = person.image[top:bottom, left:right]
        factor = height / (high - low)[1]
        size = (max(1, round(cut.shape[1] * factor)), max(1, round(cut.shape[0] * factor)))
        small = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
        x = (index % COLUMNS) * WIDTH // COLUMNS + (WIDTH // COLUMNS - size[0]) // 2
        y = (index // COLUMNS) * HEIGHT // ROWS + (HEIGHT // ROWS - size[1]) // 2
        canvas[y : y + size[1], x : x + size[0]] = small
        eyes.append((landmarks[:2] - [left, top]) * np.array(size) / cut.shape[1::-1] + [x, y])
    return Group(canvas, np.stack(eyes))


def look(name: str, side: int, pyramid: int, groups: dict[int, Group]) -> tuple[int, dict[str, Any]]:
    """The number of faces found at all heights, and the line of the table."""
    detector, options = DETECTORS[name]
    find = create_finder(detector, Detection(max_side=side, pyramid=pyramid, **options))
    line: dict[str, Any] = {"detector": name, "max_side": side, "pyramid": pyramid}
    total, false, seconds = 0, 0, 0.0
    for height, photo in groups.items():
        start = time.perf_counter()
        (result,) = find([photo.image], [Annotation()])
        seconds += time.perf_counter() - start
        found = [near(face.points, photo.eyes) for face in result.faces if face.points is not None]
        line[f"{height} px"] = f"{len({index for index in found if index is not None})} of {len(photo.eyes)}"
        total += len({index for index in found if index is not None})
        false += sum(index is None for index in found)
    return total, {**line, "false": false, "s a photo": f"{seconds / len(groups):.2f}"}


def near(points: Points, eyes: Points) -> int | None:
    """The face whose eyes these five points mean, or None."""
    distance = np.linalg.norm(eyes - points[None, :2], axis=2).mean(axis=1)  # (F,)
    index = int(distance.argmin())
    return index if distance[index] < np.linalg.norm(eyes[index, 0] - eyes[index, 1]) / 2 else None


if __name__ == "__main__":
    main()
