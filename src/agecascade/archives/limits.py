"""What is wrong with content, and how much of it is read at most: an archive must fill neither the memory nor the disk."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from agecascade.errors import ArchiveError

MEMBER_LIMIT = 512 << 20  # bytes of one member
RATIO, RATIO_FROM = 200, 16 << 20  # a member of more than 16 MiB is compressed to a 200th at most
MEMORY_LIMIT = 256 << 20  # of an xz decoder: its default at the highest level takes 65 MiB
SPOOL_MEMORY, SPOOL_LIMIT = 64 << 20, 8 << 30  # bytes of a nested zip file that is copied, in memory and in all
DEPTH = 3  # archives inside the outer one
PIECE = 128 << 10  # bytes read at once
AHEAD = 2 * PIECE  # compressed bytes that decoders and buffers may have taken before they are asked for


class Damaged(Exception):
    """Content is cut, spoilt or of no known form; the message says how."""


class Locked(Exception):
    """Content is whole, but no program without a password or another library reads it; the message says why."""


class Unsafe(Exception):
    """Content is never read in whole, for it would fill the memory or the disk; the message says why."""


FAULTS = (Damaged, Locked, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)


def told(error: BaseException, path: str, member: str = "") -> ArchiveError:
    """One line for a person about one of FAULTS."""
    where = f"{path}, member {member}," if member else f"{path}"
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Locked):
        return ArchiveError(f"{where} {reason}; unpack it by hand and put the folder in its place")
    if isinstance(error, OSError) and error.errno is not None:  # the system's, not a decoder's
        return ArchiveError(f"{where} cannot be read: {reason}")
    return ArchiveError(f"{where} is truncated, damaged or no archive ({reason}); fetch it again")


@contextmanager
def faults_told(path: str, member: str = "") -> Iterator[None]:
    """Turn what damaged content raises into one ArchiveError that names the file."""
    try:
        yield
    except FAULTS as error:
        raise told(error, path, member) from error


def too_large(size: int) -> str:
    """Why a member is not read, or ""."""
    return f"it has {size:,} bytes, more than the {MEMBER_LIMIT:,} that are read of a member" if size > MEMBER_LIMIT else ""


def too_dense(size: int, packed: int) -> str:
    """Why a member that `packed` bytes hold is not read, or ""."""
    if size > RATIO_FROM and size > RATIO * packed:
        return f"it is compressed more than {RATIO}-fold, to {packed:,} of {size:,} bytes, as a bomb is"
    return ""
