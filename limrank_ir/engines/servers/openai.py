"""Any other server with OpenAI's ``/v1/completions``: text in, and the likeliest tokens at every place, by their texts.

Labels that are not among them are forced. The text is not stopped at a verdict, because the API leaves stop strings out
of its answers; models end it there themselves.
"""

from __future__ import annotations

from typing import Any

from limrank_ir.engines.servers.connection import Fault
from limrank_ir.engines.servers.wire import BIAS, Generated, Question, Served, Step, Token, field, logprob

LIKELIEST = 5  # tokens; OpenAI's API allows no more


class OpenAI:
    """Asks a server with OpenAI's API."""

    takes_ids = False

    def request(self, served: Served, question: Question) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request."""
        body: dict[str, Any] = {
            "model": served.model,
            "prompt": question.prompt,
            "max_tokens": question.tokens,
            "temperature": 0.0,
            "logprobs": LIKELIEST,
        }
        if question.force is not None:
            body["logit_bias"] = {str(question.force): BIAS}
        return "/v1/completions", body

    def answer(self, answer: Any) -> Generated:
        """Read an answer (`limrank_ir.engines.servers.wire.Wire.answer`)."""
        choice = field(answer, "choices", 0, kind=dict)
        usage = answer.get("usage") or {}
        if choice.get("text") == "" and not choice.get("logprobs"):  # a model may end its text at once
            return Generated([], [], choice.get("finish_reason") == "length", usage.get("prompt_tokens"))
        found = field(choice, "logprobs", kind=dict)
        tokens: list[Token] = []
        steps: list[Step] = []
        if isinstance(found.get("content"), list):  # the shape of chat completions, which some servers use here, too
            for entry in found["content"]:
                tokens.append(field(entry, "token", kind=str))
                likeliest = [*entry.get("top_logprobs", []), entry]
                steps.append({field(each, "token"): logprob(field(each, "logprob")) for each in likeliest})
        else:
            tokens += field(found, "tokens", kind=list)
            own = field(found, "token_logprobs", kind=list)
            top = found.get("top_logprobs") or [{} for _ in tokens]
            if not len(tokens) == len(own) == len(top):
                raise Fault("an answer without a log-probability for each token")
            for token, number, each in zip(tokens, own, top, strict=True):
                steps.append({name: logprob(value) for name, value in {**each, token: number}.items()})
        return Generated(tokens, steps, choice.get("finish_reason") == "length", usage.get("prompt_tokens"))
