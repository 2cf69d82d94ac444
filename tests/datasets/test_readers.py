"""What holds for every reader: a damaged table is one clear line, or rejects, and never a trace."""

from __future__ import annotations

import random
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agecascade.datasets import READERS, reader
from agecascade.errors import AgecascadeError
from agecascade.params import DrawSettings
from agecascade.synthetic import write
from publishers import rows_of

SEEDS = 24
# options under which a reader reads all the tables that it knows
OPTIONS: dict[str, dict[str, Any]] = {
    "morph2": {"table": "morph_2008_nonCommercial.csv", "setting": "partial"},
    "utkface": {"official": {"train": "UTK_train_coral.csv", "test": "UTK_test_coral.csv"}},
    "vggface2": {"lists": ["train_list.txt"], "identities": "identity_meta.csv"},
}
# pictures and their index; spreadsheets and MATLAB files are damaged in test_tables.py
LEFT_ALONE = {".jpg", ".jpeg", ".rec", ".idx", ".xlsx", ".mat"}
STRANGE = [b"", b"nan", b"inf", b"-1e400", b"9" * 5000, b"1_0", "\uff11".encode(), "\u00b2".encode(), b"-0", b"None", b"0x1"]
STRANGE += [b'"', b"'", b"../../x.jpg", b"/", b"\x00", b"a/b/c", b"()", b"(1, 2)", b".jpg", b" ", b"1.5", b"\xff"]


def unpacked(name: str, folder: Path) -> Path:
    """The drawn archive of a reader with all its members as files."""
    packed, tree = folder / "packed", folder / "tree"
    write(name, packed, DrawSettings(pictures=12, subjects=3), 3, workers=1)
    tree.mkdir()
    for path in packed.iterdir():
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(tree)
        elif ".tar" in path.name:
            with tarfile.open(path) as archive:
                archive.extractall(tree, filter="data")
        else:
            shutil.copy(path, tree)
    return tree


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A text table with three strange cells, or cut, or with changed bytes."""
    if draw.random() < 0.25:
        return content[: draw.randrange(len(content) + 1)]
    if draw.random() < 0.33:
        changed = bytearray(content)
        for _ in range(8):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed)
    lines = content.split(b"\n")
    for _ in range(3):
        number = draw.randrange(len(lines))
        mark = next((mark for mark in (b"\t", b";", b",", b" ") if mark in lines[number]), b",")
        cells = lines[number].split(mark)
        cells[draw.randrange(len(cells))] = draw.choice(STRANGE)
        lines[number] = mark.join(cells)
    return b"\n".join(lines)


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_damaged_table_is_one_clear_line_or_read(tmp_path: Path, name: str) -> None:
    tree = unpacked(name, tmp_path)
    options = OPTIONS.get(name) or reader(name).INFO.settings["options"]
    whole = rows_of(name, tree, options)
    tables = sorted(path for path in tree.rglob("*") if path.is_file() and path.suffix.lower() not in LEFT_ALONE)
    tables = [path for path in tables if path.stat().st_size]
    messages = []
    for seed in range(SEEDS if tables else 0):
        draw = random.Random(seed)
        table = tables[seed % len(tables)]
        content = table.read_bytes()
        table.write_bytes(damaged(content, draw))
        try:
            rows_of(name, tree, options)
        except AgecascadeError as error:  # any other error ends the test
            messages.append(str(error))
        table.write_bytes(content)
    assert not [message for message in messages if "\n" in message or not message]
    assert rows_of(name, tree, options) == whole
