"""Base class of all blocks of params.yaml, the YAML reader, and error messages with the key and the nearest known one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agecascade.errors import ParamsError, unknown_name


class Block(BaseModel):
    """A mapping of params.yaml: strict types (YAML 1.1 reads 1e-4 as text), no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


def read_yaml(path: Path | str) -> Any:
    """The plain content of a YAML 1.2 file, in which 1e-4 is a number."""
    from ruamel.yaml import YAML, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(Path(path))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; `agecascade study sample` writes the default") from None
    except YAMLError as error:
        raise ParamsError(f"{path} is no YAML: {' '.join(str(error).split())}") from None


def error_lines(error: ValidationError, root: type[Block]) -> list[str]:
    """One line per error of validating content as `root`; each names the key, and the nearest known one."""
    return [_line(fault, root) for fault in error.errors()]


def _line(fault: Any, root: type[Block]) -> str:
    """One line for one of pydantic's errors."""
    location = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        parent, key = fault["loc"][:-1], str(fault["loc"][-1])
        return f"{location}: {unknown_name('key', key, _known_keys(root, parent))}"
    if fault["type"] == "missing":
        return f"{location}: this key is missing"
    value = fault.get("input")
    shown = "" if isinstance(value, (dict, list)) and len(str(value)) > 60 else f", found {type(value).__name__} {value!r}"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(value, str) and _is_number(value):
        shown += " (YAML 1.1 tools read it as text: write 1.0e-4, not 1e-4, and no quotes)"
    return f"{location + ': ' if location else ''}{message}{shown if fault['type'] != 'value_error' else ''}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _known_keys(root: type[Block], path: tuple[Any, ...]) -> list[str]:
    """The keys that the block at `path` below `root` may have."""
    block: Any = root
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
