"""Base class of all blocks of params.yaml, the names and numbers that they take, the YAML reader, and error messages that name the key."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from agecascade.errors import ParamsError, unknown_name

SCRATCH = "scratch"  # the step before all others: freshly initialised networks
REGRESS = "regress"  # the folder of all regressors' predictions, beside those of the steps

LONGEST = 64  # characters
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{LONGEST - 1}}}")
_STUDY = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")
RULE = f"a name is 1 to {LONGEST} of the letters a-z and A-Z, digits, _ and -, and begins with a letter"
STUDY_RULE = f"a study's name is 1 to {LONGEST} of the letters a-z and A-Z, digits, ., _ and -, and begins with a letter or digit"
RESERVED = {
    SCRATCH: "of the freshly initialised networks",
    REGRESS: "of the folder of all regressors' predictions",
}

# blocks whose keys share a folder: models/<name>, and for steps data/predictions/<name>
MODELS = ("weights", "pretrain", "search", "cascade")
ALONE = ("datasets", "features", "screen", "explain", "regressors")

SHOWN = 60  # characters of a value in an error line
LARGEST = 1e15  # the largest size of any number: above it floats miss whole numbers, and no setting means so much
SEEDS = 2**32  # NumPy's and scikit-learn's seeds are below

Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Size = Annotated[int, Field(ge=16, le=4096)]  # pixels of a square picture


TYPED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # also of the descriptions of models


class Block(BaseModel):
    """A mapping of params.yaml: strict types (YAML 1.1 reads 1e-4 as text), finite numbers, no unknown keys, immutable."""

    model_config = ConfigDict(**TYPED, frozen=True, populate_by_name=True)


def read_yaml(path: Path | str) -> Any:
    """The plain content of a YAML 1.2 file, in which 1e-4 is a number."""
    from ruamel.yaml import YAML, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(Path(path))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing; `agecascade study sample` writes the default") from None
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror or error}") from None
    except (YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes that are no UTF-8, numbers of 5,000 digits
        raise ParamsError(f"{path} is no YAML: {' '.join(str(error).split())}") from None


def number_faults(content: Any, key: str = "") -> list[str]:
    """One line for each number anywhere in plain content that is not finite or too large, naming its key.

    Options of readers, methods and regressors are checked by these, but only once the study's blocks have passed.
    """
    if isinstance(content, dict):
        return [line for name, value in content.items() for line in number_faults(value, f"{key}.{name}" if key else str(name))]
    if isinstance(content, list):
        return [line for place, value in enumerate(content) for line in number_faults(value, f"{key}.{place}")]
    if isinstance(content, (int, float)) and not abs(content) <= LARGEST:  # NaN is not below either
        return [f"{key}: a number between -{LARGEST:g} and {LARGEST:g} is wanted, found {_shown(content)}"]
    return []


def _shown(value: Any) -> str:
    """A value as an error line shows it."""
    return f"{type(value).__name__} {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"of {int(value.bit_length() * math.log10(2)) + 1} digits"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def error_lines(error: ValidationError, root: type[Block]) -> list[str]:
    """One line per error of validating content as `root`; each names the key, and the nearest known one."""
    return [_line(fault, root) for fault in error.errors()]


def _line(fault: Any, root: type[Block]) -> str:
    """One line for one of pydantic's errors."""
    place = fault["loc"][:-2] if fault["loc"][-1:] == ("[key]",) else fault["loc"]  # of a key that is no name: its block
    location = ".".join(str(part) for part in place)
    if fault["type"] == "extra_forbidden":
        parent, key = fault["loc"][:-1], str(fault["loc"][-1])
        return f"{location}: {unknown_name('key', key, _known_keys(root, parent))}"
    if fault["type"] == "missing":
        return f"{location}: this key is missing"
    value = fault.get("input")
    shown = "" if isinstance(value, (dict, list)) and len(str(value)) > SHOWN else f", found {type(value).__name__} {_short(value)}"
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


def _study_name(name: str) -> str:
    if not _STUDY.fullmatch(name):
        raise ValueError(f"{STUDY_RULE}, not {shown(name)}")
    return name


StudyName = Annotated[str, AfterValidator(_study_name)]  # an MLflow experiment, and where it has an overlay a file


def _label(text: str) -> str:
    if not text.strip() or len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"a name in tables and plots is 1 to {LONGEST} characters that can be seen, not {shown(text)}")
    return text


Label = Annotated[str, AfterValidator(_label)]  # what a table or plot shows as it is written, such as the name of a paper


def shown(name: str) -> str:
    """A name as an error line shows it: quoted, its control characters escaped, and not without end."""
    return repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}...")


def name_faults(blocks: Mapping[str, Iterable[str]]) -> list[str]:
    """One line for each name that cannot be one, or that another takes; blocks: {block of params.yaml: its keys}.

    A file system that ignores case would put two names that differ in case alone into one file.
    """
    faults = [fault for block, names in blocks.items() for name in names if (fault := _fault(block, name))]
    for group in (MODELS, *((block,) for block in ALONE)):
        faults += _twins([(block, name) for block in group for name in blocks.get(block, ())])
    return faults


def _fault(block: str, name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return f"{block}: {RULE}, not {shown(name)}"
    if block in MODELS and name.lower() in RESERVED:
        return f"{block}.{name}: {name.lower()} is the name {RESERVED[name.lower()]}; take another"
    return None


def _twins(named: list[tuple[str, str]]) -> list[str]:
    first: dict[str, tuple[str, str]] = {}
    faults = []
    for block, name in named:
        other_block, other = first.setdefault(name.lower(), (block, name))
        if (other_block, other) != (block, name):
            difference = "has this name too" if other == name else "differs in upper and lower case alone, which some file systems ignore"
            faults.append(f"{block}.{name}: {other_block}.{other} {difference}; take another name")
    return faults
