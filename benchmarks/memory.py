"""Memory of this process, read from /proc: `getrusage` would count its parent's memory at the start too."""

from __future__ import annotations

from pathlib import Path


def resident_mib() -> float:
    """Resident memory now, MiB."""
    return _status("VmRSS")


def peak_mib() -> float:
    """Peak of the resident memory so far, MiB."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Reset the peak: it is measured from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
