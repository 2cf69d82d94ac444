"""The same work on threads, on Dask and on Ray."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agecascade.errors import ArchiveError, ComputeError
from agecascade.io import clusters
from agecascade.io.compute import UNREAD, ordered, return_memory
from agecascade.params import Compute

LOCAL = Compute(workers=2)


def test_results_come_in_the_order_of_the_items() -> None:
    release = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            release.wait(5)  # the first is done last
        if item == 1:
            release.set()
        return item * item

    assert list(ordered(work, range(20), LOCAL)) == [item * item for item in range(20)]


def test_a_slow_reader_is_waited_for() -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(1000):
            drawn += 1
            yield item

    for read, result in enumerate(ordered(lambda item: item, items(), LOCAL)):
        assert result == read
        if read < 100:
            time.sleep(0.002)
            assert drawn - read <= UNREAD * LOCAL.workers


def test_what_the_items_raise_is_raised_after_the_results_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ArchiveError("faces.tar is truncated")

    results = ordered(lambda item: item, items(), LOCAL)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(ArchiveError, match="truncated"):
        next(results)


def test_what_the_work_raises_is_raised() -> None:
    def work(item: int) -> float:
        return 1 / (3 - item)

    with pytest.raises(ZeroDivisionError):
        list(ordered(work, range(9), LOCAL))


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_backend_that_is_not_installed_is_named_with_the_remedy(backend: Any, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ComputeError, match=rf"compute\.backend: {backend} is not installed; .*agecascade\[{backend}\]"):
        list(ordered(abs, [1], Compute(backend=backend)))


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "REACH", 1.0)
    with pytest.raises(ComputeError, match=r"compute\.address: no cluster answers at tcp://127\.0\.0\.1:9 "):
        list(ordered(abs, [1], Compute(backend="dask", address="tcp://127.0.0.1:9")))


def test_a_dead_address_of_ray_is_named_within_the_time_of_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself makes 20 attempts of 41 s."""
    pytest.importorskip("ray")
    monkeypatch.setattr(clusters, "REACH", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", f"localhost:{port}"):
        start = time.monotonic()
        with pytest.raises(ComputeError, match=rf"compute\.address: no cluster answers at {address} \(.*refused\); correct it"):
            list(ordered(abs, [1], Compute(backend="ray", address=address)))
        assert time.monotonic() - start < 10


def test_without_an_address_ray_starts_a_cluster_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, Ray itself looks for a cluster on this machine and in RAY_ADDRESS, and then refuses a number of processes."""
    ray = pytest.importorskip("ray")
    asked: list[object] = []

    def init(address: str, **settings: object) -> None:
        asked.extend([address, settings["num_cpus"]])
        raise ConnectionError("no room")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ComputeError, match=r"no cluster answers at this machine \(no room\)"):
        list(ordered(abs, [1], Compute(backend="ray", workers=3)))
    assert asked == ["local", 3]


@pytest.mark.slow
def test_an_address_of_ray_that_something_else_listens_at_is_named() -> None:
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ComputeError, match=r"compute\.address: no cluster answers at 127\.0\.0\.1:\d+ "):
            list(ordered(abs, [1], Compute(backend="ray", address=address)))
    assert time.monotonic() - start < 120


def test_a_scheduler_that_takes_the_connection_and_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    never = threading.Event()
    monkeypatch.setattr(clusters, "REACH", -4.9)
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: never.wait(30))
    with pytest.raises(ComputeError, match=r"no cluster answers at tcp://scheduler:1 \(something there .* says nothing for 0\.1 s\)"):
        list(ordered(abs, [1], Compute(backend="dask", address="tcp://scheduler:1")))
    never.set()


@pytest.mark.parametrize("address", ["nonsense", "host:port", "ray://"])
def test_what_is_no_address_of_ray_is_named_at_once(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ComputeError, match=rf"compute\.address: no cluster answers at {address} "):
        list(ordered(abs, [1], Compute(backend="ray", address=address)))


@pytest.mark.parametrize("error", [AttributeError("musl has none"), OSError("no library"), TypeError("not on Windows")])
def test_memory_is_returned_where_the_c_library_can(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    return_memory()

    def refused(name: object) -> None:
        raise error

    monkeypatch.setattr("ctypes.CDLL", refused)
    return_memory()


def dying_once(marker: Path) -> Callable[[int], int]:
    """A function that kills its process the first time that it is given a 7."""

    def work(item: int) -> int:
        if item == 7 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item

    return work


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_gives_what_threads_give(backend: Any) -> None:
    items = range(3 * UNREAD)
    square = lambda item: item * item  # noqa: E731  # pickled by value, which a worker needs that cannot import this module
    assert list(ordered(square, items, Compute(backend=backend))) == [item * item for item in items]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_does_the_work_of_a_killed_worker_again(backend: Any, tmp_path: Path) -> None:
    assert list(ordered(dying_once(tmp_path / "died"), range(40), Compute(backend=backend))) == [item * item for item in range(40)]
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_workers_that_die_again_and_again_are_told_in_one_line() -> None:
    with pytest.raises(ComputeError, match=r"compute\.backend dask: KilledWorker: .*finished parts are kept"):
        list(ordered(lambda item: os.kill(os.getpid(), signal.SIGKILL), range(2), Compute(backend="dask")))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_what_the_work_raises_on_a_cluster_is_raised_here(backend: Any) -> None:
    def work(item: int) -> int:
        if item == 5:
            raise ArchiveError("faces.tar is truncated")
        return item

    with pytest.raises(ArchiveError, match="truncated"):
        list(ordered(work, range(20), Compute(backend=backend)))


@pytest.mark.slow
def test_what_all_items_share_is_sent_once() -> None:
    """Dask warns of calls above 10 MB each."""
    shared, sent = b"x" * 12_000_000, []
    submit = clusters.DaskCluster.submit

    def counted(self: clusters.DaskCluster, item: bytes) -> Any:
        sent.append(len(item))
        return submit(self, item)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(clusters.DaskCluster, "submit", counted)
        assert list(ordered(lambda item: len(shared) + item, range(20), Compute(backend="dask"))) == [12_000_000 + i for i in range(20)]
    assert sum(sent) < 1_000
