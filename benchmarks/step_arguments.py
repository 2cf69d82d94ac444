"""Command line of benchmarks on a finished study: a step of its cascade, and a row of the table."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from agecascade import params


@dataclass(frozen=True)
class StepArguments:
    """The study in params.yaml, and the step, its data set and the row to measure."""

    study: params.Params
    step: str
    dataset: str
    row: str


def parse_arguments(description: str | None) -> StepArguments:
    """Parse STEP [--row ROW]."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", help="a step of the cascade")
    parser.add_argument("--row", help="a row of the table; by default the main one")
    arguments = parser.parse_args()
    study = params.load()
    return StepArguments(study, arguments.step, study.cascade[arguments.step].dataset, arguments.row or study.rows[0].name)
