"""`agecascade serve` as a process of its own, and clients that ask it without a pause; for tests and benchmarks/serve.py."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 120  # seconds until a server answers, which takes long where the processors are busy


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.address}/health", timeout=30) as answer:
            return json.load(answer)

    def ask(self, picture: bytes, query: str = "", timeout: float = 120) -> tuple[int, Any]:
        """Status and JSON of one raw picture."""
        request = urllib.request.Request(f"{self.address}/predict?{query}", picture, {"Content-Type": "image/jpeg"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@contextmanager
def served(model: Path | None, log: Path, *options: str) -> Iterator[Served]:
    """A server of a model on a free port of loopback; it is asked to stop afterwards, and has to."""
    command = [sys.executable, "-c", "from agecascade.cli import app; app()", "serve", "--port", "0", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(command + ([] if model is None else ["--model", str(model)]), stdout=file, stderr=subprocess.STDOUT)
    try:
        yield Served(_address(process, log), process, log)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """What the server's first line says, once it answers there."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        said = log.read_text()
        if " on http://" in said:
            address = said.partition(" on ")[2].partition(";")[0]
            try:
                urllib.request.urlopen(f"{address}/health", timeout=30).close()
                return address
            except OSError:
                pass
        assert process.poll() is None, said
        time.sleep(0.05)
    raise AssertionError(f"no answer after {PATIENCE} s:\n{log.read_text()}")


@dataclass
class Load:
    """What clients saw: seconds of each answer by 200, statuses, and how much memory the server held at the quarters of the time."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)  # requests without an answer
    mib: list[float] = field(default_factory=list)  # resident; the first after a quarter, when all is warm


def load(server: Served, pictures: Sequence[bytes], clients: int, seconds: float, query: str = "threshold=18") -> Load:
    """`clients` threads that ask for `seconds`, each its next picture once it has an answer, after a pause where it got a 429."""
    import psutil

    seen, lock, process = Load(), threading.Lock(), psutil.Process(server.process.pid)
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        turn = number
        while time.monotonic() < end:
            begun = time.monotonic()
            try:
                status, _ = server.ask(pictures[turn % len(pictures)], query)
            except (OSError, ValueError) as error:
                with lock:
                    seen.lost.append(repr(error))
                continue
            turn += clients
            with lock:
                seen.statuses[status] += 1
                if status == 200:
                    seen.seconds.append(time.monotonic() - begun)
            if status == 429:
                time.sleep(0.05)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for quarter in (1, 2, 3, 4):
        time.sleep(max(0.0, end - time.monotonic() - seconds * (4 - quarter) / 4))
        seen.mib.append(process.memory_info().rss / 2**20)
    for thread in threads:
        thread.join()
    return seen
