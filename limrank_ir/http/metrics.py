"""What the server counts, for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """What ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("limrank_requests", "Answered requests.", ["path", "status"], **own)
        self.seconds = Histogram("limrank_request_seconds", "Time from request to answer.", ["path"], **own)
        self.pairs = Counter("limrank_pairs", "Judged (query, document) pairs.", **own)
        self.batch = Histogram(
            "limrank_batch_pairs", "Pairs judged together.", buckets=[2**n for n in range(13)], **own
        )
        self.judging = Counter("limrank_judging_seconds", "Time that the model worked.", **own)
        self.dropped = Counter("limrank_dropped_pairs", "Pairs whose client had gone before their answer.", **own)
        self.waiting = Gauge("limrank_queue_pairs", "Pairs that wait or are being judged.", **own)

    def judged(self, pairs: int, seconds: float) -> None:
        """Take note of a batch."""
        self.pairs.inc(pairs)
        self.batch.observe(pairs)
        self.judging.inc(seconds)
