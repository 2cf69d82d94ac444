"""The command line: `agecascade predict | datasets | study | tables`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agecascade.errors import AgecascadeError, FaceError

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Age models from archive to MAE table.")


def one_line(command: Callable[..., None]) -> Callable[..., None]:
    """End a command with one line and exit code 1 on an error that the user can act on."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except AgecascadeError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None

    return wrapped


@app.command()
@one_line
def predict(
    model: Annotated[Path, typer.Option(help="Folder with a model.json, or its parent: then the folds are averaged.")],
    source: Annotated[Path, typer.Option("--input", help="A picture, or a folder that is searched through.")],
    output: Annotated[Path, typer.Option(help="CSV file to write.")],
    aligned: Annotated[bool, typer.Option("--aligned", help="The pictures are crops already; no face is searched for.")] = False,
) -> None:
    """Write one row per face: path, face, value, low, high, box, score, error."""
    if not source.exists():
        raise FaceError(f"{source} does not exist; --input takes a picture or a folder of pictures")
    from tqdm import tqdm

    from agecascade.estimator import Estimator, pictures_in
    from agecascade.io.files import write_csv

    paths = pictures_in(source) if source.is_dir() else [source]
    estimator = Estimator.load(model)
    rows: Counter[str] = Counter()
    with tqdm(paths, desc="predict", unit="picture") as bar:
        write_csv(output, _rows_as_text(estimator.predict_batches(bar, aligned), rows))
    typer.echo(f"{output}: {rows['faces']} faces of {len(paths)} pictures, rows with an error: {rows['errors']}")


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
    name: Annotated[str, typer.Argument(help="A file of studies/ without its suffix, or a reader: then a study of its data set is made.")],
    drawn: Annotated[bool, typer.Option("--drawn", help="Few faces, drawn in the publishers' layouts, in place of all data sets.")] = False,
    target: Annotated[str | None, typer.Option(help="For a data set of identities: the reader with labels that it serves.")] = None,
    table: Annotated[Path | None, typer.Option(help="csv_table: your table, a CSV file. What it holds decides the study.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="csv_table: the folder or archive of its pictures.")] = None,
    path: Annotated[str | None, typer.Option(help="The table's column of file names.")] = None,
    label: Annotated[str | None, typer.Option(help="Its column of ages or other numbers.")] = None,
    sigma: Annotated[str | None, typer.Option(help="Its column of the labels' deviations.")] = None,
    gender: Annotated[str | None, typer.Option(help="Its column of genders.")] = None,
    genders: Annotated[str | None, typer.Option(help="How it writes them, where not f, m, female, male: 1=female,0=male.")] = None,
    subject: Annotated[str | None, typer.Option(help="Its column of who is pictured: then nobody is on both sides of the split.")] = None,
    split: Annotated[str | None, typer.Option(help="Its column of train, validation and test, or of fold0, fold1, ...")] = None,
) -> None:
    """Rewrite params.yaml as studies/sample.yaml with the overlay studies/NAME.yaml, and print the difference.

    With --table and --pictures, which go with csv_table: look at both, say what they hold, and write the study that fits them.
    """
    from agecascade.study import apply

    columns = {"path": path, "label": label, "sigma": sigma, "gender": gender, "subject": subject, "official": split}
    given = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    if table is not None or pictures is not None or given or genders is not None:
        from agecascade.own_table import study_of

        if drawn or target is not None:
            raise AgecascadeError("--drawn and --target do not go with --table and --pictures; leave one of them away")
        for line in study_of(name, table, pictures, given, genders, Path.cwd()):
            typer.echo(line)
        return
    typer.echo(apply(name, Path.cwd(), drawn=drawn, target=target))


@app.command()
@one_line
def tables(
    runs: Annotated[bool, typer.Option("--runs", help="Over all DVC experiments and MLflow runs.")] = False,
    papers: Annotated[bool, typer.Option("--papers", help="The papers' tables that were run, over all runs, theirs beside ours.")] = False,
) -> None:
    """Print the MAE tables of the current pipeline, or of all runs."""
    if runs and papers:
        raise AgecascadeError("--runs and --papers: give one of them")
    if runs:
        from agecascade.evaluation.runs import table_over_runs as text
    elif papers:
        from agecascade.evaluation.papers import tables_beside_papers as text
    else:
        from agecascade.evaluation.tables import current_tables as text
    typer.echo(text(Path.cwd()))


def _rows_as_text(frames: Iterator[pd.DataFrame], rows: Counter[str]) -> Iterator[pd.DataFrame]:
    """Frames for a CSV file: a box is four numbers separated by spaces. Counts rows with a face and with an error in `rows`."""
    for frame in frames:
        rows["errors"] += int(frame["error"].notna().sum())
        rows["faces"] += int(frame["error"].isna().sum())
        yield frame.assign(box=[None if box is None else " ".join(map(str, box)) for box in frame["box"]])
