"""`agecascade predict` and `explain`: pictures in, a row for each face out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agecascade.cli.command import SOME_FAILED, STATUSES, app, one_line
from agecascade.errors import FaceError

if TYPE_CHECKING:
    import pandas as pd

    from agecascade.imaging.inputs import Listing

NO_FACE = ("no face found", "the points found make no face")  # such a picture has not failed

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
