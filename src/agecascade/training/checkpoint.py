"""Checkpoint: weights, optimiser state, epoch and random state of an interrupted training.

Killed and resumed, a training ends in the same bits as undisturbed.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from agecascade.io.files import as_os_error, written_beside

RANDOM_STATE = Lock()  # folds train in threads, and torch's random state is one for all
FORMAT = 1


class Checkpoint:
    """The state of one training, in a folder that no second training writes to (see ResumeCache.state)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.pt"
        self._run = folder / "run"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the earlier state atomically: a kill leaves the one or the other."""
        with written_beside(self.path) as temporary, as_os_error(temporary), temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state, "random": _random_state()}, file)

    def load(self) -> dict[str, Any] | None:
        """The state saved last, or None; reading it runs no code. A damaged file is reported, and the training starts anew."""
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            print(f"warning: {self.path} is damaged ({' '.join(str(error).split())[:200]}); starting anew", file=sys.stderr)
            return None
        if state.get("format") != FORMAT:
            return None
        _set_random_state(state["random"])
        return state

    @property
    def run(self) -> str | None:
        """The tracker's run id of this training, if it is tracked."""
        return self._run.read_text() if self._run.exists() else None

    @run.setter
    def run(self, name: str | None) -> None:
        if name is not None:
            with written_beside(self._run) as temporary:
                temporary.write_text(name)


def _random_state() -> dict[str, Any]:
    """The state of torch's generators; shuffling and augmentation have generators of their own, made of (seed, epoch).

    Those of one process that trains alone: of several, each seeds its own anew by (seed, epoch, rank) at every epoch.
    """
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def _set_random_state(state: dict[str, Any]) -> None:
    with RANDOM_STATE:
        torch.set_rng_state(state["cpu"])
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
