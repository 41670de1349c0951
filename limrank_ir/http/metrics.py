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
        self.questions = Counter("limrank_questions", "Answered questions of rankers.", **own)
        self.batch = Histogram(
            "limrank_batch_pairs", "Pairs, or questions, processed together.", buckets=[2**n for n in range(13)], **own
        )
        self.judging = Counter("limrank_judging_seconds", "Time the model spent judging and answering.", **own)
        self.dropped = Counter(
            "limrank_dropped_pairs", "Pairs, or questions, whose client disconnected before the answer.", **own
        )
        self.waiting = Gauge(
            "limrank_queue_pairs", "Pairs of requests in progress, and the most questions their rankers may ask.", **own
        )

    def add_pairs(self, pairs: int, seconds: float) -> None:
        """Record a batch of pairs."""
        self.pairs.inc(pairs)
        self._add_batch(pairs, seconds)

    def add_questions(self, questions: int, seconds: float) -> None:
        """Record a batch of questions."""
        self.questions.inc(questions)
        self._add_batch(questions, seconds)

    def _add_batch(self, size: int, seconds: float) -> None:
        self.batch.observe(size)
        self.judging.inc(seconds)
