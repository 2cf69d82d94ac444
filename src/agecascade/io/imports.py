"""What a Python file imports, and which modules its strings may name: read once, and known by the file's content afterwards.

To parse the package takes a second, and every stage asks. So the stage `inventory` remembers the answers for the others.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from agecascade.io.files import write_json
from agecascade.io.places import state_folder

PACKAGE = Path(__file__).resolve().parents[1].name
MEMO = "imports.json"  # in the folder of the state

_PARSING = Lock()  # Python 3.11 has one recursion counter for all threads that parse; a switch between them is a SystemError
_asked: set[str] = set()  # digests


class Said(NamedTuple):
    """What a file says of others."""

    imports: list[str]  # dotted names; of `from a import b` both a and a.b, for b may be a module
    strings: list[str]  # those that may name a module of the package or a script


@cache
def said(path: Path) -> Said:
    """What the file says, also inside functions, but not under TYPE_CHECKING."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    _asked.add(digest)
    known = _known()
    if digest not in known:
        known[digest] = _read(content, path)
    return known[digest]


def remember() -> None:
    """Write what the files say that this process has asked for."""
    kept = {digest: said for digest, said in sorted(_known().items()) if digest in _asked}
    path, content = state_folder() / MEMO, {"rules": _rules(), "files": kept}
    if _text(path) != json.loads(json.dumps(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)


@cache
def _known() -> dict[str, Said]:
    """{digest of a file: what it says} of those that were remembered by these same rules."""
    content = _text(state_folder() / MEMO)
    return {digest: Said(*said) for digest, said in content["files"].items()} if content and content["rules"] == _rules() else {}


def _text(path: Path) -> Any:
    """The content of a memo; None where there is none, or none that can be read: then all is read anew."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None


@cache
def _rules() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _read(content: bytes, path: Path) -> Said:
    with _PARSING:
        tree = ast.parse(content, str(path))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return Said(sorted(set(_imported(tree))), sorted(text for text in strings if text.startswith(f"{PACKAGE}.") or text.endswith(".py")))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node`, but those under TYPE_CHECKING and in a module's `__getattr__`: whoever uses its attributes imports them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef) and child.name == "__getattr__" and isinstance(node, ast.Module):
            continue
        yield child
        yield from _running(child)
