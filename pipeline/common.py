"""The entry point of all stage scripts."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from agecascade.errors import AgecascadeError


def run(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments. An error that the user can act on, a full disk and Ctrl-C end it with one line."""
    try:
        main(*sys.argv[1:])
    except AgecascadeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; run it again, it continues with what is finished", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        place = error.filename or "`df` tells where"
        sys.exit(f"error: no space left on the disk ({place}); make room and run the stage again: nothing half-written is left")
