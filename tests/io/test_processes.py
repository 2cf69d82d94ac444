"""Work on processes of this machine."""

from __future__ import annotations

import os
import signal

import pytest

from agecascade.errors import ComputeError
from agecascade.io.processes import on_processes


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(on_processes(lambda item: item * item, range(9), 2)) == [item * item for item in range(9)]


def test_a_process_that_is_killed_is_told_in_one_line_and_the_next_call_works() -> None:
    def work(item: int) -> int:
        if item == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(ComputeError, match=r"^compute\.workers: one of 2 processes was killed, .* \(SIGKILL\(-9\)\); .* run it again$"):
        list(on_processes(work, range(9), 2))
    assert list(on_processes(abs, range(-3, 0), 2)) == [3, 2, 1]


def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(on_processes(lambda item: 1 / item, [1, 0], 2))
