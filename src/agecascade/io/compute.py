"""The same work on this machine's threads, on a Dask cluster or on a Ray cluster, through joblib."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config

from agecascade.errors import ComputeError
from agecascade.params import Compute

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # items for each worker that wait or are worked on
REACH = 30.0  # seconds that a cluster has to answer at its address
UNREAD = 16  # items for each worker whose results nobody has read yet: memory stays bounded where the reader is slow


def ordered(function: Callable[[Item], Result], items: Iterable[Item], compute: Compute) -> Iterator[Result]:
    """`function` of each item, in the items' order; few items are asked for ahead of the results.

    `local`: threads, unless `joblib.parallel_config` says otherwise: OpenCV and torch let go of the interpreter, and processes
    take seconds to start. `dask`, `ray`: processes, wherever the cluster has them; `function` and items are pickled.
    What `items` or `function` raises is raised here. Raises ComputeError where the cluster cannot be had or loses its workers.
    """
    source = _Source(items)
    with _workers(compute) as (count, generates), warnings.catch_warnings():
        # whoever stops reading has a reason, and joblib's advice on it would hide that
        warnings.filterwarnings("ignore", category=UserWarning, module="joblib")
        kind = {"prefer": "threads", "return_as": "generator"} if generates else {}
        while not source.ended:
            run = Parallel(n_jobs=count, batch_size=1, pre_dispatch=AHEAD * count, **kind)
            for result in run(delayed(function)(item) for item in source.some(UNREAD * count)):
                source.read += 1
                yield result
    if source.failure is not None:
        raise source.failure


class _Source:
    """Items up to the first failure, which is kept for the main thread: joblib asks for items from another.

    joblib never waits for the reader of its results. So the items pause where too many results are unread, and go on when all are.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._asked = 0
        self.read = 0
        self.ended = False
        self.failure: Exception | None = None

    def some(self, unread: int) -> Iterator[Any]:
        """The next items, until so many results are unread."""
        while self._asked - self.read < unread:
            try:
                item = next(self._items)
            except StopIteration:
                self.ended = True
                return
            except Exception as error:  # any at all
                self.failure, self.ended = error, True
                return
            self._asked += 1
            yield item


def return_memory() -> None:
    """Give back to the system what this process has freed, where the C library is glibc; elsewhere nothing needs it.

    There each thread allocates from a place of its own, and what one thread allocates and another frees leaves holes: some
    kilobyte for every picture that goes from a worker to the writer.
    """
    with suppress(AttributeError, OSError, TypeError):  # another library, another system
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def _workers(compute: Compute) -> Iterator[tuple[int, bool]]:
    """(number of workers, whether results come one by one); joblib uses these workers within the context."""
    if compute.backend == "local":
        yield compute.workers, True
        return
    with ExitStack() as held:
        count = {"dask": _dask, "ray": _ray}[compute.backend](compute, held)
        held.enter_context(parallel_config(backend=compute.backend, n_jobs=count))
        with _failures_told(compute.backend):
            yield count, compute.backend == "dask"


def _dask(compute: Compute, held: ExitStack) -> int:
    """Connect to the scheduler at `address`, or start one with `workers` processes of one thread each."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise _missing("dask") from None
    if compute.address is None:
        cluster = held.enter_context(LocalCluster(n_workers=compute.workers, threads_per_worker=1, dashboard_address=None))
        held.enter_context(Client(cluster))
        return compute.workers
    try:
        # Dask's time-out does not hold for a handshake that nobody answers
        client = held.enter_context(_within(REACH + 5, lambda: Client(compute.address, timeout=f"{REACH:g}s")))
    except (OSError, ValueError) as error:
        raise _unreachable(compute.address, error) from None
    count = sum(client.nthreads().values())
    if not count:
        raise ComputeError(f"compute.address: the Dask scheduler at {compute.address} has no workers; start some with `dask worker`")
    return count


def _ray(compute: Compute, held: ExitStack) -> int:
    """Connect to the cluster at `address`, or start one of `workers` processes."""
    if compute.address is None:
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else each worker started below `uv run` builds an environment anew
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise _missing("ray") from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "ignore_reinit_error": True}
    try:
        if compute.address is None:  # local: else Ray looks for a cluster that runs here, or in RAY_ADDRESS
            ray.init("local", num_cpus=compute.workers, include_dashboard=False, **quiet)
        else:
            _wait_for_port(compute.address)
            # one attempt, of 41 s, for an address that is taken by something else: Ray makes 20
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
            ray.init(compute.address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(compute.address or "this machine", error) from None
    held.callback(ray.shutdown)
    register_ray()
    return compute.workers if compute.address is None else int(ray.cluster_resources().get("CPU", 1))


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


@contextmanager
def _failures_told(backend: str) -> Iterator[None]:
    """Turn what a cluster raises of its own into one line; what the work raises stays as it is."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("distributed", "ray"):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ComputeError(
            f"compute.backend {backend}: {type(error).__name__}: {reason}; finished parts are kept, so run it again"
        ) from error


def _missing(backend: str) -> ComputeError:
    return ComputeError(f"compute.backend: {backend} is not installed; `uv pip install 'agecascade[{backend}]'`, or say local")


def _unreachable(address: str, error: Exception) -> ComputeError:
    reason = " ".join(str(error).split())[:200]
    return ComputeError(f"compute.address: no cluster answers at {address} ({reason}); correct it, or say null to start one here")
