"""The tensors of a published file by name, and what readers say of a file that holds something else."""

from __future__ import annotations

from torch import Tensor

State = dict[str, Tensor]


class Damaged(Exception):
    """A file is truncated or is not what its format says; the message says how."""
