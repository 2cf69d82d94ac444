"""Errors that name the file or key at fault and what to do about it; each ends a stage with one line."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_FULL = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is too large",
    errno.EIO: "the disk fails, or takes no more",
}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NUMPY_FULL = re.compile(r"\d+ requested and \d+ written")  # numpy's whole error when a disk is full


class AgecascadeError(Exception):
    """Base of all errors that a user can act on."""


class ParamsError(AgecascadeError):
    """A key of params.yaml is unknown, mistyped or contradicts another."""


class ArchiveError(AgecascadeError):
    """An archive is missing, damaged or of another data set."""


class FetchError(AgecascadeError):
    """A file is neither in the mirror nor in the archives folder, and its publisher does not provide it."""


class RejectRateError(AgecascadeError):
    """More rows or pictures were rejected than `max_reject_rate` allows."""


class FaceError(AgecascadeError):
    """A detector cannot run, or its input is unusable."""


class ComputeError(AgecascadeError):
    """The workers of `compute` cannot start, or were lost."""


class SplitError(AgecascadeError):
    """A split violates its protocol, or its pictures cannot be compared."""


class TrainingError(AgecascadeError):
    """A training cannot start or continue."""


class LossError(TrainingError):
    """A loss or a weight is not a finite number."""


class ModelError(AgecascadeError):
    """A model folder is missing, incomplete or does not fit."""


class RegressorError(AgecascadeError):
    """A regressor or its environment cannot run."""


class OutputError(AgecascadeError):
    """A file that a person named as output cannot be written without a loss, or not in the format of its name."""


class TrackingError(AgecascadeError):
    """The tracking store cannot be read."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One line saying that `name` is no `kind`, with the nearest known ones first."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"unknown {kind} {name!r}; {hint}"


MOST_COLUMNS = 20  # of a table, named in a message


def missing_column(table: str, column: str, columns: Sequence[str]) -> str:
    """One line saying that a table lacks a column, with those that it has and the nearest of them."""
    named = [name for name in columns if name]
    shown = ", ".join(named[:MOST_COLUMNS]) or "none"
    more = f" and {len(named) - MOST_COLUMNS} more" if len(named) > MOST_COLUMNS else ""
    lower = {name.lower(): name for name in named}
    near = get_close_matches(column.lower(), lower, n=1, cutoff=0.5)
    return f"{table} has no column {column!r}; its columns: {shown}{more}" + (f" (nearest: {lower[near[0]]})" if near else "")


def takes_nothing(error: OSError) -> bool:
    """Whether a disk is full or forbids to write: nothing that the code could have done better."""
    return _number(error) in _FULL or error.errno in _FORBIDDEN


def os_error_line(error: OSError, again: str) -> str:
    """An error of the system as one line: what is wrong, which file, what to do before one goes on with `again` ("run the stage again")."""
    place = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    number = _number(error)
    if number in _FULL:
        return f"{_FULL[number]} ({place or '`df` tells where'}); make room and {again}: nothing half-written is left"
    reason = (os.strerror(number) if number else " ".join(str(error).split())).lower()
    where = f"{place}: " if place else ""
    if number in _FORBIDDEN:
        return f"{where}{reason}; get the right to write or read there (`ls -ld` shows whose it is), or use another place, and {again}"
    return f"{where}{reason}; check the path, and {again}"


def _number(error: OSError) -> int:
    return error.errno or (errno.ENOSPC if _NUMPY_FULL.search(str(error)) else 0)
