"""Which listed path a picture fits: one of the two ends in the other, so that a list may count from any folder."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence
from functools import cached_property


def normal(path: str) -> str:
    """A path as archives write it: slashes, no drive, root or dots, accents as part of their letter; "" for none."""
    path = unicodedata.normalize("NFC", path).replace("\\", "/")
    if path[1:2] == ":":
        path = path[2:]
    return "/".join(part for part in posixpath.normpath(path).split("/") if part not in ("", ".", ".."))


class Tails:
    """Distinct normal paths, found by as many last parts as tell them apart."""

    def __init__(self, paths: Sequence[str]) -> None:
        split = [tuple(path.split("/")) for path in paths]
        self._depth = 1
        while len({parts[-self._depth :] for parts in split}) < len(split):
            self._depth += 1
        self._paths = {parts[-self._depth :]: path for parts, path in zip(split, paths, strict=True)}

    def path_of(self, member: str) -> str | None:
        """The listed path that the member fits, the longest if there are several; None where nothing tells which one."""
        name = normal(member)
        parts = tuple(name.split("/"))
        for depth in range(min(self._depth, len(parts)), 0, -1):
            path = self._paths.get(parts[-depth:])
            if path is not None and (f"/{name}".endswith(f"/{path}") or f"/{path}".endswith(f"/{name}")):
                return path
        return self._shorter.get(parts) if len(parts) < self._depth else None

    @cached_property
    def _shorter(self) -> dict[tuple[str, ...], str | None]:
        """By fewer last parts than tell all apart; None where several paths end so."""
        found: dict[tuple[str, ...], str | None] = {}
        for path in self._paths.values():
            parts = tuple(path.split("/"))
            for depth in range(1, min(self._depth, len(parts))):
                found[parts[-depth:]] = None if parts[-depth:] in found else path
        return found
