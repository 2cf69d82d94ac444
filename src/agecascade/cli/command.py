"""The command `agecascade`, and what its commands share: options in groups, those of pictures, one line for each error, exit statuses."""

from __future__ import annotations

import inspect
import itertools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_type_hints
from unicodedata import category

import typer
from typer.core import TyperGroup

from agecascade import __version__
from agecascade.errors import AgecascadeError, FaceError, os_error_line
from agecascade.extras import not_installed

if TYPE_CHECKING:
    from agecascade.imaging.sources import Sources

STATUSES = (
    "Exit status: 0 done; 1 an error or Ctrl-C ended the command, or nothing could be read: one line says why; 2 wrong usage; "
    "3 done, but some pictures failed."
)
SOME_FAILED = 3
MaxSide = Annotated[int | None, typer.Option(help="Longer photos are reduced to this for detection; by default as in training.")]
MinScore = Annotated[float | None, typer.Option(help="The detector's score from which a face counts; by default as in training.")]


class _Commands(TyperGroup):
    """The commands, none of whose options means anything by an empty value: a path of it would be the working folder."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        for before, value in itertools.pairwise([*args, "-"]):
            if before.startswith("--") and (before.endswith("=") or not value.strip()):  # a variable that was never set
                ctx.fail(f"{before.rstrip('=')}: its value is empty")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Age models from archive to MAE table.",
    epilog=STATUSES,
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"agecascade {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")] = False,
) -> None:
    """Age models from archive to MAE table."""


def one_line(command: Callable[..., None]) -> Callable[..., None]:
    """End a command with one line and exit code 1 on an error that the user can act on."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        if "OMP_WAIT_POLICY" not in os.environ:  # before torch: as in pipeline/run
            os.environ.setdefault("GOMP_SPINCOUNT", "5000")
        _stand_in()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a name that its encoding lacks must not end a command whose work is done
                stream.reconfigure(errors="backslashreplace")
        try:
            command(*arguments, **options)
            sys.stdout.flush()
        except AgecascadeError as error:
            fail(str(error))
        except ModuleNotFoundError as error:
            fail(str(not_installed(error, f"agecascade {command.__name__}")))
        except KeyboardInterrupt:
            fail("interrupted; what was finished before stays as it was")
        except BrokenPipeError:
            fail("nobody reads the output any more; it is cut")
        except OSError as error:
            fail(os_error_line(error, "run it again"))

    return wrapped


def in_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters are dataclasses, as typer reads it: each field is a parameter of its own, in the order of the groups.

    A field has a default and the annotation of an option. Raises TypeError where two groups have a field of the same name.
    """
    groups: dict[str, Any] = {name: kind for name, kind in get_type_hints(command).items() if is_dataclass(kind)}
    options: dict[str, inspect.Parameter] = {}
    for group in groups.values():
        hints = get_type_hints(group, include_extras=True)
        for option in fields(group):
            if option.name in options:
                raise TypeError(f"{command.__name__}: two groups have an option {option.name}")
            default = inspect.Parameter.empty if option.default is MISSING else option.default
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            options[option.name] = inspect.Parameter(option.name, kind, default=default, annotation=hints[option.name])

    @wraps(command)
    def flat(**given: Any) -> None:
        command(**{name: group(**{option.name: given[option.name] for option in fields(group)}) for name, group in groups.items()})

    flat.__signature__ = inspect.Signature(list(options.values()))  # type: ignore[attr-defined]  # what typer looks at
    flat.__annotations__ = {name: option.annotation for name, option in options.items()}
    return flat


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


def _stand_in() -> None:
    """Put the null device in the place of a stream that was closed before the start, as by `>&-`: Python has None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # as long as the command


def fail(line: str) -> NoReturn:
    """Print the one line and exit; what still waits for a standard output that takes nothing is dropped."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # no file behind it, as in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for part in f"error: {line}".split("\n"):  # several faults of params.yaml have a line each
        typer.echo(harmless(part), err=True)
    raise typer.Exit(1) from None


def harmless(text: str) -> str:
    """A text without what breaks a line or commands a terminal: such a letter, of a file's name, is shown as a question mark."""
    return "".join(letter if letter.isprintable() or category(letter) == "Zs" else "?" for letter in text)
