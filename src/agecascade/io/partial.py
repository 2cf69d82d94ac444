"""What has come of a file that is being downloaded: its bytes, and what the server said of it, in a folder of their own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from agecascade.io.files import write_json


@dataclass(frozen=True)
class About:
    """What the server said of the file that `part` is a part of."""

    version: str | None = None  # its ETag or date, which a later request names
    total: int | None = None  # bytes of the whole file
    ended: bool = False  # all has come that the server announced


@dataclass(frozen=True)
class Partial:
    """`part` grows, `about.json` says which version of the file it is a part of, `whole` is complete and checked."""

    folder: Path

    @property
    def part(self) -> Path:
        """The file that grows."""
        return self.folder / "part"

    @property
    def whole(self) -> Path:
        """The file once it is complete."""
        return self.folder / "whole"

    @property
    def size(self) -> int:
        """Bytes that have come; those of which nothing is known count for nothing."""
        return self.part.stat().st_size if self.part.exists() and self._note.exists() else 0

    @property
    def about(self) -> About:
        """What is known of it."""
        return About(**json.loads(self._note.read_text(encoding="utf-8"))) if self.size else About()

    def note(self, about: About) -> None:
        """Remember what the server said."""
        write_json(self._note, asdict(about))

    def forget(self) -> None:
        """Remove what has come."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.folder / "about.json"
