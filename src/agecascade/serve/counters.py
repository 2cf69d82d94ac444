"""Prometheus metrics of one server: counts and times, nothing about a picture or a person."""

from __future__ import annotations

from collections.abc import Callable

TIMES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds, upper ends


class Counters:
    """The metrics of `/metrics`, in a registry of their own."""

    def __init__(self, taken: Callable[[], int]) -> None:
        """taken: how many requests are under way."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self._requests = Counter("agecascade_requests", "Requests to /predict by status", ["status"], registry=self.registry)
        self._seconds = Histogram(
            "agecascade_request_seconds", "Seconds from a request's head to its answer", buckets=TIMES, registry=self.registry
        )
        self._pictures = Counter("agecascade_pictures", "Pictures that were answered", registry=self.registry)
        self._faces = Counter("agecascade_faces", "Faces with a value", registry=self.registry)
        Gauge("agecascade_requests_under_way", "Requests that have a place", registry=self.registry).set_function(taken)

    def request(self, status: int, seconds: float) -> None:
        """Count one answer to /predict."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def answered(self, pictures: int, faces: int) -> None:
        """Count what an answer holds."""
        self._pictures.inc(pictures)
        self._faces.inc(faces)

    def text(self) -> tuple[bytes, str]:
        """What Prometheus reads, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
