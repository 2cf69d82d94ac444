"""An exported file beside the trained model, on the same faces: it must answer alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from agecascade.errors import ModelError
from agecascade.export.pictures import Crops
from agecascade.runtimes.base import FoldModel

SINGLE = 1e-3  # label units: the largest difference of a value in single precision
PROBABILITY = 1e-4  # of a probability, where the value is a median, mode or count, which jumps by whole steps
INTEGER = 0.01  # share of the grid's range: the mean difference of a value with integers


def compared(trained: FoldModel, exported: FoldModel, crops: Crops, integers: bool) -> dict[str, Any]:
    """What the card says of the exported model: faces, differences from the trained one, tolerance, and the MAE where labels are known.

    Raises ModelError where a difference is above the tolerance, or a value is not finite.
    """
    (value, distribution), (found, of_found) = trained.values(crops.images), exported.values(crops.images)
    difference = np.abs(value - found)  # (N,)
    grid = trained.card.grid
    said: dict[str, Any] = {
        "faces": crops.what,
        "real": crops.real,
        "largest_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
    }
    if integers:
        fault = said | {"tolerance": INTEGER * (grid[-1] - grid[0]), "of": "mean_difference"}
    elif _jumps(trained) and distribution is not None and of_found is not None:
        probability = float(np.abs(distribution - of_found).max())
        fault = said | {"largest_probability_difference": probability, "tolerance": PROBABILITY, "of": "largest_probability_difference"}
    else:
        fault = said | {"tolerance": SINGLE, "of": "largest_difference"}
    if not fault[fault["of"]] <= fault["tolerance"]:  # also where it is NaN
        name, unit = fault["of"].replace("_", " "), "" if "probability" in fault["of"] else " label units"
        raise ModelError(
            f"the exported model answers otherwise than the trained one: {name} {fault[fault['of']]:.4g}{unit} on {crops.what}, at most "
            f"{fault['tolerance']:.4g} is allowed; nothing was written. {_advice(integers)}"
        )
    if crops.label is not None and np.isfinite(crops.label).any():
        known = np.isfinite(crops.label)
        errors = (np.abs(values - crops.label)[known].mean() for values in (value, found))
        fault |= dict(zip(("mae_trained", "mae_exported"), map(float, errors), strict=True))
    return fault


def _jumps(model: FoldModel) -> bool:
    return model.card.method_options.get("decoding", "expectation") != "expectation"


def _advice(integers: bool) -> str:
    return "Calibrate on faces of its training set (--calibrate)" if integers else "Please report it, with model.json"
