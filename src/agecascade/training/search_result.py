"""What a search leaves: the models that it started from, the winner of each backbone beside them, and the table of its trials."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from agecascade.errors import ModelError, TrainingError
from agecascade.io.files import copied, write_json

WINNERS = "search.json"
COLUMNS = ["backbone", "learning_rate", "batch_size", "fold", "validation_loss", "validation_error"]
GRID = ["backbone", "learning_rate", "batch_size"]


@dataclass(frozen=True)
class Found:
    """The trials of a search: a row for each fold of each, with COLUMNS; a loss of NaN is one that diverged."""

    name: str
    table: pd.DataFrame

    @property
    def means(self) -> pd.DataFrame:
        """A row for each trial: GRID and the mean loss and error over its folds, NaN where one of them diverged."""
        return self.table.groupby(GRID, sort=False)[COLUMNS[-2:]].agg(lambda values: values.mean(skipna=False)).reset_index()

    @property
    def winners(self) -> dict[str, dict[str, float]]:
        """{backbone: learning_rate, batch_size, validation_loss, validation_error} of the lowest mean loss, the first of equals.

        Raises TrainingError where all trials of a backbone diverged.
        """
        best = {}
        for backbone, trials in self.means.groupby("backbone", sort=False):
            if trials["validation_loss"].isna().all():
                raise TrainingError(f"search.{self.name}: every trial of {backbone} diverged; give lower learning_rates")
            winner = trials.loc[trials["validation_loss"].idxmin()]
            best[str(backbone)] = {key: float(winner[key]) for key in COLUMNS if key in winner and key != "backbone"}
            best[str(backbone)]["batch_size"] = int(winner["batch_size"])
        return best

    def write(self, init: Path, folder: Path) -> None:
        """Make `folder` a copy of the models in `init`, with the winners beside: a step that starts here needs nothing else."""
        winners = self.winners
        copied(init, folder, leave=(WINNERS,))
        write_json(folder / WINNERS, winners)


def read_winners(folder: Path) -> dict[str, dict[str, float]]:
    """What a search has found, by backbone. Raises ModelError where it has not run, or was cut off."""
    path = folder / WINNERS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        winners = {str(backbone): _winner(found) for backbone, found in content.items()}
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; run `dvc repro search@{folder.name}`") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path} is no result of a search; run `dvc repro -f search@{folder.name}`") from None
    return winners


def _winner(found: dict[str, float]) -> dict[str, float]:
    rate, size = found["learning_rate"], found["batch_size"]
    if not math.isfinite(rate) or size != int(size):
        raise ValueError
    return {"learning_rate": rate, "batch_size": size}
