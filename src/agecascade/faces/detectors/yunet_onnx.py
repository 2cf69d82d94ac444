"""YuNet (Wu et al. 2023) as ONNX Runtime runs it: the faces that OpenCV finds, in less than half of the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agecascade.errors import FaceError
from agecascade.faces.detectors.onnx_sizes import free_sizes
from agecascade.faces.detectors.weights import YUNET, yunet_file
from agecascade.faces.detectors.yunet import OVERLAP, face_of
from agecascade.faces.face import Annotation, Face, Image

STRIDES = (8, 16, 32)  # pixels, of the three feature maps
INPUT, OUTPUTS = "input", [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES]

Rows = NDArray[np.float32]


class YuNetOnnx:
    """ONNX Runtime's YuNet: box, five points and score of each face, as `detectors.yunet` has them to 0.001 pixels.

    It takes as many threads as OpenCV may take where it is made. Raises FaceError where the model file is missing or is no YuNet model.
    """

    batch = 1

    def __init__(self, min_score: float, model: Path | None = None) -> None:
        self._session = _session(model or yunet_file())
        self._min_score = min_score

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [self._faces(image) for image in images]

    def _faces(self, image: Image) -> list[Face]:
        """The faces of an RGB picture (H, W, 3), the highest score first."""
        pixels = _padded(image)  # (1, 3, h, w)
        try:
            outputs = self._session.run(OUTPUTS, {INPUT: pixels})
        except Exception as error:  # ONNX Runtime's own kinds
            raise RuntimeError(" ".join(str(error).split())) from None
        levels = list(_decoded(outputs, pixels.shape[3], self._min_score))  # (n, 15) each
        rows = _suppressed(np.concatenate(levels), self._min_score) if levels else np.empty((0, 15), np.float32)
        return [face_of(row.astype(np.float64)) for row in rows]


def _session(path: Path) -> Any:
    """The network of a file, for pictures of any size; raises FaceError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, cv2.getNumThreads())
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads wait without working
    options.enable_mem_pattern = False  # one would be kept for each size of picture
    options.log_severity_level = 4  # what goes wrong is raised as well
    try:
        session = onnxruntime.InferenceSession(free_sizes(path.read_bytes()), options, providers=["CPUExecutionProvider"])
        names = [[each.name for each in side] for side in (session.get_inputs(), session.get_outputs())]
        if names[0] != [INPUT] or not set(OUTPUTS) <= set(names[1]):
            raise ValueError("its inputs and outputs have other names")
    except Exception as error:  # ONNX Runtime's own kinds, OSError, and ValueError
        reason = " ".join(str(error).split())[:200]
        raise FaceError(f"{path}: ONNX Runtime cannot read it as a YuNet model ({reason}); replace it by {YUNET.url}") from None
    return session


def _padded(image: Image) -> Rows:
    """The picture as (1, 3, h, w), blue first, 0 to 255; zeros at its right and bottom fill the cells of the last map."""
    height, width = image.shape[:2]
    padded = np.zeros((1, 3, height + -height % STRIDES[-1], width + -width % STRIDES[-1]), np.float32)
    for channel, plane in enumerate(cv2.split(image)):  # sooner than OpenCV's blobFromImage, or a transposition
        padded[0, 2 - channel, :height, :width] = plane
    return padded


def _decoded(outputs: Sequence[Rows], width: int, min_score: float) -> Iterator[Rows]:
    """Rows (n, 15) of each map with faces as OpenCV's FaceDetectorYN has them: left, top, width, height, five points, score.

    outputs: in the order of OUTPUTS, each (1, cells, values), the cells row by row; width: of the padded picture in pixels. A score is
    the geometric mean of those of class and object; places count from their cell, in cells; sizes are logarithms of cells.
    """
    for level, stride in enumerate(STRIDES):
        classes, objects, boxes, points = (output[0] for output in outputs[level :: len(STRIDES)])  # (cells, 1), 1, 4, 10
        scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
        found = np.flatnonzero(scores >= min_score)
        if not len(found):
            continue
        cells = np.stack([found % (width // stride), found // (width // stride)], axis=1).astype(np.float32)  # (n, 2)
        sizes = np.exp(boxes[found, 2:]) * stride  # (n, 2)
        corners = (cells + boxes[found, :2]) * stride - sizes / 2
        marks = (cells[:, None] + points[found].reshape(-1, 5, 2)) * stride  # (n, 5, 2)
        yield np.concatenate([corners, sizes, marks.reshape(-1, 10), scores[found, None]], axis=1, dtype=np.float32)


def _suppressed(rows: Rows, min_score: float) -> Rows:
    """The rows (N, 15) but those that overlap one of a higher score; as in FaceDetectorYN, their boxes are whole numbers for this."""
    if len(rows) < 2:
        return rows
    kept = cv2.dnn.NMSBoxes(np.trunc(rows[:, :4]).tolist(), rows[:, 14].tolist(), min_score, OVERLAP)
    return rows[np.asarray(kept, dtype=int).ravel()]
