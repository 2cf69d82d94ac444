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
    max_side: Annotated[
        int | None, typer.Option(help="Longer photos are reduced to this for detection; by default as in training.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="The detector's score from which a face counts; by default as in training.")
    ] = None,
) -> None:
    """Write one row per face: path, face, value, low, high, box, score, error."""
    if not source.exists():
        raise FaceError(f"{source} does not exist; --input takes a picture or a folder of pictures")
    from tqdm import tqdm

    from agecascade.estimator import Estimator
    from agecascade.imaging.inputs import Listing, list_pictures
    from agecascade.io.files import write_csv

    listing = list_pictures(source) if source.is_dir() else Listing([source], Counter())
    estimator = Estimator.load(model, max_side=max_side, min_score=min_score)
    rows: Counter[str] = Counter()
    with tqdm(listing.paths, desc="predict", unit="picture") as bar:
        write_csv(output, _rows_as_text(estimator.predict_batches(bar, aligned), rows))
    counts = f"{rows['faces']} faces of {len(listing.paths)} pictures, rows with an error: {rows['errors']}"
    typer.echo(f"{output}: {counts}{listing.remark}")


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
) -> None:
    """Rewrite params.yaml as studies/sample.yaml with the overlay studies/NAME.yaml, and print the difference."""
    from agecascade.study import apply

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
