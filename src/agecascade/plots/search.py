"""Plot of a search over learning rates and batch sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from agecascade.plots.style import figure


def search_table(path: Path | str, title: str, means: pd.DataFrame) -> None:
    """Mean validation loss of each learning rate (down) and batch size (across), a panel for each backbone; the lowest is framed.

    means: columns backbone, learning_rate, batch_size, validation_loss; NaN, a dash, where a trial diverged.
    """
    backbones = list(dict.fromkeys(means["backbone"]))
    with figure(path, width=1.2 + 3.4 * len(backbones), height=3.6, columns=len(backbones)) as panels:
        for axes, backbone in zip(panels, backbones, strict=True):
            trials = means[means["backbone"] == backbone]
            losses = trials.pivot(index="learning_rate", columns="batch_size", values="validation_loss").sort_index(ascending=False)
            # coloured by rank: one extreme loss would leave all others in one colour
            axes.imshow(_ranks(losses), cmap="viridis_r", aspect="auto")
            for (row, column), loss in np.ndenumerate(losses.to_numpy()):
                axes.text(column, row, "–" if np.isnan(loss) else f"{loss:.3g}", ha="center", va="center", bbox=_label_box(loss, losses))
            axes.set_xticks(range(len(losses.columns)), [str(size) for size in losses.columns])
            axes.set_yticks(range(len(losses)), [f"{rate:g}" for rate in losses.index])
            axes.set(xlabel="batch size", ylabel="learning rate", title=f"{title}, {backbone}\nvalidation loss")
            axes.grid(visible=False)


def _ranks(losses: pd.DataFrame) -> np.ndarray:
    """Ranks of the losses over the whole table, NaN where there is none."""
    return pd.Series(losses.to_numpy().ravel()).rank().to_numpy().reshape(losses.shape)


def _label_box(loss: float, losses: pd.DataFrame) -> dict[str, object]:
    """The background of a number, framed where it is the lowest."""
    lowest = loss == np.nanmin(losses.to_numpy())
    return {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "black" if lowest else "none", "alpha": 0.85}
