"""A Dask cluster of two processes, as `dask scheduler` and `dask worker` start one: each stage connects to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agecascade.params import Compute


@pytest.fixture(scope="session")
def cluster() -> Iterator[Compute]:
    """The settings of a stage that works on the cluster."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with distributed.LocalCluster(**options) as started:
        yield Compute(backend="dask", address=started.scheduler_address)
