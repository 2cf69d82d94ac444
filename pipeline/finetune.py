"""Train one step of the cascade: all rows, all folds, and their test predictions."""

from __future__ import annotations

from agecascade.io.files import written_beside
from common import run, train


def main(step: str) -> None:
    with written_beside(f"models/{step}") as models, written_beside(f"data/predictions/{step}") as predictions:
        train("finetune", step, models, predictions)


if __name__ == "__main__":
    run(main)
