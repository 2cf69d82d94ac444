"""A progress of trainings that counts, in place of the one that people see."""

from __future__ import annotations

from agecascade.training.progress import Progress, Record


class CountedProgress(Progress):
    """Lists what was reported: pictures learned from, pictures of earlier runs, and epochs."""

    def __init__(self) -> None:
        self.now: list[int] = []
        self.before: list[int] = []
        self.epochs: list[int] = []

    def learned(self, pictures: int) -> None:
        self.now.append(pictures)

    def resumed(self, pictures: int) -> None:
        self.before.append(pictures)

    def epoch(self, record: Record, epochs: int) -> None:
        self.epochs.append(int(record["epoch"]))


class Killed(Exception):
    """Stands for a kill signal."""


class Killing(Progress):
    """Raises Killed once `after` pictures were learned from, those of earlier runs included."""

    def __init__(self, after: int) -> None:
        self.left = after

    def resumed(self, pictures: int) -> None:
        self.left -= pictures

    def learned(self, pictures: int) -> None:
        self.left -= pictures
        if self.left <= 0:
            raise Killed
