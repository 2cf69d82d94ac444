"""Dask and Ray clusters: connecting to a running one, or starting one on this machine, and beginning calls on its workers."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from agecascade.errors import ComputeError
from agecascade.io.threads import Begun
from agecascade.params import Compute

Result = TypeVar("Result")

REACH = 30.0  # seconds that a cluster has to answer at its address
INLINE = 100_000  # bytes of a call that travel with each item; more go to each worker once


class Cluster(Protocol):
    """A cluster that is connected: how many calls run at once, and the same with what all of them share."""

    count: int

    def shared(self, call: Callable[[bytes], Any]) -> Any:
        """The `Workers` (io.threads) that make this call."""
        ...


@contextmanager
def connected(compute: Compute, threads: int = 1, alone: bool = False) -> Iterator[Cluster]:
    """The cluster of `compute`; threads, alone: what one call needs (`ordered`). Raises ComputeError where it cannot be had."""
    connect: Any = {"dask": _dask, "ray": _ray}[compute.backend]
    with connect(compute, threads, alone) as cluster:
        yield cluster


def _call(call: Callable[[bytes], Any], item: bytes) -> Any:
    return call(item)


class DaskCluster:
    """Workers of a Dask scheduler."""

    def __init__(self, client: Any, count: int) -> None:
        self._client, self.count = client, count
        self._call: Any = None

    def shared(self, call: Any) -> DaskCluster:
        # to all workers: what one alone holds is lost with it
        self._call = call if len(call.function) <= INLINE else self._client.scatter(call, broadcast=True, hash=False)
        return self

    def submit(self, item: bytes) -> Begun:
        begun: Begun = self._client.submit(_call, self._call, item, pure=False)
        return begun

    def wait(self, begun: Sequence[Any]) -> None:
        from distributed import wait

        wait(begun, return_when="FIRST_COMPLETED")


@contextmanager
def _dask(compute: Compute, threads: int, alone: bool) -> Iterator[DaskCluster]:
    """Connect to the scheduler at `address`, or start one with processes for `workers` threads."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise _missing("dask") from None
    if compute.address is None:
        processes = max(1, compute.workers // threads)
        # no limit of memory: Dask counts the mapped pictures of a cache, and would end the worker
        with (
            LocalCluster(n_workers=processes, threads_per_worker=threads, dashboard_address="127.0.0.1:0", memory_limit=0) as cluster,
            Client(cluster) as client,
        ):
            yield DaskCluster(client, processes)
        return
    try:
        # Dask's time-out does not hold for a handshake that nobody answers
        client = _within(REACH + 5, lambda: Client(compute.address, timeout=f"{REACH:g}s"))
    except (OSError, ValueError) as error:
        raise _unreachable(compute.address, error) from None
    with client:
        yield DaskCluster(client, _dask_count(client.nthreads(), compute.address, threads, alone))


def _dask_count(workers: dict[str, int], address: str, threads: int, alone: bool) -> int:
    """How many calls run at once. Raises ComputeError where there are no workers, or one has fewer threads than a call uses."""
    if not workers:
        raise ComputeError(f"compute.address: the Dask scheduler at {address} has no workers; start some with `dask worker`")
    name, fewest = min(workers.items(), key=lambda worker: worker[1])
    if fewest < threads:
        raise ComputeError(
            f"compute.threads: {threads}, but the Dask worker {name} has {fewest}; start workers with --nthreads {threads}, one for every "
            f"{threads} cores"
        )
    return len(workers) if alone else sum(count // threads for count in workers.values())


class RayCall:
    """A call on a Ray cluster."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference

    def done(self) -> bool:
        import ray

        return bool(ray.wait([self.reference], timeout=0)[0])

    def result(self) -> Any:
        import ray

        try:
            return ray.get(self.reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # what the work raised

    def cancel(self) -> None:
        import ray

        ray.cancel(self.reference)


class RayCluster:
    """Workers of a Ray cluster; `needs`: what Ray reserves for a call."""

    def __init__(self, count: int, **needs: Any) -> None:
        self.count, self._needs = count, needs
        self._call: Any = None
        self._begin: Any = None

    def shared(self, call: Any) -> RayCluster:
        import ray

        self._call = ray.put(call)
        self._begin = ray.remote(**self._needs)(_call).remote
        return self

    def submit(self, item: bytes) -> RayCall:
        return RayCall(self._begin(self._call, item))

    def wait(self, begun: Sequence[RayCall]) -> None:
        import ray

        ray.wait([call.reference for call in begun], num_returns=1)


@contextmanager
def _ray(compute: Compute, threads: int, alone: bool) -> Iterator[RayCluster]:
    """Connect to the cluster at `address`, or start one with processes for `workers` threads."""
    # else below `uv run` the whole repository is sent to the cluster, and each worker builds an environment anew
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ImportError:
        raise _missing("ray") from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "ignore_reinit_error": True}
    try:
        if compute.address is None:  # local: else Ray looks for a cluster that runs here, or in RAY_ADDRESS
            ray.init("local", num_cpus=max(compute.workers, threads), include_dashboard=False, **quiet)
        else:
            _wait_for_port(compute.address)
            # one attempt, of 41 s, for an address that is taken by something else: Ray makes 20
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
            ray.init(compute.address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(compute.address or "this machine", error) from None
    try:
        yield _ray_cluster(ray.nodes(), threads, alone)
    finally:
        ray.shutdown()


def _ray_cluster(nodes: list[dict[str, Any]], threads: int, alone: bool) -> RayCluster:
    """The workers of these nodes. Raises ComputeError where none has as many processors as a call uses."""
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    count = sum(int(each.get("CPU", 0)) // threads for each in resources)
    if not count:
        most = max((int(each.get("CPU", 0)) for each in resources), default=0)
        raise ComputeError(f"compute.threads: {threads}, but no node of the Ray cluster has more than {most} processors; lower it")
    gpus = int(sum(each.get("GPU", 0) for each in resources)) if alone else 0
    return RayCluster(min(count, gpus), num_cpus=threads, num_gpus=1) if gpus else RayCluster(count, num_cpus=threads)


def _within(seconds: float, connect: Callable[[], Result]) -> Result:
    """The result of `connect`, or what it raises; raises TimeoutError where it takes longer, and leaves it alone."""
    outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((connect(), None))
        except BaseException as error:  # raised in the caller's thread
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"something there takes the connection and says nothing for {seconds:g} s") from None
    if error is not None:
        raise error
    return result


def _wait_for_port(address: str) -> None:
    """Wait until something listens at host:port or ray://host:port; raises the last OSError after REACH seconds."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):  # auto, or nothing that Ray takes, which it says itself
        return
    end = time.monotonic() + REACH
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=max(0.1, end - time.monotonic())).close()
            return
        except OSError:
            if time.monotonic() + 1 > end:
                raise
            time.sleep(1)


def _missing(backend: str) -> ComputeError:
    return ComputeError(f"compute.backend: {backend} is not installed; `uv pip install 'agecascade[{backend}]'`, or say local")


def _unreachable(address: str, error: Exception) -> ComputeError:
    reason = " ".join(str(error).split())[:200]
    # Ray says no more of a cluster that wants a token, and waits for one unless the mode says that there is one
    token = ", set RAY_AUTH_MODE=token where it asks for a token" if reason.startswith("Failed to connect to Ray") else ""
    return ComputeError(f"compute.address: no cluster answers at {address} ({reason}); correct it{token}, or say null to start one here")
