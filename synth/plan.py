"""``--dry-run``: what a synthesis will ask, and about what it costs, before anything is paid."""

from __future__ import annotations

from typing import NamedTuple

from .config import SynthConfig
from .prices import Prices

# Tokens of an answer with its thought: what the prompts ask for, at 4 tokens for 3 words. Prompts likewise.
_EXPECTED = {"queries": (450, 200), "outlines": (450, 650), "passages": (200, 160), "judgments": (380, 700)}


class Step(NamedTuple):
    """A stage: its model, how many requests, their tokens, and the cost in dollars (None: the model has no price)."""

    stage: str
    model: str
    requests: int
    prompt_tokens: int
    response_tokens: int
    cost: float | None


def plan(config: SynthConfig, prices: Prices, *, batch: bool = False) -> list[Step]:
    """Estimate a synthesis, if nothing is dropped or asked for again.

    Args:
        config: the synthesis.
        prices: what tokens cost.
        batch: by way of batch files, at half the price.

    Returns:
        A step for each stage.
    """
    queries = 2 * config.couples
    passages = queries * (config.negatives + 1)
    steps = []
    for stage, count, model in (
        ("queries", config.couples, config.generator.model),
        ("outlines", queries, config.generator.model),
        ("passages", passages, config.generator.model),
        ("judgments", passages * config.samples, config.judge.model),
    ):
        prompt, response = (count * tokens for tokens in _EXPECTED[stage])
        cost = prices.cost(
            model, {"usage": {"prompt_tokens": prompt, "completion_tokens": response}, "limrank_batch": batch}
        )
        steps.append(Step(stage, model, count, prompt, response, cost))
    return steps
