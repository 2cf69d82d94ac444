"""`agecascade datasets` and `study`: what there are readers for, and a params.yaml of it."""

from __future__ import annotations

from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated

import typer

from agecascade.cli.command import app, one_line
from agecascade.errors import AgecascadeError


@app.command()
@one_line
def datasets(
    name: Annotated[str | None, typer.Argument(help="A reader: then everything on its data set.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of docs/reference/datasets.md.")] = False,
) -> None:
    """List the data sets that there are readers for: what they hold, what they need, what of it is here."""
    from agecascade.datasets import catalogue
    from agecascade.io.places import repository_root

    if as_json and markdown:
        raise AgecascadeError("--json and --markdown: give one of them")
    drawn = catalogue.drawn_folders(repository_root())
    cards = [catalogue.card(name, drawn)] if name is not None else catalogue.cards(drawn)
    if as_json:
        typer.echo(catalogue.as_json(cards))
    elif markdown:
        typer.echo(catalogue.markdown(cards))
    elif name is not None:
        typer.echo(catalogue.page(cards[0]))
    else:
        typer.echo(catalogue.table(cards, get_terminal_size(fallback=(160, 24)).columns))


@app.command()
@one_line
def study(
    name: Annotated[str, typer.Argument(help="A file of studies/ without its suffix, a reader, or with --table a new name.")],
    drawn: Annotated[bool, typer.Option("--drawn", help="Few faces, drawn in the publishers' layouts, in place of all data sets.")] = False,
    target: Annotated[str | None, typer.Option(help="For a data set of identities: the reader with labels that it serves.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Throw away what was changed in params.yaml by hand.")] = False,
    table: Annotated[
        Path | None, typer.Option(readable=False, help="Your table, a CSV file. What it holds decides the study, which gets the name NAME.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(readable=False, help="The folder or archive of its pictures; by default the table's folder.")
    ] = None,
    path: Annotated[str | None, typer.Option(help="The table's column of file names.")] = None,
    label: Annotated[str | None, typer.Option(help="Its column of ages or other numbers.")] = None,
    sigma: Annotated[str | None, typer.Option(help="Its column of the labels' deviations.")] = None,
    gender: Annotated[str | None, typer.Option(help="Its column of genders.")] = None,
    genders: Annotated[str | None, typer.Option(help="What its other values than f, m, female and male mean: 0=female,1=male.")] = None,
    subject: Annotated[str | None, typer.Option(help="Its column of persons: nobody is then in both training and test.")] = None,
    split: Annotated[str | None, typer.Option(help="Its column of train, validation and test, or of fold0, fold1, ...")] = None,
) -> None:
    """Rewrite params.yaml as studies/sample.yaml with the overlay studies/NAME.yaml, and print the difference.

    With --table: look at it and at its pictures, say what they hold, and write the study that fits them: `study mine --table labels.csv`.
    """
    from agecascade.study import apply

    columns = {"path": path, "label": label, "sigma": sigma, "gender": gender, "subject": subject, "official": split}
    given = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    if table is not None or pictures is not None or given or genders is not None:
        from agecascade.own_table import study_of

        if drawn or target is not None:
            raise AgecascadeError("--drawn and --target do not go with --table and --pictures; leave one of them away")
        for line in study_of(name, table, pictures, given, _genders(genders), Path.cwd(), force):
            typer.echo(line)
        return
    typer.echo(apply(name, Path.cwd(), drawn=drawn, target=target, force=force))


def _genders(text: str | None) -> dict[str, str]:
    """Their values -> female or male, of --genders; raises AgecascadeError where it is written otherwise."""
    pairs = [pair.partition("=") for pair in text.split(",")] if text is not None else []
    meant = {value.strip(): meaning.strip() for value, _, meaning in pairs}
    if not all(meant) or not {"female", "male"} >= set(meant.values()) or len(meant) < len(pairs):
        raise AgecascadeError(f"--genders {text}: write what each value of the column means, such as 0=female,1=male")
    return meant
