"""Stage weights: published weights -> models/<name>, from which a chain of the cascade starts."""

from __future__ import annotations

from agecascade import params
from agecascade.io.files import written_beside
from agecascade.pretrained import write_published
from common import run


def main(name: str) -> None:
    """Write the networks with the weights of `weights.<name>`."""
    with written_beside(f"models/{name}") as folder:
        write_published(params.load("params.yaml"), name, folder)


if __name__ == "__main__":
    run(main)
