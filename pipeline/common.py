"""The entry point of all stage scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable

from agecascade.errors import AgecascadeError, os_error_line, takes_nothing


def run(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments.

    An error that the user can act on, a full disk, a folder without the right to write, and Ctrl-C end it with one line.
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
            raise
        sys.exit(f"error: {os_error_line(error, 'run the stage again')}")
