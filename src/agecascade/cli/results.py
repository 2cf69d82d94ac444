"""`agecascade results`: the project's own tables of results, printed, or made by DVC's queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecascade.cli.command import app, one_line
from agecascade.errors import AgecascadeError


@app.command()
@one_line
def results(
    name: Annotated[str | None, typer.Argument(help="A file of studies/results/ without its suffix; without one: which there are.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Run what is missing, through DVC's queue, and keep it in metrics/results/.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="With --run: this run alone; may be given several times.")] = None,
    again: Annotated[bool, typer.Option("--again", help="With --run: also what is kept already.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="With --run: so many at once.")] = 1,
) -> None:
    """Print a table of results from the runs that are kept in metrics/results/, or make it: `results utkface --run`."""
    from agecascade.results import definition, table

    root = Path.cwd()
    if name is None:
        if run or only or again:
            raise AgecascadeError(f"name a table: {', '.join(definition.names(root)) or 'studies/results/ holds none'}")
        for each in definition.names(root):
            found = definition.read(each, root)
            kept = len(found.runs) - len(table.missing(each, found, root))
            typer.echo(f"{each}: {found.title}; {kept} of {len(found.runs)} runs are kept")
        return
    if (only or again) and not run:
        raise AgecascadeError("--only and --again go with --run")
    chosen = definition.read(name, root)
    if run:
        from agecascade.results.queue import work_through

        wanted = definition.chosen(chosen, only or [])
        missing = list(wanted) if again else table.missing(name, chosen, root)
        runs = {each: wanted[each] for each in missing if each in wanted}
        work_through(name, runs, jobs, again, root, lambda line: typer.echo(line, err=True))
    typer.echo(f"{chosen.title}\n\n{table.markdown(name, chosen, root)}")
