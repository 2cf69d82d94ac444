"""`agecascade tables`: the MAE tables, over all runs, beside the papers', or against a revision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecascade.cli.command import app, one_line
from agecascade.errors import AgecascadeError


@app.command()
@one_line
def tables(
    runs: Annotated[bool, typer.Option("--runs", help="Over all DVC experiments and MLflow runs.")] = False,
    papers: Annotated[bool, typer.Option("--papers", help="The papers' tables that were run, over all runs, theirs beside ours.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="REVISION", help="Whether this is better than a branch, commit or experiment.")
    ] = None,
) -> None:
    """Print the MAE tables of the current pipeline, or of all runs, or what changed since a revision."""
    given = [name for name, value in (("--runs", runs), ("--papers", papers), ("--against", against is not None)) if value]
    if len(given) > 1:
        raise AgecascadeError(f"{' and '.join(given)}: give one of them")
    if against is not None:
        from agecascade.evaluation.against import against as compared

        typer.echo(compared(Path.cwd(), against))
        return
    if runs:
        from agecascade.evaluation.runs import table_over_runs as text
    elif papers:
        from agecascade.evaluation.papers import tables_beside_papers as text
    else:
        from agecascade.evaluation.tables import current_tables as text
    typer.echo(text(Path.cwd()))
