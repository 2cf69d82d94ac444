"""Check every key of params.yaml before any other stage runs."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.files import written_beside
from common import run


def main() -> None:
    params.load("params.yaml")
    with written_beside("data/checked.txt") as temporary:
        Path(temporary).write_text("params.yaml is valid\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
