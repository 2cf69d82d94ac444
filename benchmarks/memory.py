"""What this process holds in memory, by /proc: `getrusage` counts what its parent held when it started it."""

from __future__ import annotations

from pathlib import Path


def resident_mib() -> float:
    """MiB now."""
    return _status("VmRSS")


def peak_mib() -> float:
    """The most so far, MiB."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Measure the peak from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
