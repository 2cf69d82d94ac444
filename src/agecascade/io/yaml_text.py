"""YAML as text, comments kept, in the project's style: a line for each key of a block, its value in that line."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML, RoundTripRepresenter
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode

WIDTH = 240  # characters of a line: the library leaves a trailing blank where it breaks one


class _Representer(RoundTripRepresenter):
    """Writes `null` in full, since it is a choice in params.yaml; the library would leave the value empty."""

    def represent_none(self, data: Any) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_none)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = WIDTH
    return yaml


def load_yaml(text: str) -> Any:
    """The content of a YAML text, with its comments."""
    return _yaml().load(text)


def dump_yaml(content: Any) -> str:
    """Content as YAML text."""
    stream = io.StringIO()
    _yaml().dump(content, stream)
    return stream.getvalue()


def flow_style(value: Any) -> Any:
    """Plain content as it is written in one line."""
    if isinstance(value, Mapping):
        block = CommentedMap((key, flow_style(inner)) for key, inner in value.items())
        block.fa.set_flow_style()
        return block
    if isinstance(value, (list, tuple)):
        row = CommentedSeq(flow_style(inner) for inner in value)
        row.fa.set_flow_style()
        return row
    return value


def block_style(content: Mapping[str, Any]) -> CommentedMap:
    """A block with a line for each key."""
    return CommentedMap((key, flow_style(value)) for key, value in content.items())
