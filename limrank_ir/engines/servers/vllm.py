"""vLLM's ``/v1/completions``: exact log-probabilities of given tokens at every place, in one request.

From vLLM 0.32: entrypoints/openai/completion/protocol.py and serving.py. `logprob_token_ids` needs `logprobs`, which it
then replaces; the answer has the sampled token and the given ones, as ``"token_id:N"``. Sampling parameters are all
given, because vLLM takes missing ones from the model's generation_config.json (Qwen's has a repetition penalty).
"""

from __future__ import annotations

from typing import Any

from limrank_ir.engines.servers.connection import Fault
from limrank_ir.engines.servers.wire import BIAS, Generated, Question, Served, Step, Token, field, logprob


class Vllm:
    """Asks vLLM."""

    takes_ids = True

    def request(self, served: Served, question: Question) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request."""
        body = {
            "model": served.model,
            "prompt": list(question.prompt),
            "max_tokens": question.tokens,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "logprobs": 1,
            "logprob_token_ids": list(question.labels),
            "return_tokens_as_token_ids": True,
            "skip_special_tokens": False,  # the end of a thought may be one
            "spaces_between_special_tokens": False,
            "stop": list(question.stops),
            "include_stop_str_in_output": True,
        }
        if question.force is not None:
            body["logit_bias"] = {str(question.force): BIAS}
        return "/v1/completions", body

    def answer(self, answer: Any) -> Generated:
        """Read an answer (`limrank_ir.engines.servers.wire.Wire.answer`)."""
        choice = field(answer, "choices", 0, kind=dict)
        reason = choice.get("finish_reason")
        if reason not in ("stop", "length"):
            raise Fault(f"a prompt that the server gave up ({reason})")
        found = field(choice, "logprobs", kind=dict)
        tokens: list[Token] = [_token(name) for name in field(found, "tokens", kind=list)]
        steps: list[Step] = [
            {_token(name): logprob(value) for name, value in field(step, kind=dict).items()}
            for step in field(found, "top_logprobs", kind=list)
        ]
        if not tokens or len(tokens) != len(steps):
            raise Fault("an answer without a log-probability for each token")
        return Generated(tokens, steps, reason == "length", field(answer, "usage", "prompt_tokens", kind=int))


def _token(name: Any) -> int:
    number = str(name).removeprefix("token_id:")
    if not number.isdecimal():
        raise Fault(f"an answer with the token {number[:40]!r} in place of a token id")
    return int(number)
