"""A published file: its name, where it comes from, and what proves that it is the published one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a data set or a model needs, with its address or what to do where there is none."""

    file: str  # name in data/raw/<name>/, in the mirror and in archives/
    url: str | None = None
    sha256: str | None = None
    instructions: str = ""  # for a person: where to get it, and which file
    size: int | None = None  # bytes, where the publisher tells them
