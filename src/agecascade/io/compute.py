"""The same work on this machine's threads, on a Dask cluster or on a Ray cluster: what every stage with independent work calls."""

from __future__ import annotations

import ctypes
import pickle
import platform
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from agecascade.errors import ComputeError
from agecascade.io.code import PACKAGE, SOURCE, files_digest
from agecascade.io.resume import fingerprint
from agecascade.io.threads import AHEAD, in_order, results_in_order
from agecascade.params import Compute

Item = TypeVar("Item")
Result = TypeVar("Result")

UNREAD = 16  # items for each worker whose results nobody has read yet: memory stays bounded where the reader is slow
LIBRARIES = ("numba", "numpy", "opencv-python-headless", "onnxruntime", "pyarrow", "scikit-learn", "scipy", "torch")  # that round results
_ALONE = Lock()
# glibc's malloc.h: memory at the heap's end that is given back, blocks outside the heap, heaps of threads
_MALLOPT = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_MMAP_MAX": (-4, 0), "M_ARENA_MAX": (-8, 1)}


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], compute: Compute, *, threads: int = 1, alone: bool = False
) -> Iterator[Result]:
    """`function` of each item, in the items' order; few items are taken ahead of the results (`results_in_order`).

    `local`: threads, because OpenCV and torch let go of the interpreter, and processes take seconds to start. `dask`, `ray`: processes,
    wherever the cluster has them. `function` is sent to each of them once, so it holds what all items share; an item is sent with
    its call. threads: what one call uses on a cluster. alone: no other such call in the same process, so that torch has its GPU and its
    random numbers for itself; locally one after the other in this thread. What `items` or `function` raises is raised here. Raises
    ComputeError where the cluster cannot be had, runs other code than this process, or loses its workers.
    """
    if compute.backend == "local" and alone:
        yield from map(function, items)
        return
    if compute.backend == "local":
        yield from in_order(function, items, compute.workers, UNREAD)
        return
    from agecascade.io import clusters  # connects, and knows how to begin a call

    with _failures_told(compute.backend), clusters.connected(compute, threads, alone) as cluster:
        call = Call(_packed(function), code_digest_of_all(), threads, alone)
        ahead = cluster.count if alone else AHEAD * cluster.count  # one that waits for its process could have gone to another
        pickled = (pickle.dumps(item, pickle.HIGHEST_PROTOCOL) for item in items)
        yield from results_in_order(cluster.shared(call), pickled, ahead, UNREAD * cluster.count)


@dataclass(frozen=True)
class Call:
    """What all calls of one map share, as it travels to a worker.

    function: pickled; code: what `code_digest_of_all` says where it was sent.
    """

    function: bytes
    code: str
    threads: int
    alone: bool

    def __call__(self, item: bytes) -> Any:
        """The function of an item, on a worker. Raises ComputeError where the worker has other code or libraries than the sender."""
        if self.code != code_digest_of_all():
            raise ComputeError(
                f"compute.backend: the worker on {socket.gethostname()} runs other code or libraries than this stage; start the workers "
                "again, from the same commit and with the same environment"
            )
        function = _unpacked(self.function)
        with _ALONE if self.alone else nullcontext():
            _limit_threads(self.threads)
            return function(pickle.loads(item))


def _packed(function: Callable[[Any], Any]) -> bytes:
    import cloudpickle  # functions within functions too

    packed: bytes = cloudpickle.dumps(function)
    return packed


@lru_cache(1)  # a model, or the features of a data set, is unpacked once for all items of a worker
def _unpacked(function: bytes) -> Callable[[Any], Any]:
    unpacked: Callable[[Any], Any] = pickle.loads(function)
    return unpacked


def _limit_threads(threads: int) -> None:
    """Workers share the cores already: a call takes as many as it was given."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


@cache
def code_digest_of_all() -> str:
    """A name that changes with the code of this package, with Python, and with the libraries that results depend on."""
    return fingerprint(
        code=files_digest((SOURCE / PACKAGE).rglob("*.py")), python=sys.version_info[:2], libraries=list(map(installed_version, LIBRARIES))
    )


def installed_version(library: str) -> str | None:
    """The version of a library, None where it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


@contextmanager
def _failures_told(backend: str) -> Iterator[None]:
    """Turn what a cluster raises of its own into one line; what the work raises stays as it is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != PACKAGE:
            raise
        raise ComputeError(
            f"compute.backend {backend}: its workers cannot import {PACKAGE}; start them in the environment of this repository, with "
            "PYTHONPATH=src"
        ) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("distributed", "ray"):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ComputeError(
            f"compute.backend {backend}: {type(error).__name__}: {reason}; finished parts are kept, so run it again"
        ) from error


def not_shared(path: Path | str) -> ComputeError:
    """The error of a worker that does not see at a path what the sender sees there."""
    return ComputeError(
        f"compute.backend: the worker on {socket.gethostname()} does not see {path} as this stage does; trainings, features and "
        "explanations need the repository on a file system that all workers share, or compute.backend: local"
    )


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones, where the C library is glibc; elsewhere nothing changes.

    By default glibc gives large blocks back to the system, which clears every page of the next ones anew: thousands of page faults a step,
    and 61 % of the time of MobileNet-v1 at 224 pixels.
    All threads share one heap, for the heaps of threads are given back too. Call it before threads start.
    """
    if (library := _glibc()) is not None:
        for option, value in _MALLOPT.values():
            library.mallopt(option, value)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def return_memory() -> None:
    """Give back to the system what this process has freed, where the C library is glibc; elsewhere nothing needs it.

    There each thread allocates from a place of its own, and what one thread allocates and another frees leaves holes: some
    kilobyte for every picture that goes from a worker to the writer.
    """
    with suppress(AttributeError, OSError, TypeError):  # another library, another system
        ctypes.CDLL(None).malloc_trim(0)
