"""The study of an own table under a name of its own: a file of studies/, which `agecascade study NAME` applies again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agecascade.datasets import READERS
from agecascade.errors import ParamsError
from agecascade.io.files import written_beside
from agecascade.io.yaml_text import dump_yaml
from agecascade.study import OWN, apply, names

HEAD = "# Of an own table, by `agecascade study {name} --table {table}`: what it holds decides the settings. Change what you like.\n"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def require_free_name(name: str, reader: str, root: Path, force: bool) -> None:
    """Raise ParamsError where a study of an own table cannot be called so: a reader's name, or a file of studies/ of another study."""
    if name == reader:
        return
    if name in READERS:
        raise ParamsError(f"--table, --pictures and the columns go with {reader} or a name of your own, not with {name}, a published set")
    if not _NAME.fullmatch(name):
        raise ParamsError(f"{name!r}: the name of a study, its data set and its model has small letters, digits and _, such as mine")
    if name in names(root) and not _is_own(root / "studies" / f"{name}.yaml"):
        raise ParamsError(f"studies/{name}.yaml is another study; give yours a name of its own, such as mine")
    if name in names(root) and not force:
        raise ParamsError(f"studies/{name}.yaml is there already; `agecascade study {name}` applies it, --force makes it anew")


def _is_own(path: Path) -> bool:
    return path.read_text(encoding="utf-8", errors="replace").startswith(HEAD[: HEAD.index("{")])


def renamed(made: Mapping[str, Any], reader: str, name: str) -> dict[str, Any]:
    """An overlay of the reader's data set whose study, data set and step are called `name`."""
    (recipe,) = made["cascade"].values()
    assert set(made["cascade"]) == {OWN}
    return {
        **made,
        "study": name,
        "datasets": {name: made["datasets"][reader]},
        "cascade": {name: {**recipe, "dataset": name}},
        "evaluate": {**made["evaluate"], "target": name},
    }


def write_study(name: str, table: Path, made: Mapping[str, Any], root: Path, force: bool) -> None:
    """Write studies/<name>.yaml and apply it; where params.yaml refuses it, the file is as it was. Raises ParamsError."""
    path = root / "studies" / f"{name}.yaml"
    earlier = path.read_bytes() if path.exists() else None
    with written_beside(path) as temporary:
        temporary.write_text(HEAD.format(name=name, table=table.as_posix()) + dump_yaml(dict(made)), encoding="utf-8")
    try:
        apply(name, root, force=force)
    except ParamsError:
        if earlier is None:
            path.unlink()
        else:
            path.write_bytes(earlier)
        raise
