"""How the project writes YAML: blocks over several lines, what lies in their entries within one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML, RoundTripRepresenter
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode

WIDTH = 240  # characters of a line: a broken one leaves a blank at its end


class _Representer(RoundTripRepresenter):
    """Writes `null`, which stands for a choice here, where the library leaves the place empty."""

    def represent_none(self, data: Any) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_none)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = WIDTH
    return yaml


def parsed(text: str) -> Any:
    """The content of a YAML text; comments stay with it."""
    return _yaml().load(text)


def dumped(content: Any) -> str:
    """Content as YAML text."""
    stream = io.StringIO()
    _yaml().dump(content, stream)
    return stream.getvalue()


def in_one_line(value: Any) -> Any:
    """Plain content that is written within one line."""
    if isinstance(value, Mapping):
        block = CommentedMap((key, in_one_line(inner)) for key, inner in value.items())
        block.fa.set_flow_style()
        return block
    if isinstance(value, (list, tuple)):
        row = CommentedSeq(in_one_line(inner) for inner in value)
        row.fa.set_flow_style()
        return row
    return value


def entry(content: Mapping[str, Any]) -> CommentedMap:
    """A block with one line for each key."""
    return CommentedMap((key, in_one_line(value)) for key, value in content.items())
