"""``--dry-run``: what a synthesis will ask and roughly what it will cost, before anything is paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from limrank_ir.llm.pace import MOST, START

from .config import ChatModel, SynthConfig
from .guidelines import allot, read_guidelines
from .prices import Prices

# (prompt tokens, response tokens with the thought) per request: what the prompts ask for, at 4 tokens per 3 words.
_EXPECTED = {"queries": (650, 150), "outlines": (700, 850), "passages": (250, 160), "judgments": (600, 700)}
FIRST_TOKEN, TOKENS_PER_SECOND = 1.0, 50.0
"""What `durations` assumes: the seconds until an answer begins, and how fast it is written."""


class Step(NamedTuple):
    """A stage: its model, the number of requests, their tokens, and dollars (None: the model has no price)."""

    stage: str
    model: str
    requests: int
    prompt_tokens: int
    response_tokens: int
    cost: float | None


def plan(config: SynthConfig, prices: Prices, *, batch: bool = False) -> list[Step]:
    """Estimate a synthesis in which nothing is dropped or repeated.

    Args:
        config: the synthesis.
        prices: what tokens cost.
        batch: use batch files, at half the price.

    Returns:
        One step per stage.
    """
    queries = 2 * config.couples
    pairs = queries * (config.negatives + 1)
    negatives = read_guidelines(config.guidelines).negatives
    kinds = allot(queries * config.negatives, [(each.name, each.share) for each in negatives])
    borrowed = sum(kinds[each.name] for each in negatives if each.made == "borrowed")
    steps = []
    for stage, count, model in (
        ("queries", config.couples, config.generator.model),
        ("outlines", queries, config.generator.model),
        ("passages", pairs - borrowed, config.generator.model),
        ("judgments", pairs * config.samples, config.judge.model),
    ):
        prompt, response = (count * tokens for tokens in _EXPECTED[stage])
        cost = prices.cost(
            model, {"usage": {"prompt_tokens": prompt, "completion_tokens": response}, "limrank_batch": batch}
        )
        steps.append(Step(stage, model, count, prompt, response, cost))
    return steps


def durations(config: SynthConfig, steps: Sequence[Step]) -> tuple[float, float]:
    """Estimate the shortest and the longest time of a synthesis, in seconds; with ``auto``, the server decides.

    Args:
        config: the synthesis.
        steps: its plan.
    """

    def seconds(concurrency: Callable[[ChatModel], int]) -> float:
        total = 0.0
        for step in steps:
            model = config.judge if step.stage == "judgments" else config.generator
            answer = FIRST_TOKEN + step.response_tokens / max(1, step.requests) / TOKENS_PER_SECOND
            total += math.ceil(step.requests / concurrency(model)) * answer
        return total

    return (
        seconds(lambda model: MOST if model.concurrency == "auto" else model.concurrency),
        seconds(lambda model: START if model.concurrency == "auto" else model.concurrency),
    )
