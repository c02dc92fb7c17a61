"""What the server counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from nlp_suite.errors import UserError


class Metrics:
    """Counts requests, and measures their time and the size of the batches that answer them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "nlp_suite_requests",
            "Requests by outcome: answered, refused (the client's fault) or failed.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "nlp_suite_request_seconds",
            "Time from a request to its answer.",
            ["model"],
            registry=self._registry,
        )
        self._batches = Histogram(
            "nlp_suite_batch_size",
            "Examples answered together.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )

    @contextmanager
    def request(self, model: str) -> Iterator[None]:
        """Counts and times the request that the block answers."""
        begin = time.perf_counter()
        outcome = "failed"
        try:
            yield
            outcome = "answered"
        except UserError:
            outcome = "refused"
            raise
        finally:
            self._requests.labels(model, outcome).inc()
            self._seconds.labels(model).observe(time.perf_counter() - begin)

    def batch(self, model: str, size: int) -> None:
        """Notes that a model answers so many examples together."""
        self._batches.labels(model).observe(size)

    def exposition(self) -> bytes:
        """Gives all numbers in Prometheus' text format."""
        return generate_latest(self._registry)
