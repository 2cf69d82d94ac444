"""Studies: overlays on the default params, each rewriting params.yaml."""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from agecascade.errors import ParamsError, unknown_name
from agecascade.files import written_beside
from agecascade.params import check

DEFAULT = "sample"
# Sets of named things: a study that names its own has none of the default's.
REPLACED_WHOLE = ("datasets", "pretrain", "cascade", "features", "regressors")


def names(root: Path) -> list[str]:
    """The studies of a repository."""
    return sorted(path.stem for path in (root / "studies").glob("*.yaml"))


def render(name: str, root: Path) -> str:
    """The params.yaml of a study: studies/sample.yaml, comments kept, with studies/<name>.yaml laid over it.

    Raises ParamsError for an unknown study, and where the result does not pass the checks of `params`.
    """
    if name not in names(root):
        raise ParamsError(unknown_name("study", name, names(root)))
    text = (root / "studies" / f"{DEFAULT}.yaml").read_text(encoding="utf-8")
    if name != DEFAULT:
        text = _overlaid(text, (root / "studies" / f"{name}.yaml").read_text(encoding="utf-8"))
    check(YAML(typ="safe", pure=True).load(text), f"studies/{name}.yaml")
    return text


def apply(name: str, root: Path) -> str:
    """Rewrite params.yaml as the study `name` and return the difference from what stood there, as a unified diff."""
    path = root / "params.yaml"
    after = render(name, root)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    with written_beside(path) as temporary:
        temporary.write_text(after, encoding="utf-8")
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(*lines, "params.yaml before", f"params.yaml of {name}", n=0))


def _overlaid(default: str, overlay: str) -> str:
    yaml = YAML()
    yaml.width = 160
    content, changes = yaml.load(default), yaml.load(overlay)
    _lay_over(content, changes)
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def _lay_over(content: MutableMapping[str, Any], changes: Mapping[str, Any], depth: int = 0) -> None:
    """Change `content` in place: mappings are merged key by key, but those of REPLACED_WHOLE."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(content.get(key), MutableMapping) and not (depth == 0 and key in REPLACED_WHOLE):
            _lay_over(content[key], value, depth + 1)
        else:
            content[key] = value
