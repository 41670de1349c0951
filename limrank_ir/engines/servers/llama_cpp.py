"""llama.cpp's ``/completion``: the likeliest tokens at one place, and the exact log-probability of a forced token.

Measured with build 11549 (tests/servers): `n_probs` gives log-probabilities over the whole vocabulary, before
`logit_bias` and the samplers, and always that of the sampled token. So a label that is not among the likeliest tokens
is forced with a bias in a second request, whose prompt is cached. A generated stop string is part of `tokens`, but not
of the probabilities, so labels after a thought are read with a request of one token, too.
"""

from __future__ import annotations

from typing import Any

from limrank_ir.engines.servers.connection import Fault
from limrank_ir.engines.servers.wire import BIAS, Generated, Question, Served, Step, Token, field, logprob

LIKELIEST = 200  # tokens; all 49,152 of a small vocabulary are 4.7 MB of JSON and .9 s


class LlamaCpp:
    """Asks llama.cpp."""

    takes_ids = True

    def request(self, served: Served, question: Question) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request."""
        body: dict[str, Any] = {
            "model": served.model,
            "prompt": list(question.prompt),
            "n_predict": question.tokens,
            "temperature": 0.0,
            "repeat_penalty": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "n_probs": LIKELIEST if question.tokens == 1 else 0,
            "stop": list(question.stops),
            "return_tokens": True,
            "cache_prompt": True,
        }
        if question.force is not None:
            body["logit_bias"] = [[question.force, BIAS]]
        return "/completion", body

    def answer(self, answer: Any) -> Generated:
        """Read an answer (`limrank_ir.engines.servers.wire.Wire.answer`)."""
        reason = field(answer, "stop_type")
        if reason not in ("eos", "limit", "word"):
            raise Fault(f"a prompt that the server gave up ({reason})")
        if answer.get("truncated"):
            raise Fault("a prompt that the server cut")
        tokens: list[Token] = list(field(answer, "tokens", kind=list))
        steps: list[Step] = [
            {
                field(entry, "id", kind=int): logprob(field(entry, "logprob"))
                for entry in [*field(step, "top_logprobs", kind=list), step]
            }
            for step in answer.get("completion_probabilities") or []
        ]
        if not tokens and not steps and reason == "limit":
            raise Fault("an answer without tokens")
        return Generated(tokens, steps, reason == "limit", field(answer, "tokens_evaluated", kind=int))
