"""The progress of trainings: a bar in a terminal, else a line after an epoch, so that a log shows that a stage is alive."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock

from tqdm import tqdm

Record = dict[str, float]
LINE_AFTER = 10.0  # seconds from one line to the next; the last epoch of a training always gets one


class Progress:
    """The progress of one training, shown nowhere."""

    def learned(self, pictures: int) -> None:
        """So many pictures were learned from just now."""

    def resumed(self, pictures: int) -> None:
        """So many pictures were learned from before an interruption, or need not be, after an early stop."""

    def epoch(self, record: Record, epochs: int) -> None:
        """An epoch of `epochs` is complete, with this record."""

    def titled(self, title: str) -> Progress:
        """The progress of the training `title`, which counts for the same whole."""
        return self


@dataclass
class StageProgress(Progress):
    """The progress of all trainings of a stage; a context manager. total: pictures times epochs, over all trainings."""

    name: str
    total: int
    done: int = 0
    before: int = 0  # of `done`: what an earlier run learned, which says nothing about the speed of this one
    started: float = field(default_factory=time.monotonic)
    _line: float = -LINE_AFTER
    _lock: Lock = field(default_factory=Lock)

    def __enter__(self) -> StageProgress:
        self._bar = tqdm(total=self.total, desc=self.name, unit="img", unit_scale=True, disable=None)
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def learned(self, pictures: int) -> None:
        with self._lock:
            self.done += pictures
            self._bar.update(pictures)

    def resumed(self, pictures: int) -> None:
        with self._lock:
            self.done += pictures
            self.before += pictures
            if not self._bar.disable:
                self._bar.initial += pictures
                self._bar.n += pictures
                self._bar.last_print_n += pictures
                self._bar.refresh()

    def titled(self, title: str) -> Progress:
        return _TitledProgress(self, title)

    def line(self, title: str, record: Record, epochs: int) -> None:
        """Show an epoch of the training `title`: beside the bar, or as a line of its own where there is no terminal."""
        epoch = int(record["epoch"])
        error = record["validation_error"]
        validated = "" if math.isnan(error) else f", validation error {error:.4g}"  # there may be no validation pictures
        text = f"{title}: epoch {epoch} of {epochs}, loss {record['loss']:.4g}{validated}"
        with self._lock:
            if not self._bar.disable:
                self._bar.set_postfix_str(f"epoch {epoch} of {epochs}{validated}")
            elif epoch == epochs or time.monotonic() - self._line >= LINE_AFTER:
                self._line = time.monotonic()
                print(f"{text}; {self.state()}", file=sys.stderr, flush=True)

    def state(self) -> str:
        """How much of the stage is done, how fast, and the time that is left at this speed."""
        share = f"{self.done / max(self.total, 1):.0%} of {self.name}"
        speed = (self.done - self.before) / max(time.monotonic() - self.started, 1e-9)
        if not speed:
            return share
        left = timedelta(seconds=round(max(self.total - self.done, 0) / speed))
        return f"{share}, {speed:.0f} img/s, {left} left"


@dataclass(frozen=True)
class _TitledProgress(Progress):
    """One training of a stage."""

    stage: StageProgress
    title: str

    def learned(self, pictures: int) -> None:
        self.stage.learned(pictures)

    def resumed(self, pictures: int) -> None:
        self.stage.resumed(pictures)

    def epoch(self, record: Record, epochs: int) -> None:
        self.stage.line(self.title, record, epochs)
