"""Run a whole command and read its seconds of the clock and of the processor, its memory, and when it printed each line."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

LOOK = 0.25  # seconds between two looks at the processes
READ = 0.5  # seconds between two readings of their memory at least, for a reading walks their page tables
LEFT = 10.0  # seconds in which what a command leaves behind has ended
PR_SET_CHILD_SUBREAPER = 36  # of Linux: orphans become children of this process
TAIL = 20  # lines of a failed command that its error shows
# what would lend a checkout packages, a tracking store, a cache, a repository or other bytecode than its own
LENT = ("AGECASCADE_", "DVC_", "GIT_", "MLFLOW_", "PYTHON", "UV_PROJECT", "VIRTUAL_ENV")


class CommandError(Exception):
    """A command that ended with another status than 0: its name, the status and its last lines."""


class Line(NamedTuple):
    """A line of a command's output, and the seconds from its start."""

    seconds: float
    text: str


class Used(NamedTuple):
    """Seconds of the processor that a command has used so many seconds after its start."""

    seconds: float
    processor: float


class Run(NamedTuple):
    """A command that has ended."""

    seconds: float
    processor: float  # seconds, of the user and of the system, of all its processes, also of those that it left behind and that ended soon
    largest_mib: float  # resident memory of its largest process at its peak, or of this one, which it is forked from, if that is larger
    tree_mib: float  # memory of all its processes at their peak, what several share counted once; 0 where nobody watched
    lines: list[Line]
    used: Sequence[Used] = ()  # in the order of time; empty where nobody watched
    peak_seconds: float = 0.0  # from its start to the peak of all its processes


def own_environment(**more: str) -> dict[str, str]:
    """The variables of this process without those that lend a checkout anything; output is not buffered."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(LENT)}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def run(
    command: Sequence[str],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    cores: set[int] | None = None,
    watch: bool = False,
    show: bool = False,
) -> Run:
    """A command on these cores, or on all. watch: its processes are looked at; show: its output goes to stderr too. Raises CommandError."""

    def bound() -> None:
        if cores is not None:
            os.sched_setaffinity(0, cores)

    _adopt_orphans()
    others = set(_children())
    start = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=bound,
    )
    lines: list[Line] = []
    reader = threading.Thread(target=_read, args=(child, start, lines, show), daemon=True)
    reader.start()
    watcher = Watch(others, start) if watch else None
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    processor = used.ru_utime + used.ru_stime + sum(map(_reaped, set(_children()) - others))
    reader.join(5.0)  # what the command left behind may hold its output open
    peak, looks, moment = (watcher.end(), watcher.used, watcher.peak_seconds) if watcher else (0.0, [], 0.0)
    if child.returncode:
        said = "\n".join(line.text for line in lines[-TAIL:])
        raise CommandError(f"{' '.join(command)} ended with {child.returncode}:\n{said}")
    return Run(seconds, processor, used.ru_maxrss / 1024, peak, lines, looks, moment)


def _adopt_orphans() -> None:
    """Make the processes that a command leaves behind, as pipeline/fork_server.py is, children of this one: their memory and time count."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    import psutil

    return [process.pid for process in psutil.Process().children()]


def _reaped(orphan: int) -> float:
    """The processor's seconds of a process that a command left behind; 0 if it goes on for longer than LEFT."""
    end = time.perf_counter() + LEFT
    while time.perf_counter() < end:
        with suppress(ChildProcessError):
            pid, _, used = os.wait4(orphan, os.WNOHANG)
            if pid:
                return used.ru_utime + used.ru_stime
        time.sleep(0.02)
    return 0.0


def _read(child: subprocess.Popen[str], start: float, lines: list[Line], show: bool) -> None:
    assert child.stdout is not None
    for text in child.stdout:
        lines.append(Line(time.perf_counter() - start, text.rstrip("\n")))
        if show:
            print(lines[-1].text, file=sys.stderr, flush=True)


class Watch:
    """The memory of a command's processes at its peak, and the processor's seconds that they have used, read while they run.

    Its processes are its descendants, and those that they left behind. Memory is the sum of their proportional set sizes. The sum of the
    resident sizes, which is quick to read and counts shared pages several times, is never less: memory is read where that sum is above
    the peak so far.
    """

    def __init__(self, others: set[int], start: float) -> None:
        self.start, self.peak, self.peak_seconds = start, 0.0, 0.0
        self.others = others  # children that this process had before
        self.used: list[Used] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """MiB at the peak."""
        self._ended.set()
        self._thread.join()
        return self.peak

    def _watch(self) -> None:
        import psutil

        last = 0.0
        while not self._ended.wait(LOOK):
            with suppress(psutil.Error, OSError):
                roots = [child for child in psutil.Process().children() if child.pid not in self.others]
                processes = [process for root in roots for process in (root, *root.children(recursive=True))]
                pids = [process.pid for process in processes]
                now = time.perf_counter()
                # what has ended is counted by those who waited for it, or no more: the seconds never fall
                before = self.used[-1].processor if self.used else 0.0
                self.used.append(Used(now - self.start, max(before, sum(map(_processor_seconds, processes)))))
                if now - last >= READ and sum(map(_resident_mib, pids)) > self.peak:
                    read, last = sum(map(_proportional_mib, pids)), now
                    if read > self.peak:
                        self.peak, self.peak_seconds = read, now - self.start


def _processor_seconds(process: Any) -> float:
    """Of a process and those that it waited for, 0 if it has ended meanwhile."""
    import psutil

    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _resident_mib(pid: int) -> float:
    """0 for a process that has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def _proportional_mib(pid: int) -> float:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
    return 0.0
