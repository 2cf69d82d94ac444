"""Options in groups: one command line, an object for each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from agecascade.cli.command import in_groups


@dataclass(frozen=True)
class Fruit:
    names: Annotated[list[str] | None, typer.Argument(metavar="FRUIT")] = None
    ripe: Annotated[bool, typer.Option("--ripe", help="No green ones.")] = False


@dataclass(frozen=True)
class Basket:
    size: Annotated[int, typer.Option(help="How many fit in.")] = 3


app = typer.Typer()


@app.command()
@in_groups
def pick(basket: Basket, fruit: Fruit) -> None:
    """Pick fruit."""
    print(basket, fruit)


def test_each_group_gets_its_options() -> None:
    result = CliRunner().invoke(app, ["apple", "pear", "--size", "5", "--ripe"])
    assert result.output == f"{Basket(5)} {Fruit(['apple', 'pear'], True)}\n"
    assert CliRunner().invoke(app, []).output == f"{Basket()} {Fruit([] or None)}\n"


def test_the_help_has_all_options_in_the_order_of_the_groups() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    assert "Pick fruit." in text
    assert 0 < text.index("How many fit in.") < text.index("No green ones.")


def test_an_option_of_two_groups_is_refused() -> None:
    with pytest.raises(TypeError, match="twice: two groups have an option size"):

        @in_groups
        def twice(one: Basket, other: Basket) -> None: ...
