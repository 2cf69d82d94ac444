"""What a stage reads, by dvc.yaml, and which of it is missing or damaged: looked at when a stage fails in a way that nobody foresaw."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MADE_BY_STAGES = ("data/", "models", "metrics", "plots")
NO_DATA = "data/code/"  # lists of code
MISSING = "is missing"


def faulty_input(stage: str, item: str | None, root: Path = Path()) -> str | None:
    """One line on the first input of a stage that is missing, or that is no whole file of its kind; None where all are.

    item: that of a stage with several. Files are looked at in their order; of tables the footer alone is read.
    """
    for path in inputs_of(stage, item, root):
        place = root / path
        files = [place] if not place.is_dir() else sorted(file for file in place.rglob("*") if file.is_file())
        if not files:
            return f"{path} is empty; `dvc repro {stage}{f'@{item}' if item else ''}` makes it first"
        for file in files:
            if fault := fault_of(file):
                remove = "" if fault == MISSING else "remove it, and "
                return f"{file.relative_to(root)} {fault}; {remove}`dvc repro` makes it again"
    return None


def inputs_of(stage: str, item: str | None, root: Path = Path()) -> Iterator[str]:
    """The files and folders that other stages made for this one. None where dvc.yaml or params.yaml cannot be read."""
    from ruamel.yaml import YAML, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        body = yaml.load(root / "dvc.yaml")["stages"][stage]
        block = yaml.load(root / "params.yaml")[body["foreach"][2:-1]][item] if "foreach" in body else {}
        deps = [path for path in body.get("do", body)["deps"] if isinstance(path, str)]
    except (OSError, YAMLError, LookupError, TypeError, ValueError):
        return
    for path in deps:
        filled = filled_in(path, item, block)
        if filled.startswith(MADE_BY_STAGES) and not filled.startswith(NO_DATA):
            yield filled


def filled_in(path: str, item: str | None, block: Mapping[str, Any]) -> str:
    """A path of dvc.yaml for one item of a stage, whose block of params.yaml this is."""
    path = re.sub(r"\$\{item\.(\w+)\}", lambda key: str(block[key[1]]), path)
    return path.replace("${key}", item or "")


def fault_of(path: Path) -> str | None:
    """What is wrong with a file that a stage wrote, or None; the content of pictures and weights is not read."""
    if not path.exists():
        return MISSING
    try:
        _require_whole(path)
    except Exception as error:  # whatever a reader of tables or of JSON raises
        return f"is damaged ({' '.join(str(error).split())[:120]})"
    return None


def _require_whole(path: Path) -> None:
    """Raise an error where a file is no whole one of its kind."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.read_metadata(path)
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".safetensors":
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if path.stat().st_size != 8 + length + max(ends, default=0):
            raise ValueError("it ends too early")
