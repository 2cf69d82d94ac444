"""Typed view of params.yaml: every key is checked, the unknown and the mistyped are named with the nearest known."""

from agecascade.params.augment import PRESETS, Augment
from agecascade.params.block import Block
from agecascade.params.daa import DAA, Daa
from agecascade.params.data import Clean, Dataset, Draw, Grid
from agecascade.params.faces import Align, Channels, Detection, Normalisation
from agecascade.params.reading import check, load, read_yaml
from agecascade.params.recipes import SCRATCH, SEARCHED, Pretrain, Recipe, Schedule, Search, Step, Training, Weights
from agecascade.params.study import Compare, Compute, Evaluate, Features, Params, Regressor, Row, Screen

__all__ = [
    "DAA",
    "PRESETS",
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
    "Draw",
    "Evaluate",
    "Features",
    "Grid",
    "Normalisation",
    "Params",
    "Pretrain",
    "Recipe",
    "Regressor",
    "Row",
    "Schedule",
    "Screen",
    "Search",
    "Step",
    "Training",
    "Weights",
    "check",
    "load",
    "read_yaml",
]
