"""What a camera and a file do to a drawing: light on a sensor, blur, noise, the publisher's JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from agecascade.synthetic.view import View


def develop(drawing: np.ndarray, view: View, rng: Generator) -> np.ndarray:
    """The drawing (any side, RGB) as a picture of `view.side` pixels: blurred, reduced, noisy. Returns (side, side, 3) RGB."""
    image = cv2.resize(drawing, (view.side, view.side), interpolation=cv2.INTER_AREA)
    if view.blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), view.blur)
    if view.gray:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    # one random byte a channel: after the JPEG nobody tells uniform noise from normal, and it costs a tenth
    grain = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)  # deviation 74
    return cv2.addWeighted(image, 1.0, grain, view.noise / 74, -127.5 * view.noise / 74)


def encode(image: np.ndarray, quality: int) -> bytes:
    """RGB picture as JPEG."""
    return cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
