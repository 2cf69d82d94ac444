"""What benchmarks of a finished study are asked for: a step of its cascade, and a row of the table."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from agecascade import params


@dataclass(frozen=True)
class Asked:
    """The study in params.yaml, and which of its trainings is meant."""

    study: params.Params
    step: str
    dataset: str
    row: str


def asked(description: str | None) -> Asked:
    """From the command line: STEP [--row ROW]."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", help="a step of the cascade")
    parser.add_argument("--row", help="a row of the table; the main one unless told otherwise")
    arguments = parser.parse_args()
    study = params.load()
    return Asked(study, arguments.step, study.cascade[arguments.step].dataset, arguments.row or study.rows[0].name)
