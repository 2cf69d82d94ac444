"""YAML as text in the style that DVC itself writes, so that `dvc exp run -S key=value` changes one line of params.yaml.

`-S` reads the file with ruamel.yaml, replaces every value and writes all of it again (`dvc.utils.serialize`): in lines of 80
characters, lists of a block with a line for each entry, null as an empty value. A comment beside a key whose block is emptied makes
the file unreadable to DVC, so comments stand above their key.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.tokens import (
    BlockEntryToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ValueToken,
)

WIDTH = 80  # characters: where DVC breaks a line
INDENT = 2  # characters for each level of blocks


def load_yaml(text: str) -> Any:
    """The content of a YAML text, with its comments; those at the end of a key's line are moved above it."""
    return YAML().load(comments_above(text))


def dump_yaml(content: Any) -> str:
    """Content as YAML text that DVC writes in the same way; changes the style of `content`.

    The text is read and written once more, as DVC does: a comment behind a list would not outlive that.
    """
    return _written(load_yaml(_written(content)))


def _written(content: Any) -> str:
    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(_with_blocks(_plain(content)), stream)
    return stream.getvalue()


def flow_style(value: Any) -> Any:
    """Plain content as it is written in one line, where that is short enough."""
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


def comments_above(text: str) -> str:
    """The text with comments above the line or the block that they belong to; inside of braces and brackets they stay.

    A comment beside the key of a block, or above its first entry, is moved above the key: DVC would put it before the braces of the
    emptied block, and could not read that.
    """
    lines: list[str] = []
    keys: list[int] = []  # lines that hold a key alone, whose value follows below
    ends = _ends(text)
    for number, line in enumerate(text.splitlines()):
        end, is_key = ends.get(number, (len(line), False))
        comment = line[end:].strip()
        if comment.startswith("#"):
            lines.append(_indent(line) + comment)
        if is_key:
            keys.append(len(lines))
        lines.append(line[:end] if comment.startswith("#") else line)
    for number in reversed(keys):  # the innermost first
        count = _comments_below(lines, number)
        moved = [_indent(lines[number]) + line.strip() for line in lines[number + 1 : number + 1 + count]]
        lines[number : number + 1 + count] = [*moved, lines[number]]
    return "\n".join(lines) + "\n"


def _comments_below(lines: list[str], key: int) -> int:
    """How many lines of comments the block of a key begins with; 0 where no block follows."""
    for count, below in enumerate(lines[key + 1 :]):
        if not below.lstrip().startswith("#"):
            return count if len(_indent(below)) > len(_indent(lines[key])) else 0
    return 0


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _ends(text: str) -> dict[int, tuple[int, bool]]:
    """{line: (column behind its last token, whether that is the colon of a key)} of the lines that end outside of braces and brackets."""
    depth = 0
    ends: dict[int, tuple[int, bool]] = {}
    entries: set[int] = set()
    for token in YAML().scan(text):
        depth += isinstance(token, (FlowMappingStartToken, FlowSequenceStartToken))
        depth -= isinstance(token, (FlowMappingEndToken, FlowSequenceEndToken))
        if isinstance(token, BlockEntryToken):
            entries.add(token.start_mark.line)
        ends.pop(token.end_mark.line, None)
        if depth == 0 and token.start_mark.line == token.end_mark.line and token.end_mark.column > 0:
            ends[token.end_mark.line] = (token.end_mark.column, isinstance(token, ValueToken))
    return {line: end for line, end in ends.items() if line not in entries}


def _plain(value: Any) -> Any:
    """Values as DVC replaces them: Python's own numbers, texts and lists, without the way that they were written in."""
    if isinstance(value, Mapping):
        block = value if isinstance(value, CommentedMap) else CommentedMap(value)
        for key in block:
            block[key] = _plain(block[key])
        return block
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    plain = next((kind for kind in (bool, int, float, str) if isinstance(value, kind)), None)
    return value if plain is None else plain(value)


def _with_blocks(block: CommentedMap, indent: int = 0) -> CommentedMap:
    """Change every mapping that one line cannot hold to a line for each key."""
    for key, value in block.items():
        if isinstance(value, CommentedMap):
            if value.fa.flow_style() and (indent + len(_in_one_line(key, value)) > WIDTH or not _bare(value)):
                value.fa.set_block_style()
            if not value.fa.flow_style():
                _with_blocks(value, indent + INDENT)
    return block


def _bare(value: Any) -> bool:
    """Whether all texts can stand between braces without quotes: DVC drops those, and then cannot read `{trainable: from:fc6}`."""
    if isinstance(value, Mapping):
        return all(_bare(inner) for pair in value.items() for inner in pair)
    if isinstance(value, list):
        return all(_bare(inner) for inner in value)
    return not isinstance(value, str) or ":" not in value


def _in_one_line(key: str, value: CommentedMap) -> str:
    stream = io.StringIO()
    yaml = YAML()
    yaml.width = 100_000
    yaml.dump({key: flow_style(value)}, stream)
    return stream.getvalue().rstrip("\n")
