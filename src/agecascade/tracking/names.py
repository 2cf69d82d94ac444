"""Names and numbers as MLflow takes them, and nested mappings as flat ones."""

from __future__ import annotations

import functools
import hashlib
import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LENGTH = 250  # characters of a name
SHOWN = 3  # names in a message
_REFUSED_CHARACTERS = re.compile(r"[^/\w.\- :]")


class Names:
    """Names as MLflow takes them: letters, digits and `_ - . : /` and spaces, 250 at most, and normal as a path.

    Others are replaced, two names never by the same one.
    """

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}  # {name of the store: name}

    def accepted(self, name: str) -> str:
        """The name itself, or what stands for it."""
        text = posixpath.normpath(_REFUSED_CHARACTERS.sub("_", name).lstrip("/") or "_")
        text = "/".join("_" if part in (".", "..") else part for part in text.split("/"))
        mark = f"-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
        if len(text) > LENGTH:
            text = text[: LENGTH - len(mark)].rstrip("/. ") + mark
        if self._taken.setdefault(text, name) != name:
            text = text[: LENGTH - len(mark)] + mark
            self._taken[text] = name
        return text


def flat(content: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one, joining keys by the separator."""
    entries: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        entries |= flat(value, separator, name + separator) if isinstance(value, Mapping) else {name: value}
    return entries


def nested(entries: Mapping[str, Any], separator: str = "/") -> dict[str, Any]:
    """Split keys at the separator into nested mappings: the reverse of `flat`."""
    content: dict[str, Any] = {}
    for name, value in entries.items():
        *parents, key = name.split(separator)
        functools.reduce(lambda block, parent: block.setdefault(parent, {}), parents, content)[key] = value
    return content


def replaced(names: Iterable[tuple[str, str]]) -> str:
    """A line on names that were replaced, given as (name, what stands for it)."""
    pairs = list(names)
    shown = ", ".join(f"{name!r} as {other!r}" for name, other in pairs[:SHOWN])
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return f"MLflow does not take some names, which are logged otherwise: {shown}{more}"


def as_number(value: Any) -> float | None:
    """A number that a store takes, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def means(trainings: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean of each metric that all trainings have."""
    names = [name for name in (trainings[0] if trainings else {}) if all(as_number(metrics.get(name)) is not None for metrics in trainings)]
    return {name: sum(float(metrics[name] or 0) for metrics in trainings) / len(trainings) for name in names}
