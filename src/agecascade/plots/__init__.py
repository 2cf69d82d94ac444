"""Plots and contact sheets as PNG files: the same numbers and pictures give the same bytes."""

from agecascade.plots.contents import YEARS, Labels, cumulative_labels, group_bars, label_panels
from agecascade.plots.daa import learned_styles
from agecascade.plots.marks import marked
from agecascade.plots.results import cumulative_scores, label_histogram, mae_bars, predicted_against_true, training_curves
from agecascade.plots.search import search_table
from agecascade.plots.sheets import Tile, contact_sheet, thumbnail
from agecascade.plots.theory import ranking_and_distributions

__all__ = [
    "YEARS",
    "Labels",
    "Tile",
    "contact_sheet",
    "cumulative_labels",
    "cumulative_scores",
    "group_bars",
    "label_histogram",
    "label_panels",
    "learned_styles",
    "mae_bars",
    "marked",
    "predicted_against_true",
    "ranking_and_distributions",
    "search_table",
    "thumbnail",
    "training_curves",
]
