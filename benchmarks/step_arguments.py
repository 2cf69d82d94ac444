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
    quick: bool


def parse_arguments(description: str | None) -> StepArguments:
    """Parse STEP [--row ROW] [--quick]."""
    return read_arguments(step_parser(description))


def step_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of STEP [--row ROW] [--quick], for a benchmark to add its own options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", help="a step of the cascade")
    parser.add_argument("--row", help="a row of the table; by default the main one")
    parser.add_argument("--quick", action="store_true")
    return parser


def read_arguments(parser: argparse.ArgumentParser) -> StepArguments:
    """The study's step that the command line names."""
    arguments = parser.parse_args()
    study = params.load()
    return StepArguments(study, arguments.step, study.cascade[arguments.step].dataset, arguments.row or study.rows[0].name, arguments.quick)
