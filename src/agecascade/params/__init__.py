"""Typed view of params.yaml: every key is checked, the unknown and the mistyped are named with the nearest known."""

from agecascade.params.block import REGRESS, SCRATCH, Block, read_yaml
from agecascade.params.data import HELD_OUT, Clean, Dataset, DrawSettings, Grid
from agecascade.params.evaluation import Evaluate, Explain
from agecascade.params.images import PRESETS, Align, Augment, Channels, Detection, Normalisation
from agecascade.params.recipes import SEARCHED, Pretrain, Recipe, Schedule, Search, Step, Teacher, Training, Weights
from agecascade.params.study import (
    DAA,
    Compare,
    Compute,
    Daa,
    FeaturesSettings,
    Params,
    RegressorSettings,
    Row,
    Screen,
    check,
    load,
)

__all__ = [
    "DAA",
    "HELD_OUT",
    "PRESETS",
    "REGRESS",
    "SCRATCH",
    "SEARCHED",
    "Align",
    "Augment",
    "Block",
    "Channels",
    "Clean",
    "Compare",
    "Compute",
    "Daa",
    "Dataset",
    "Detection",
    "DrawSettings",
    "Evaluate",
    "Explain",
    "FeaturesSettings",
    "Grid",
    "Normalisation",
    "Params",
    "Pretrain",
    "Recipe",
    "RegressorSettings",
    "Row",
    "Schedule",
    "Screen",
    "Search",
    "Step",
    "Teacher",
    "Training",
    "Weights",
    "check",
    "load",
    "read_yaml",
]
