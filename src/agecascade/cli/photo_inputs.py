"""The options of `predict` and `explain` about the pictures that are read, and how faces are found in them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agecascade.errors import FaceError

if TYPE_CHECKING:
    from agecascade.imaging.sources import Sources

MaxSide = Annotated[int | None, typer.Option(help="Longer photos are reduced to this for detection; by default as in training.")]
MinScore = Annotated[float | None, typer.Option(help="The detector's score from which a face counts; by default as in training.")]


@dataclass(frozen=True)
class Photos:
    """What is read, and how faces are found in it."""

    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders, quoted patterns, zip and tar archives, videos, camera:0, or - for a list of paths on standard input.",
            show_default=False,
        ),
    ] = None
    source: Annotated[Path | None, typer.Option("--input", readable=False, hidden=True, help="The earlier form of INPUT.")] = None
    aligned: Annotated[bool, typer.Option("--aligned", help="The pictures are face crops already; no face is searched for.")] = False
    max_side: MaxSide = None
    min_score: MinScore = None
    every: Annotated[int, typer.Option(help="Of a video or a camera every n-th frame.")] = 30
    frames: Annotated[int | None, typer.Option(help="At most so many frames of each video; of a camera exactly so many, by default 1.")] = (
        None
    )
    workers: Annotated[
        int | None,
        typer.Option(
            help="Threads that read pictures and find faces, as many beside them compute; by default one for each core, at most 4."
        ),
    ] = None

    def sources(self) -> Sources:
        """What the inputs name; raises FaceError where one is nothing that is read, or an option of detection is given for crops."""
        from agecascade.imaging.sources import Sources

        for option, value in (("--max-side", self.max_side), ("--min-score", self.min_score)):
            if self.aligned and value is not None:
                raise FaceError(f"{option} is of the search for faces, and --aligned means that there is none; leave one of them away")
        if self.source is not None:
            typer.echo("note: --input is the earlier form, and goes with the next version; name the INPUT without it", err=True)
        names = [*(self.inputs or []), *([str(self.source)] if self.source is not None else [])]
        if not names:
            raise typer.BadParameter("name pictures, folders, archives or videos", param_hint="INPUT...")
        listed = getattr(sys.stdin, "buffer", None)
        return Sources(names, every=self.every, frames=self.frames, listed=listed)

    @property
    def threads(self) -> int:
        """How many threads find faces, and how many compute."""
        from agecascade.io.threads import usable_cores

        return min(4, usable_cores()) if self.workers is None else self.workers

    def share_cores(self, sources: Sources) -> bool:
        """Whether several threads look at several pictures: then each call of OpenCV, and of the detector that it makes, takes one core."""
        several = self.threads > 1 and sources.total != 1
        if several:
            import cv2

            cv2.setNumThreads(1)
        return several


def bar_of(sources: Sources, title: str) -> Any:
    """The pictures, counted on the screen."""
    from tqdm import tqdm

    return tqdm(sources, desc=title, unit="picture", total=sources.total)
