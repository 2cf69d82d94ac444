"""Write published weights as the models that a chain of the cascade starts from."""

from __future__ import annotations

from agecascade import params
from agecascade.io.files import written_beside
from agecascade.training.initial_weights import write_published
from common import run


def main(name: str) -> None:
    with written_beside(f"models/{name}") as folder:
        write_published(params.load("params.yaml"), name, folder)


if __name__ == "__main__":
    run(main)
