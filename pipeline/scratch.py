"""Stage scratch: -> models/scratch, the freshly initialised networks that every chain of the cascade starts from."""

from __future__ import annotations

from agecascade import params
from agecascade.io.files import written_beside
from agecascade.training.initial_weights import initialise
from common import run


def main() -> None:
    """Initialise one network per backbone and seed."""
    with written_beside("models/scratch") as folder:
        initialise(params.load("params.yaml"), folder)


if __name__ == "__main__":
    run(main)
