"""`agecascade predict` and `explain`: pictures in, a row for each face out."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agecascade.cli.command import SOME_FAILED, STATUSES, Photos, app, bar_of, harmless, in_groups, one_line
from agecascade.errors import FaceError, ModelError, OutputError

if TYPE_CHECKING:
    import pandas as pd

    from agecascade.cli.drawing import Drawer
    from agecascade.cli.screen import Screen
    from agecascade.estimator import Columns, Estimator
    from agecascade.imaging.sources import Sources
    from agecascade.io.user_output import UserFolder, UserOutput

COLUMNS = (
    "Columns: path; frame, of a video; face, from 0, the largest; value, the estimate in the unit of the labels that the model learned: "
    "years, where it learned ages; low and high, its interval, which holds 80 % of such faces; left, top, right and bottom of the face, "
    "in pixels; score of the detector; note, what to know of the model; error, why there is no value."
)

Model = Annotated[
    Path | None,
    typer.Option(
        readable=False, help="Folder with a model.json, or a parent with one model; folds are averaged. By default the released one."
    ),
]
Device = Annotated[str | None, typer.Option(help="Where the network runs, such as cpu or cuda; by default the fastest that is there.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names in a folder that has some.")]


@dataclass(frozen=True)
class Answers:
    """What `predict` says of a face, and where."""

    model: Model = None
    output: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            help=(
                "A file: .csv, .csv.gz, .tsv, .txt, .json, .jsonl or .parquet; - for standard output. Without it: a table on the screen."
            ),
        ),
    ] = None
    threshold: Annotated[
        float | None, typer.Option(help="An age, such as 18: also write the probability of having reached it, and a decision.")
    ] = None
    challenge: Annotated[
        float | None,
        typer.Option(help="With --threshold: who is estimated younger is asked for a proof; without it, who may be below the threshold."),
    ] = None
    distribution: Annotated[bool, typer.Option("--distribution", help="Also write the probability of each label of the model.")] = False
    landmarks: Annotated[bool, typer.Option("--landmarks", help="Also write x and y of eyes, nose and corners of the mouth.")] = False
    device: Device = None
    batch_size: Annotated[int, typer.Option(help="Faces that the network sees at once, at most; and rows that are written at once.")] = 256

    def columns(self, estimator: Estimator, frame: bool) -> Columns:
        """Raises ModelError where the model cannot tell the threshold."""
        return estimator.columns(self.threshold, self.challenge, distribution=self.distribution, landmarks=self.landmarks, frame=frame)


@dataclass(frozen=True)
class Drawing:
    """The pictures that `predict` draws."""

    draw: Annotated[
        Path | None, typer.Option(readable=False, help="A new or empty folder for the pictures with boxes, values and intervals.")
    ] = None
    explain_too: Annotated[
        bool, typer.Option("--explain", help="With --draw: also draw what the model looked at in each face; `explain` has more kinds.")
    ] = False
    overwrite: Overwrite = False

    def folder(self, sources: Sources, answers: Answers) -> UserFolder | None:
        """Where the pictures go, if anywhere; raises OutputError or FaceError where the options do not fit."""
        if self.draw is None and self.overwrite:
            raise OutputError("--overwrite: is of the pictures that --draw writes; a file of rows is replaced without it")
        if self.draw is None and self.explain_too:
            raise FaceError("--explain: name with --draw the folder to write the maps into")
        _refuse_output_among_drawn(answers.output, self.draw)
        return None if self.draw is None else _folder(self.draw, "--draw", sources, answers.model, self.overwrite)


@dataclass(frozen=True)
class Maps:
    """What `explain` draws, and where."""

    output: Annotated[
        Path | None, typer.Option(readable=False, help="A new or empty folder: a picture for each face, and faces.csv.", show_default=False)
    ] = None
    model: Annotated[
        Path | None, typer.Option(readable=False, help="As of `predict`, but of a trained model: an exported one has no layers.")
    ] = None
    kind: Annotated[
        list[str] | None,
        typer.Option(help="score_map, grad_cam, occlusion or comparison_ages; several times for several. By default all the model has."),
    ] = None
    layer: Annotated[str | None, typer.Option(help="Of Grad-CAM: last (the default), a block such as block4, or the path of a module.")] = (
        None
    )
    device: Device = None
    overwrite: Overwrite = False


@app.command(epilog=f"{COLUMNS} {STATUSES}")
@one_line
@in_groups
def predict(answers: Answers, photos: Photos, drawing: Drawing) -> None:
    """Estimate the age of every face in pictures: one row for each.

    agecascade predict photos/ --output ages.csv
    """
    sources = photos.sources()
    target = _target(answers.output, sources, answers.model)
    folder = drawing.folder(sources, answers)
    from agecascade.estimator import Estimator

    several = photos.share_cores(sources)
    estimator = Estimator.load(answers.model, answers.device, max_side=photos.max_side, min_score=photos.min_score, beside=several)
    estimator.set_params(batch_size=answers.batch_size)
    columns = answers.columns(estimator, sources.framed)  # a threshold that the model cannot tell ends here, before the bar
    if drawing.explain_too:
        _require_trained(estimator, "--explain")
    if estimator.note:
        typer.echo(f"warning: {estimator.note}", err=True)
    rows: Counter[str] = Counter()
    with folder.opened() if folder is not None else nullcontext() as place:
        drawer = None if place is None else _drawer(estimator, place, drawing.explain_too)
        target.write(_counted(_frames(estimator, sources, columns, photos, drawer), rows))
    place_name = "screen" if answers.output is None else "standard output" if target.standard else str(answers.output)
    _report(place_name, rows, sources, err=target.standard, more=_explained(estimator, columns, answers.output is None))


@app.command(epilog=STATUSES)
@one_line
@in_groups
def explain(maps: Maps, photos: Photos) -> None:
    """Draw what a model looks at in each face, and write a table of the faces."""
    if maps.output is None:
        raise typer.BadParameter("name the folder to write into", param_hint="--output")
    sources = photos.sources()
    target = _folder(maps.output, "--output", sources, maps.model, maps.overwrite)
    from agecascade.estimator import Estimator

    estimator = Estimator.load(maps.model, maps.device, max_side=photos.max_side, min_score=photos.min_score)
    _require_trained(estimator, "explain")
    from agecascade.explain.photos import TABLE, Explainer
    from agecascade.io.user_output import UserOutput

    explainer = Explainer(estimator, maps.kind or (), maps.layer)
    rows: Counter[str] = Counter()
    with bar_of(sources, "explain") as bar, target.opened() as folder:
        batches = explainer.batches(bar, folder, photos.aligned, frame=sources.framed, workers=photos.threads)
        UserOutput(folder / TABLE).write(_counted(batches, rows))
    _report(str(maps.output), rows, sources, err=False)


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


def _folder(typed: Path, option: str, sources: Sources, model: Path | None, overwrite: bool) -> UserFolder:
    """A folder to write pictures into; raises OutputError where it cannot be."""
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
    if any(card.exported is not None for card in estimator.cards):
        raise ModelError(
            f"{option}: an exported model, such as the one of the package, has no layers to look into; name a trained one "
            "(--model models/<step>/<row>)"
        )


def _drawer(estimator: Estimator, folder: Path, explained: bool) -> Drawer:
    """What draws into a folder, with a map of each face where they are explained too."""
    from agecascade.cli.drawing import Drawer

    if not explained:
        return Drawer(folder, estimator.grid, None)
    from agecascade.explain.photos import Explainer

    return Drawer(folder, estimator.grid, Explainer.quickest(estimator))


def _frames(estimator: Estimator, sources: Sources, columns: Columns, photos: Photos, drawer: Drawer | None) -> Iterator[pd.DataFrame]:
    """The rows of all pictures, which are drawn where there is a drawer."""
    shown = drawer.shown if drawer else None
    with (
        bar_of(sources, "predict") as bar,
        closing(estimator.valued_batches(bar, columns, photos.aligned, workers=photos.threads, shown=shown)) as batches,
    ):
        for rows, frame in batches:
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
