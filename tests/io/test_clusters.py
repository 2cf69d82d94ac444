"""How many calls run at once on the workers of a cluster, so that their threads do not outnumber the cores."""

from __future__ import annotations

import pytest

from agecascade.errors import ComputeError
from agecascade.io.clusters import _dask_count, _ray_cluster, _unreachable


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict:
    return {"Alive": alive, "Resources": {"CPU": cpus, "memory": 1e9, **({"GPU": gpus} if gpus else {})}}


@pytest.mark.parametrize(
    ("workers", "threads", "alone", "count"),
    [
        ({"a": 1, "b": 1}, 1, False, 2),
        ({"a": 2, "b": 2}, 1, False, 4),
        ({"a": 2, "b": 2}, 2, False, 2),
        ({"a": 2, "b": 3}, 2, False, 2),
        ({"a": 4, "b": 4}, 1, True, 2),  # a process trains one network at a time
    ],
)
def test_a_dask_worker_takes_as_many_calls_as_it_has_threads_for(workers: dict, threads: int, alone: bool, count: int) -> None:
    assert _dask_count(workers, "tcp://head:8786", threads, alone) == count


@pytest.mark.parametrize(
    ("workers", "line"),
    [
        ({}, r"^compute\.address: the Dask scheduler at tcp://head:8786 has no workers; start some with `dask worker`$"),
        ({"a": 2, "b": 1}, r"^compute\.threads: 2, but the Dask worker b has 1; start workers with --nthreads 2, one for every 2 cores$"),
    ],
)
def test_workers_that_have_too_few_threads_are_named(workers: dict, line: str) -> None:
    with pytest.raises(ComputeError, match=line):
        _dask_count(workers, "tcp://head:8786", 2, False)


@pytest.mark.parametrize(
    ("nodes", "threads", "alone", "count", "needs"),
    [
        ([node(2), node(2)], 2, False, 2, {"num_cpus": 2}),
        ([node(3), node(3), node(8, alive=False)], 2, False, 2, {"num_cpus": 2}),  # a call is never of two nodes
        ([node(16, gpus=2), node(16)], 1, True, 2, {"num_cpus": 1, "num_gpus": 1}),
        ([node(16, gpus=2)], 1, False, 16, {"num_cpus": 1}),  # no torch, no GPU
    ],
)
def test_ray_reserves_what_a_call_uses(nodes: list[dict], threads: int, alone: bool, count: int, needs: dict) -> None:
    pytest.importorskip("ray")
    cluster = _ray_cluster(nodes, threads, alone)
    assert (cluster.count, cluster._needs) == (count, needs)


def test_nodes_without_enough_processors_are_told() -> None:
    with pytest.raises(ComputeError, match=r"^compute\.threads: 4, but no node of the Ray cluster has more than 3 processors; lower it$"):
        _ray_cluster([node(2), node(3)], 4, True)


def test_a_cluster_that_refuses_without_a_token_is_told_how_it_is_given_one() -> None:
    line = str(_unreachable("head:6379", ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")))
    assert line.endswith("; correct it, set RAY_AUTH_MODE=token where it asks for a token, or say null to start one here")
    assert "token" not in str(_unreachable("tcp://head:8786", OSError("refused")))
