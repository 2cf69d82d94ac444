"""Small data sets in memory for the tests of training: random faces and their folds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from agecascade.loading import Faces


def random_faces(count: int = 24, sigma: str = "none") -> Faces:
    """Faces of 32 pixels, aged 0 to 69, of four subjects; sigma: `none`, `two` years, or `mixed` (3 years on every second)."""
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (count, 32, 32, 3), np.uint8)
    label = random.integers(0, 70, count).astype(float)
    sigmas = {
        "none": np.full(count, np.nan),
        "two": np.full(count, 2.0),
        "mixed": np.where(np.arange(count) % 2, 3.0, np.nan),
    }
    subjects = np.array([f"s{i % 4}" for i in range(count)])
    return Faces(np.array([f"p{i:02d}" for i in range(count)]), images, label, sigmas[sigma], subjects)


def rolled_splits(faces: Faces, train: int = 12, validation: int = 4, test: int = 8, folds: int = 2) -> pd.DataFrame:
    """Splits whose roles are shifted by one test set from fold to fold."""
    roles = np.array(["train"] * train + ["validation"] * validation + ["test"] * test)
    parts = [pd.DataFrame({"sample_id": faces.sample_id, "fold": fold, "role": np.roll(roles, test * fold)}) for fold in range(folds)]
    return pd.concat(parts, ignore_index=True)
