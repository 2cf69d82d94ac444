"""Train a face-recognition network: softmax over identities."""

from __future__ import annotations

from agecascade.io.files import written_beside
from common import run, train


def main(step: str) -> None:
    with written_beside(f"models/{step}") as models:
        train("pretrain", step, models, predictions=None)


if __name__ == "__main__":
    run(main)
