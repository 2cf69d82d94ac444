"""Python imports this by itself where it is on its path: record what a stage reads of its params, and which modules it loads.

AGECASCADE_RECORD names the folder for the records, one JSON file a script: {"read": [keys], "logged": whether its run keeps all
params, "modules": [files]}.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

_paths: dict[int, str] = {}  # id of a block -> its key
_blocks: list[Any] = []  # alive, so that no id is given twice
_read: set[str] = set()
_logged: list[str] = []


def _record() -> None:
    from agecascade import params
    from agecascade.params import Block

    plain = Block.__getattribute__

    def known(block: Any, path: str) -> None:
        """Remember the keys of a block and of all blocks in it."""
        _paths[id(block)] = path
        _blocks.append(block)
        for name in type(block).model_fields:
            value = plain(block, name)
            for part, key in [(value, _key(block, name)), *_items(value, _key(block, name))]:
                if isinstance(part, Block):
                    known(part, f"{path}.{key}" if path else key)

    def spied(block: Any, name: str) -> Any:
        if id(block) in _paths:
            path = _paths[id(block)]
            if name in type(block).model_fields:
                _read.add(f"{path}.{_key(block, name)}" if path else _key(block, name))
            elif name == "model_dump":
                return partial(_dumped, block, path, plain(block, name))
            elif name == "model_copy":
                return partial(copied, block, path)
            elif path and name in ("__reduce_ex__", "__eq__", "__hash__", "__iter__"):
                _read.add(path)  # passed on as a whole
        return plain(block, name)

    def loaded(path: Path | str = "params.yaml") -> Any:
        study = load(path)
        known(study, "")
        return study

    def copied(block: Any, path: str, **options: Any) -> Any:
        copy = plain(block, "model_copy")(**options)
        known(copy, path)
        return copy

    def logged(path: Path | str) -> Any:
        _logged.append(str(path))
        return read_yaml(path)

    load, params.load = params.load, loaded
    read_yaml, params.read_yaml = params.read_yaml, logged
    Block.__getattribute__ = spied  # type: ignore[method-assign, assignment]


def _dumped(block: Any, path: str, dump: Any, include: Any = None, exclude: Any = None, **options: Any) -> Any:
    """What `model_dump` gives counts as read, the keys that it is asked for alone."""
    for name in type(block).model_fields:
        if (include is None or name in include) and name not in (exclude or ()):
            parts = include[name] if isinstance(include, dict) and isinstance(include[name], set) else [""]
            _read.update(".".join(filter(None, (path, _key(block, name), part))) for part in parts)
    return dump(include=include, exclude=exclude, **options)


def _key(block: Any, name: str) -> str:
    return type(block).model_fields[name].alias or name


def _items(value: Any, key: str) -> list[tuple[Any, str]]:
    """What the entries of a mapping are, those of mappings in it too."""
    if not isinstance(value, dict):
        return []
    items = [(item, f"{key}.{name}") for name, item in value.items()]
    return items + [deeper for item, path in items for deeper in _items(item, path)]


def _write(folder: Path) -> None:
    script = Path(sys.argv[0])
    if script.parent.name == "pipeline":
        modules = [module.__file__ for name, module in sorted(sys.modules.items()) if name.split(".")[0] in ("agecascade", "common")]
        record = {"read": sorted(_read), "logged": "params.yaml" in _logged, "modules": modules}
        (folder / f"{'@'.join([script.stem, *sys.argv[1:]])}.json").write_text(json.dumps(record))


if folder := os.environ.get("AGECASCADE_RECORD"):
    _record()
    atexit.register(_write, Path(folder))
