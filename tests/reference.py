"""The released code (rank1.py), plain and slow: one prompt at a time, without shared prefixes or batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from limrank_ir.verdict import Verdict

STOPS = ["</think> true", "</think> false"]
TIE = 1e-3  # logits differ by less between batches and machines, so greedy decoding may pick either of two closer ones


@dataclass
class Reference:
    log_odds: float
    text: str | None
    finish: str
    tokens: int
    margin: float = math.inf  # how far the best token was ahead of the second best, at the closest step


def agrees(verdict: Verdict, expected: Reference) -> bool:
    """Compare a verdict with the reference; False if a tie along the way makes them incomparable."""
    if expected.margin <= TIE:
        return False
    thought = (verdict.reasoning, verdict.finish, verdict.reasoning_tokens)
    assert thought == (expected.text, expected.finish, expected.tokens)
    assert verdict.log_odds == pytest.approx(expected.log_odds, abs=1e-3)
    return True


def wire(query: str, passage: str) -> str:
    return (
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        f"Query: {query}\n"
        f"Passage: {passage}\n"
        "<think>"
    )


def _log_odds(logits: torch.Tensor, tokenizer: Any) -> float:
    true, false = (tokenizer(label, add_special_tokens=False).input_ids[0] for label in (" true", " false"))
    logprobs = torch.log_softmax(logits.double(), dim=-1)
    return float(logprobs[true] - logprobs[false])


@torch.inference_mode()
def at_the_end(model: Any, tokenizer: Any, prompt: str) -> float:
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    return _log_odds(model(ids).logits[0, -1], tokenizer)


@torch.inference_mode()
def judge(model: Any, tokenizer: Any, query: str, passage: str, *, budget: int | None = None) -> Reference:
    """The verdict on one pair, without thinking if `budget` is None."""
    prompt = wire(query, passage)
    if budget is None:
        return Reference(at_the_end(model, tokenizer, prompt + "\n\n</think>"), None, "verdict", 0)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=budget,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
    )
    new = out.sequences[0, ids.shape[1] :].tolist()
    gaps = [float(best - second) for ((best, second),) in (step.topk(2).values.tolist() for step in out.logits)]
    for step in range(1, len(new) + 1):  # in greedy decoding, what follows a stop string does not change what precedes
        text = tokenizer.decode(new[:step])
        if any(stop in text for stop in STOPS):
            end = min(text.index(stop) for stop in STOPS if stop in text)
            log_odds, margin = _log_odds(out.logits[step - 1][0], tokenizer), min(gaps[:step])
            return Reference(log_odds, text[:end].strip(), "verdict", step, margin)
    ended = new[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(new[:-1] if ended else new)
    thought = text.rstrip()
    if not thought.endswith((".", "!", "?")):
        end = max(thought.rfind("."), thought.rfind("!"), thought.rfind("?"))
        thought = thought[: end + 1] if end != -1 else thought
    forced = f"{prompt}\n{thought.strip()}\n</think>"
    finish = "eos" if ended else "budget"
    return Reference(at_the_end(model, tokenizer, forced), text.strip(), finish, len(new), min(gaps))
