"""Points drawn on a picture."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from agecascade.plots.style import COLOURS

FOUND, PUBLISHED = COLOURS[4], COLOURS[5]  # orange and light blue: both stand out from skin
NAMES = {FOUND: "orange", PUBLISHED: "blue"}
FRACTION = 4  # bits of OpenCV's coordinates behind the point
RADIUS = 0.018  # of the side
FURTHEST = 10  # sides beyond the picture, which OpenCV's integers still hold


def marked(image: np.ndarray, side: int, points: Mapping[str, np.ndarray]) -> np.ndarray:
    """A square picture RGB (S, S, 3) uint8 at `side` pixels with the points of each colour; what lies outside is cut off.

    points: colour ("#E69F00") -> (N, 2) pixels of the picture, counted from its corner; those that are not finite are left out.
    """
    scale = side / image.shape[1]
    drawn = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    radius = round(RADIUS * side * (1 << FRACTION))
    for colour, places in points.items():
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        known = places[np.isfinite(places).all(axis=1)]
        # OpenCV counts from the centres of the pixels
        fixed = np.rint((np.clip(known * scale, -FURTHEST * side, FURTHEST * side) - 0.5) * (1 << FRACTION)).astype(int)
        for x, y in fixed.tolist():
            cv2.circle(drawn, (x, y), radius, (0, 0, 0), 3, cv2.LINE_AA, FRACTION)  # a rim, for light and dark skin
            cv2.circle(drawn, (x, y), radius, rgb, cv2.FILLED, cv2.LINE_AA, FRACTION)
    return drawn
