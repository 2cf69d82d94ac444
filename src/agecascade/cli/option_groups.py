"""Options by what they are about: a command takes a few groups, and its command line has the options of all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def in_groups(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters are dataclasses, as typer reads it: each field is a parameter of its own, in the order of the groups.

    A field has a default and the annotation of an option. Raises TypeError where two groups have a field of the same name.
    """
    groups = {name: kind for name, kind in get_type_hints(command).items() if is_dataclass(kind)}
    options: dict[str, inspect.Parameter] = {}
    for group in groups.values():
        hints = get_type_hints(group, include_extras=True)
        for option in fields(group):
            if option.name in options:
                raise TypeError(f"{command.__name__}: two groups have an option {option.name}")
            default = inspect.Parameter.empty if option.default is MISSING else option.default
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            options[option.name] = inspect.Parameter(option.name, kind, default=default, annotation=hints[option.name])

    @wraps(command)
    def flat(**given: Any) -> None:
        command(**{name: group(**{option.name: given[option.name] for option in fields(group)}) for name, group in groups.items()})

    flat.__signature__ = inspect.Signature(list(options.values()))  # type: ignore[attr-defined]  # what typer looks at
    flat.__annotations__ = {name: option.annotation for name, option in options.items()}
    return flat
