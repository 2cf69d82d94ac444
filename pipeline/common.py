"""The entry point of all stage scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from agecascade.errors import AgecascadeError, os_error_line, takes_nothing


def run(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments.

    An error that the user can act on, a full disk, a folder without the right to write, Ctrl-C, and an input that is missing or damaged end
    it with one line.
    """
    try:
        main(*sys.argv[1:])
    except AgecascadeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; run it again, it continues with what is finished", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if not takes_nothing(error):
            blame_input()
            raise
        sys.exit(f"error: {os_error_line(error, 'run the stage again')}")
    except Exception:
        blame_input()
        raise


def blame_input() -> None:
    """End the stage with one line where one of its inputs is missing or damaged; else return: the fault is the program's."""
    from agecascade.io.stage_inputs import faulty_input

    if fault := faulty_input(Path(sys.argv[0]).stem, sys.argv[1] if len(sys.argv) > 1 else None):
        sys.exit(f"error: {fault}")
