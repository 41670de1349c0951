"""Metrics for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The metrics at ``/metrics``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("limrank_requests", "Answered requests.", ["path", "status"], **own)
        self.seconds = Histogram("limrank_request_seconds", "Time from request to answer.", ["path"], **own)
        self.pairs = Counter("limrank_pairs", "Judged (query, document) pairs.", **own)
        self.batch = Histogram(
            "limrank_batch_pairs", "Pairs judged together.", buckets=[2**n for n in range(13)], **own
        )
        self.judging = Counter("limrank_judging_seconds", "Time the model spent judging.", **own)
        self.dropped = Counter("limrank_dropped_pairs", "Pairs whose client disconnected before the answer.", **own)
        self.waiting = Gauge("limrank_queue_pairs", "Pairs waiting or being judged.", **own)

    def add_batch(self, pairs: int, seconds: float) -> None:
        """Record a batch."""
        self.pairs.inc(pairs)
        self.batch.observe(pairs)
        self.judging.inc(seconds)
