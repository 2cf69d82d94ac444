"""`agecascade predict` and `explain`: pictures in, a row for each face out."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agecascade.cli.command import SOME_FAILED, STATUSES, app, harmless, one_line
from agecascade.errors import FaceError, ModelError, OutputError

if TYPE_CHECKING:
    import pandas as pd

    from agecascade.cli.screen import Screen
    from agecascade.estimator import Columns, Estimator
    from agecascade.imaging.sources import Sources
    from agecascade.io.user_output import UserOutput

COLUMNS = (
    "Columns: path; frame, of a video; face, from 0, the largest; value, the estimate in the unit of the labels that the model learned: "
    "years, where it learned ages; low and high, its interval, which holds 80 % of such faces; left, top, right and bottom of the face, "
    "in pixels; score of the detector; note, what to know of the model; error, why there is no value."
)

# options that predict and explain share
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Pictures, folders, quoted patterns, zip and tar archives, videos, camera:0, or - for a list of paths on standard input.",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        readable=False, help="Folder with a model.json, or a parent with one model; folds are averaged. By default the released one."
    ),
]
TrainedModel = Annotated[
    Path | None, typer.Option(readable=False, help="As of `predict`, but of a trained model: an exported one has no layers.")
]
OldInput = Annotated[Path | None, typer.Option("--input", readable=False, hidden=True, help="The earlier form of INPUT.")]
Aligned = Annotated[bool, typer.Option("--aligned", help="The pictures are face crops already; no face is searched for.")]
MaxSide = Annotated[int | None, typer.Option(help="Longer photos are reduced to this for detection; by default as in training.")]
MinScore = Annotated[float | None, typer.Option(help="The detector's score from which a face counts; by default as in training.")]
Every = Annotated[int, typer.Option(help="Of a video or a camera every n-th frame.")]
Frames = Annotated[int | None, typer.Option(help="At most so many frames of each video; of a camera exactly so many, by default 1.")]
Workers = Annotated[int | None, typer.Option(help="Threads that read pictures and find faces; by default one for each core, at most 4.")]
Device = Annotated[str | None, typer.Option(help="Where the network runs, such as cpu or cuda; by default the fastest that is there.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names in a folder that has some.")]


@app.command(epilog=f"{COLUMNS} {STATUSES}")
@one_line
def predict(
    inputs: Inputs = None,
    model: Model = None,
    output: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            help=(
                "A file: .csv, .csv.gz, .tsv, .txt, .json, .jsonl or .parquet; - for standard output. Without it: a table on the screen."
            ),
        ),
    ] = None,
    source: OldInput = None,
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
    distribution: Annotated[bool, typer.Option("--distribution", help="Also write the probability of each label of the model.")] = False,
    landmarks: Annotated[bool, typer.Option("--landmarks", help="Also write x and y of eyes, nose and corners of the mouth.")] = False,
    draw: Annotated[
        Path | None, typer.Option(readable=False, help="A new or empty folder for the pictures with boxes, values and intervals.")
    ] = None,
    explain_too: Annotated[
        bool, typer.Option("--explain", help="With --draw: also draw what the model looked at in each face; `explain` has more kinds.")
    ] = False,
    overwrite: Overwrite = False,
    every: Every = 30,
    frames: Frames = None,
    workers: Workers = None,
    device: Device = None,
    batch_size: Annotated[int, typer.Option(help="Faces that the network sees at once.")] = 256,
) -> None:
    """Estimate the age of every face in pictures: one row for each.

    agecascade predict photos/ --output ages.csv
    """
    _require_detection(aligned, max_side, min_score)
    if overwrite and draw is None:
        raise OutputError("--overwrite: is of the pictures that --draw writes; a file of rows is replaced without it")
    sources = _sources(inputs, source, every, frames)
    target = _target(output, sources, model)
    folder = _folder(draw, "--draw", sources, model, overwrite)
    _refuse_output_among_drawn(output, draw)
    if explain_too and draw is None:
        raise FaceError("--explain: name with --draw the folder to write the maps into")
    from agecascade.estimator import Estimator

    estimator = Estimator.load(model, device, max_side=max_side, min_score=min_score).set_params(batch_size=batch_size)
    # a threshold that the model cannot tell ends here, before the bar
    columns = estimator.columns(threshold, challenge, distribution=distribution, landmarks=landmarks, frame=sources.framed)
    if explain_too:
        _require_trained(estimator, "--explain")
    if estimator.note:
        typer.echo(f"warning: {estimator.note}", err=True)
    rows: Counter[str] = Counter()
    with folder.opened() if folder is not None else nullcontext() as place:
        made = _frames(estimator, sources, columns, aligned, _workers(workers), place, explain_too)
        target.write(_counted(made, rows))
    place_name = "screen" if output is None else "standard output" if target.standard else str(output)
    _report(place_name, rows, sources, err=target.standard, more=_explained(estimator, columns, output is None))


@app.command(epilog=STATUSES)
@one_line
def explain(
    inputs: Inputs = None,
    output: Annotated[
        Path | None, typer.Option(readable=False, help="A new or empty folder: a picture for each face, and faces.csv.", show_default=False)
    ] = None,
    model: TrainedModel = None,
    source: OldInput = None,
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
    overwrite: Overwrite = False,
    every: Every = 30,
    frames: Frames = None,
    workers: Workers = None,
    device: Device = None,
) -> None:
    """Draw what a model looks at in each face, and write a table of the faces."""
    if output is None:
        raise typer.BadParameter("name the folder to write into", param_hint="--output")
    _require_detection(aligned, max_side, min_score)
    sources = _sources(inputs, source, every, frames)
    target = _folder(output, "--output", sources, model, overwrite)
    assert target is not None
    from agecascade.estimator import Estimator

    estimator = Estimator.load(model, device, max_side=max_side, min_score=min_score)
    _require_trained(estimator, "explain")
    from agecascade.explain.photos import TABLE, Explainer
    from agecascade.io.user_output import UserOutput

    explainer = Explainer(estimator, kind or (), layer)
    rows: Counter[str] = Counter()
    with _bar(sources, "explain") as bar, target.opened() as folder:
        batches = explainer.batches(bar, folder, aligned, frame=sources.framed, workers=_workers(workers))
        UserOutput(folder / TABLE).write(_counted(batches, rows))
    _report(str(output), rows, sources, err=False)


def _require_detection(aligned: bool, max_side: int | None, min_score: float | None) -> None:
    """Raise FaceError where an option of detection is given for crops, in which no face is searched for."""
    for option, value in (("--max-side", max_side), ("--min-score", min_score)):
        if aligned and value is not None:
            raise FaceError(f"{option} is of the search for faces, and --aligned means that there is none; leave one of them away")


def _sources(inputs: list[str] | None, source: Path | None, every: int, frames: int | None) -> Sources:
    """What the inputs name; raises FaceError where one is nothing that is read."""
    from agecascade.imaging.sources import Sources

    if source is not None:
        typer.echo("note: --input is the earlier form, and goes with the next version; name the INPUT without it", err=True)
    names = [*(inputs or []), *([str(source)] if source is not None else [])]
    if not names:
        raise typer.BadParameter("name pictures, folders, archives or videos", param_hint="INPUT...")
    listed = getattr(sys.stdin, "buffer", None)
    return Sources(names, every=every, frames=frames, listed=listed)


def _target(output: Path | None, sources: Sources, model: Path | None) -> UserOutput | Screen:
    """Where the rows go; raises OutputError where they cannot."""
    if output is None:
        from agecascade.cli.screen import Screen

        return Screen()
    from agecascade import released
    from agecascade.io.user_output import UserOutput

    if str(output) == "-" and sys.stdout.name == os.devnull:
        raise OutputError("--output -: the standard output is closed; name a file")
    package = Path(released.__file__).parent  # the model where none is named, and the detector
    return UserOutput(output, [*sources.paths, *_files_of(model)], folders=[package, *([] if model is None else [model])])


def _folder(typed: Path | None, option: str, sources: Sources, model: Path | None, overwrite: bool) -> Any:
    """A folder to write pictures into, or None where none is named; raises OutputError where it cannot be."""
    if typed is None:
        return None
    from agecascade.io.user_output import UserFolder

    return UserFolder(typed, [*sources.places, *([model] if model is not None else [])], overwrite, option)


def _refuse_output_among_drawn(output: Path | None, draw: Path | None) -> None:
    """Raise OutputError where the rows would be written into the new folder of --draw, which appears as a whole at the end."""
    if output is None or draw is None or draw.exists():
        return
    rows, folder = (Path(os.path.realpath(path)) for path in (output, draw))
    if rows.is_relative_to(folder) or folder.is_relative_to(rows):
        raise OutputError(f"--output {output}: is in the way of --draw {draw}, a new folder; write the rows beside it")


def _require_trained(estimator: Estimator, option: str) -> None:
    """Raise ModelError where there are no layers to explain: before torch is asked for, which would not help."""
    if any(fold.card.exported is not None for fold in estimator.folds):
        raise ModelError(
            f"{option}: an exported model, such as the one of the package, has no layers to look into; name a trained one "
            "(--model models/<step>/<row>)"
        )


def _workers(given: int | None) -> int:
    from agecascade.io.threads import usable_cores

    return min(4, usable_cores()) if given is None else given


def _bar(sources: Sources, title: str) -> Any:
    from tqdm import tqdm

    return tqdm(sources, desc=title, unit="picture", total=sources.total)


def _frames(
    estimator: Estimator, sources: Sources, columns: Columns, aligned: bool, workers: int, folder: Path | None, explained: bool
) -> Iterator[pd.DataFrame]:
    """The rows of all pictures, which are drawn into a folder where there is one."""
    drawer = None
    if folder is not None:
        from agecascade.cli.drawing import Drawer

        explainer = None
        if explained:
            from agecascade.explain.photos import Explainer

            explainer = Explainer.quickest(estimator)
        drawer = Drawer(folder, estimator.grid, explainer)
    with _bar(sources, "predict") as bar:
        for rows in estimator.face_batches(bar, aligned, workers=workers, shown=drawer.shown if drawer else None):
            frame = estimator.valued(rows, columns)
            yield frame if drawer is None else drawer(rows, frame)


def _explained(estimator: Estimator, columns: Columns, screen: bool) -> str:
    """What the numbers mean, behind the counts; in a file they are for those who look it up."""
    coverage, grid = estimator.coverage, estimator.grid
    text = "\nvalue: the estimate, in years where the model learned ages" if screen else ""
    text += f"; low to high: its {100 * coverage:g} % interval" if screen and coverage is not None else ""
    if screen:
        asked = [name for name, wanted in (("distribution", columns.distribution), ("landmarks", columns.landmarks)) if wanted]
        return text + (f"; {' and '.join(asked)}: too wide for the screen, --output ages.csv has them" if asked else "")
    return text + (f"; distribution: over the {len(grid)} labels from {grid[0]:g} to {grid[-1]:g}" if columns.distribution else "")


def _report(place: str, rows: Counter[str], sources: Sources, err: bool, more: str = "") -> None:
    """Print what was done; exits with SOME_FAILED where pictures failed."""
    faces, pictures = rows["faces"], rows["pictures"]
    counts = f"{faces} face{'s' * (faces != 1)} of {pictures} picture{'s' * (pictures != 1)}, rows with an error: {rows['errors']}"
    typer.echo(f"{place}: {counts}{sources.remark}{more}", err=err)
    if rows["failed"]:
        raise typer.Exit(SOME_FAILED)


def _files_of(model: Path | None) -> Iterable[Path]:
    """What a model folder holds, or its folds; not what lies below, for a wrong folder may hold a whole disk."""
    return () if model is None else (path for pattern in ("*", "fold*/*") for path in model.glob(pattern))


def _counted(frames: Iterator[pd.DataFrame], rows: Counter[str]) -> Iterator[pd.DataFrame]:
    """The frames; counts in `rows` those with a face, with an error, pictures, and those that failed.

    Raises FaceError behind the last where every picture failed, so that no file of errors alone takes the place of an earlier one.
    """
    from agecascade.faces.rows import NO_FACE

    first = ""
    for frame in frames:
        wrong = frame["error"].notna()
        failed = wrong & frame["face"].isna() & ~frame["error"].isin(NO_FACE)
        rows["faces"] += int((~wrong).sum())
        rows["errors"] += int(wrong.sum())
        rows["pictures"] += int((frame["face"].isna() | (frame["face"] == 0)).sum())
        rows["failed"] += int(failed.sum())
        if failed.any():
            first = first or "{path}: {error}".format(**frame[failed].iloc[0])
        yield frame
    if rows["pictures"] and rows["failed"] == rows["pictures"]:
        several = f"none of {rows['pictures']} pictures could be read; the first: " if rows["pictures"] > 1 else ""
        raise FaceError(f"{several}{harmless(first)}")
