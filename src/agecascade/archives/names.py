"""Members' names: as text, with slashes, and whether they are safe to use."""

from __future__ import annotations

import re

_OUTWARD = re.compile(r"/|[A-Za-z]:|(.*/)?\.\.(/|$)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def decoded(name: bytes, otherwise: str = "latin-1") -> str:
    """A name as text: UTF-8, which is what most tools write whatever they declare, else an encoding that takes all bytes."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode(otherwise)


def tidied(name: str) -> str:
    """The name with slashes for backslashes, and without the `./` that some tools put first."""
    return name.replace("\\", "/").removeprefix("./")


def is_litter(name: str) -> bool:
    """Whether it is what systems leave behind: .DS_Store, ._001A02.JPG, __MACOSX/."""
    return name.rpartition("/")[2].startswith(".") or ("__MACOSX" in name and "__MACOSX" in name.split("/"))


def fault(name: str) -> str:
    """Why a member of this name is left out, or ""."""
    if _OUTWARD.match(name):
        return "its name leads out of the archive"
    return "its name holds control characters" if _CONTROL.search(name) else ""


def shown(name: str) -> str:
    """The name on one line."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", name)
