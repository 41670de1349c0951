"""SGLang's ``/generate``: exact log-probabilities of given tokens at every place, in one request.

From SGLang 0.5.23: srt/managers/io_struct.py (GenerateReqInput), tokenizer_manager.py (add_logprob_to_meta_info), and
sampling/sampling_params.py. ``/v1/score`` is not used: for one prompt it computes the same as ``/generate`` with one
token, also from the cached prefix, but it does not say how many tokens it read.
"""

from __future__ import annotations

from typing import Any

from limrank_ir.engines.servers.connection import Fault
from limrank_ir.engines.servers.wire import BIAS, Generated, Question, Served, Step, Token, field, logprob


class Sglang:
    """Asks SGLang."""

    takes_ids = True

    def request(self, served: Served, question: Question) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request."""
        sampling: dict[str, Any] = {
            "max_new_tokens": question.tokens,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "stop": list(question.stops),
            "no_stop_trim": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
        }
        if question.force is not None:
            sampling["logit_bias"] = {str(question.force): BIAS}
        body: dict[str, Any] = {
            "input_ids": list(question.prompt),
            "sampling_params": sampling,
            "return_logprob": True,
            "logprob_start_len": -1,  # none of the prompt, which would not use the cached prefix
            "token_ids_logprob": list(question.labels),
        }
        if served.adapter:
            body["lora_path"] = served.model
        return "/generate", body

    def answer(self, answer: Any) -> Generated:
        """Read an answer (`limrank_ir.engines.servers.wire.Wire.answer`)."""
        meta = field(answer, "meta_info", kind=dict)
        reason = field(meta, "finish_reason", "type")
        if reason not in ("stop", "length"):
            raise Fault(f"a prompt that the server gave up ({reason})")
        sampled = field(meta, "output_token_logprobs", kind=list)
        labels = field(meta, "output_token_ids_logprobs", kind=list)
        if not sampled or len(sampled) != len(labels):
            raise Fault("an answer without a log-probability for each token")
        tokens: list[Token] = [field(entry, 1, kind=int) for entry in sampled]
        # Each entry is [log-probability, token id, text or null].
        steps: list[Step] = [
            {field(entry, 1, kind=int): logprob(field(entry, 0)) for entry in [own, *given]}
            for own, given in zip(sampled, labels, strict=True)
        ]
        return Generated(tokens, steps, reason == "length", field(meta, "prompt_tokens", kind=int))
