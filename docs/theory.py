"""Draw docs/theory.png: a label of 50 years as a distribution and as ranking targets (DLDL-v2, Fig. 2).

uv run python docs/theory.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from agecascade.labels import grid, label_distribution, ranking_targets
from agecascade.plots.labels import ranking_and_distributions

LABEL, SIGMAS = 50.0, [1.0, 2.0, 5.0, 10.0]


def main(path: Path) -> None:
    ages, label = grid(0, 100, 1), torch.tensor([LABEL])
    distributions = [label_distribution(label, torch.tensor([sigma]), ages)[0].numpy() for sigma in SIGMAS]
    ranking_and_distributions(path, ages.numpy(), distributions, SIGMAS, ranking_targets(label, ages)[0].numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
