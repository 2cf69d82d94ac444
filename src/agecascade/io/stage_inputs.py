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

    item: that of a stage with several. Files are looked at in their order; of tables the footer alone is read. Of a folder all is an input
    that it holds, and all that dvc.yaml lets stages make in it.
    """
    for path in inputs_of(stage, item, root):
        place = root / path
        files = [place] if not place.is_dir() else sorted(file for file in place.rglob("*") if file.is_file())
        if not files:
            return f"{path} is empty; `dvc repro {stage}{f'@{item}' if item else ''}` makes it first"
        for file in [*files, *(root / made for made in made_in(path, root))]:
            if fault := fault_of(file):
                remove = "" if fault == MISSING else "remove it, and "
                return f"{file.relative_to(root)} {fault}; {remove}`dvc repro` makes it again"
    return None


def inputs_of(stage: str, item: str | None, root: Path = Path()) -> Iterator[str]:
    """The files and folders that other stages made for this one. None where dvc.yaml or params.yaml cannot be read."""
    for name, key, body in _stages(root):
        if name == stage and key == item:
            deps = (path for path in body["deps"] if isinstance(path, str))
            yield from (path for path in deps if path.startswith(MADE_BY_STAGES) and not path.startswith(NO_DATA))


def made_in(folder: str, root: Path = Path()) -> Iterator[str]:
    """The files and folders that stages make within a folder, in dvc.yaml's order."""
    for _, _, body in _stages(root):
        outs = (out if isinstance(out, str) else next(iter(out)) for out in body.get("outs", []))
        yield from (out for out in outs if out.startswith(f"{folder}/"))


def _stages(root: Path) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """The name, the item and the body of each stage, its deps and outs filled in. None where dvc.yaml or params.yaml cannot be read."""
    from ruamel.yaml import YAML, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        stages = yaml.load(root / "dvc.yaml")["stages"]
        params = yaml.load(root / "params.yaml")
        yield from (filled for name, body in stages.items() for filled in _items(name, body, params))
    except (OSError, YAMLError, LookupError, TypeError, ValueError, AttributeError):
        return


def _items(name: str, body: dict[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """A stage once, or for each item of the block of params.yaml that it goes over."""
    if "foreach" not in body:
        yield name, None, body
        return
    for key, block in params[body["foreach"][2:-1]].items():
        paths = {kind: [_filled_out(path, key, block) for path in body["do"].get(kind, [])] for kind in ("deps", "outs")}
        yield name, str(key), body["do"] | paths


def _filled_out(path: Any, item: str, block: Mapping[str, Any]) -> Any:
    """A path of dvc.yaml, or the mapping of one to its options, filled in."""
    if isinstance(path, dict):
        return {filled_in(key, item, block): value for key, value in path.items()}
    return filled_in(path, item, block)


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
