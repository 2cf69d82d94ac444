"""A params file as `Params`; every fault is one line that names the key and the nearest known one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agecascade.errors import ParamsError, unknown_name
from agecascade.params.block import Block
from agecascade.params.study import Params


def check(content: Any, source: str = "params.yaml") -> Params:
    """The content of a params file as `Params`; raises ParamsError with one line per fault."""
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = [_explain(fault, content) for fault in error.errors()]
        raise ParamsError(f"{source}: " + f"\n{source}: ".join(lines)) from None


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file."""
    return check(read_yaml(path), str(path))


def read_yaml(path: Path | str) -> Any:
    """The plain content of a YAML 1.2 file, in which 1e-4 is a number."""
    from ruamel.yaml import YAML, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(Path(path))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; `agecascade study sample` writes the default") from None
    except YAMLError as error:
        raise ParamsError(f"{path} is no YAML: {' '.join(str(error).split())}") from None


def _explain(fault: Any, content: Any) -> str:
    """One line for one of pydantic's faults."""
    location = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        parent, key = fault["loc"][:-1], str(fault["loc"][-1])
        return f"{location}: {unknown_name('key', key, _known_keys(parent))}"
    if fault["type"] == "missing":
        return f"{location}: this key is missing"
    found = fault.get("input")
    shown = "" if isinstance(found, (dict, list)) and len(str(found)) > 60 else f", found {type(found).__name__} {found!r}"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(found, str) and _is_number(found):
        shown += " (YAML 1.1 tools read it as text: write 1.0e-4, not 1e-4, and no quotes)"
    return f"{location + ': ' if location else ''}{message}{shown if fault['type'] != 'value_error' else ''}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    """The keys that the block at `path` may have."""
    block: Any = Params
    for part in path:
        if isinstance(block, type) and issubclass(block, Block):
            fields = {field.alias or name: field.annotation for name, field in block.model_fields.items()}
            block = fields[str(part)]
        else:  # dict[str, Block]: any name, then the block
            block = block.__args__[1]
        block = _without_none(block)
    return [field.alias or name for name, field in block.model_fields.items()]


def _without_none(annotation: Any) -> Any:
    options = [option for option in getattr(annotation, "__args__", ()) if option is not type(None)]
    return options[0] if len(options) == 1 else annotation
