"""Devices that a test may lose: a copy of its own, since root could remove the machine's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

NUMBERS = {"null": (1, 3), "full": (1, 7)}


def device(folder: Path, name: str) -> Path:
    """A device `null` or `full` in a folder; the machine's for a user who cannot remove that. Skips where there is none."""
    if os.geteuid() != 0:
        if not Path("/dev", name).is_char_device():
            pytest.skip(f"no /dev/{name}")
        return Path("/dev", name)
    path = folder / name
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(*NUMBERS[name]))
        with path.open("wb"):
            return path
    except PermissionError:
        pytest.skip("no right to make devices")
