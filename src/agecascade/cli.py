"""The command line: `agecascade predict | explain | datasets | study | tables`."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from agecascade.errors import AgecascadeError, FaceError, os_error_line

if TYPE_CHECKING:
    import pandas as pd

    from agecascade.imaging.inputs import Listing

STATUSES = (
    "Exit status: 0 done; 1 an error or Ctrl-C ended the command, one line says why; 2 wrong usage; 3 done, but some pictures failed."
)
SOME_FAILED = 3
NO_FACE = ("no face found", "the points found make no face")  # such a picture has not failed

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Age models from archive to MAE table.",
    epilog=STATUSES,
)


def one_line(command: Callable[..., None]) -> Callable[..., None]:
    """End a command with one line and exit code 1 on an error that the user can act on."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a name that its encoding lacks must not end a command whose work is done
                stream.reconfigure(errors="backslashreplace")
        try:
            command(*arguments, **options)
            sys.stdout.flush()
        except AgecascadeError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail("interrupted; what was finished before stays as it was")
        except BrokenPipeError:
            _fail("nobody reads the output any more; it is cut")
        except OSError as error:
            _fail(os_error_line(error, "run it again"))

    return wrapped


def _fail(line: str) -> NoReturn:
    """Print the one line and exit; what still waits for a standard output that takes nothing is dropped."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # no file behind it, as in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    typer.echo(f"error: {line}", err=True)
    raise typer.Exit(1) from None


# options that predict and explain share
Pictures = Annotated[Path, typer.Option("--input", readable=False, help="A picture, or a folder, searched with all its subfolders.")]
Aligned = Annotated[bool, typer.Option("--aligned", help="The pictures are face crops already; no face is searched for.")]
MaxSide = Annotated[int | None, typer.Option(help="Longer photos are reduced to this for detection; by default as in training.")]
MinScore = Annotated[float | None, typer.Option(help="The detector's score from which a face counts; by default as in training.")]


@app.command(epilog=STATUSES)
@one_line
def predict(
    model: Annotated[Path, typer.Option(readable=False, help="Folder with a model.json, or its parent: then the folds are averaged.")],
    source: Pictures,
    output: Annotated[
        Path,
        typer.Option(readable=False, help="File to write: .csv, .csv.gz, .tsv, .txt, .json, .jsonl or .parquet; - for standard output."),
    ],
    aligned: Aligned = False,
    max_side: MaxSide = None,
    min_score: MinScore = None,
    threshold: Annotated[
        float | None, typer.Option(help="An age, such as 18: also write the probability of having reached it, and a decision.")
    ] = None,
    challenge: Annotated[
        float | None,
        typer.Option(help="With --threshold: who is estimated younger is asked for a proof; without it, who may be below the threshold."),
    ] = None,
) -> None:
    """Write one row per face: path, face, value, low, high, box, score, error; with --threshold also probability and decision."""
    from agecascade.io.user_output import UserOutput

    _require_detection(aligned, max_side, min_score)
    listing = _listing(source)
    target = UserOutput(output, [*listing.paths, *_files_of(model)], folders=[model])
    from tqdm import tqdm

    from agecascade.estimator import Estimator

    estimator = Estimator.load(model, max_side=max_side, min_score=min_score)
    estimator.age_check(threshold, challenge)  # a threshold that the model cannot tell ends here, before the bar
    rows: Counter[str] = Counter()
    with tqdm(listing.paths, desc="predict", unit="picture") as bar:
        target.write(_counted(estimator.predict_batches(bar, aligned, threshold=threshold, challenge=challenge), rows))
    _report("standard output" if target.standard else str(output), rows, listing, err=target.standard)


@app.command(epilog=STATUSES)
@one_line
def explain(
    model: Annotated[
        Path, typer.Option(readable=False, help="Folder with a model.json, or its parent: then the folds' maps are averaged.")
    ],
    source: Pictures,
    output: Annotated[Path, typer.Option(readable=False, help="A new or empty folder: a picture for each face, and faces.csv.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="score_map, grad_cam, occlusion or comparison_ages; several times for several. By default all the model has."),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Of Grad-CAM: last (the default), a block such as block4, or the path of a module.")
    ] = None,
    aligned: Aligned = False,
    max_side: MaxSide = None,
    min_score: MinScore = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names in a folder that has some.")] = False,
) -> None:
    """Draw what a model looks at in each face, and write a table of the faces."""
    from agecascade.io.user_output import UserFolder

    _require_detection(aligned, max_side, min_score)
    listing = _listing(source)
    target = UserFolder(output, [source, model], overwrite)
    from tqdm import tqdm

    from agecascade.estimator import Estimator
    from agecascade.explain.photos import TABLE, Explainer
    from agecascade.io.user_output import UserOutput

    explainer = Explainer(Estimator.load(model, max_side=max_side, min_score=min_score), kind or (), layer)
    rows: Counter[str] = Counter()
    with tqdm(listing.paths, desc="explain", unit="picture") as bar, target.opened() as folder:
        UserOutput(folder / TABLE).write(_counted(explainer.batches(bar, folder, aligned), rows))
    _report(str(output), rows, listing, err=False)


def _require_detection(aligned: bool, max_side: int | None, min_score: float | None) -> None:
    """Raise FaceError where an option of detection is given for crops, in which no face is searched for."""
    for option, value in (("--max-side", max_side), ("--min-score", min_score)):
        if aligned and value is not None:
            raise FaceError(f"{option} is of the search for faces, and --aligned means that there is none; leave one of them away")


def _report(place: str, rows: Counter[str], listing: Listing, err: bool) -> None:
    """Print what was done; exits with SOME_FAILED where pictures failed."""
    faces, pictures = rows["faces"], len(listing.paths)
    counts = f"{faces} face{'s' * (faces != 1)} of {pictures} picture{'s' * (pictures != 1)}, rows with an error: {rows['errors']}"
    typer.echo(f"{place}: {counts}{listing.remark}", err=err)
    if rows["failed"]:
        raise typer.Exit(SOME_FAILED)


def _listing(source: Path) -> Listing:
    """The pictures that --input names; raises FaceError where that is no file and no folder."""
    from agecascade.imaging.inputs import Listing, list_pictures

    if source.is_dir():
        return list_pictures(source)
    if not source.exists():
        raise FaceError(f"{source} does not exist; --input takes a picture or a folder of pictures")
    if not source.is_file():
        raise FaceError(f"{source} is a pipe or a device; --input takes a picture or a folder of pictures: save it as a file first")
    return Listing([source], Counter())


def _files_of(model: Path) -> Iterator[Path]:
    """What a model folder holds, or its folds; not what lies below, for a wrong folder may hold a whole disk."""
    return (path for pattern in ("*", "fold*/*") for path in model.glob(pattern))


def _counted(frames: Iterator[pd.DataFrame], rows: Counter[str]) -> Iterator[pd.DataFrame]:
    """The frames; counts in `rows` those with a face, with an error, and of pictures that failed."""
    for frame in frames:
        wrong = frame["error"].notna()
        rows["faces"] += int((~wrong).sum())
        rows["errors"] += int(wrong.sum())
        rows["failed"] += int((wrong & frame["face"].isna() & ~frame["error"].isin(NO_FACE)).sum())
        yield frame


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
    name: Annotated[str, typer.Argument(help="A file of studies/ without its suffix, or a reader: then a study of its data set is made.")],
    drawn: Annotated[bool, typer.Option("--drawn", help="Few faces, drawn in the publishers' layouts, in place of all data sets.")] = False,
    target: Annotated[str | None, typer.Option(help="For a data set of identities: the reader with labels that it serves.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Throw away what was changed in params.yaml by hand.")] = False,
    table: Annotated[
        Path | None, typer.Option(readable=False, help="csv_table: your table, a CSV file. What it holds decides the study.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(readable=False, help="csv_table: the folder or archive of its pictures.")] = None,
    path: Annotated[str | None, typer.Option(help="The table's column of file names.")] = None,
    label: Annotated[str | None, typer.Option(help="Its column of ages or other numbers.")] = None,
    sigma: Annotated[str | None, typer.Option(help="Its column of the labels' deviations.")] = None,
    gender: Annotated[str | None, typer.Option(help="Its column of genders.")] = None,
    genders: Annotated[str | None, typer.Option(help="What its other values than f, m, female and male mean: 0=female,1=male.")] = None,
    subject: Annotated[str | None, typer.Option(help="Its column of persons: nobody is then in both training and test.")] = None,
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
