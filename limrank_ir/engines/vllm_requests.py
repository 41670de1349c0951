"""What is asked of vLLM, and what its answers say: a text and how it ended, and the labels where they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limrank_ir.engines.thoughts import before_stop, up_to_stop
from limrank_ir.errors import EngineError
from limrank_ir.verdict import Ending, Finish, Reading, Written

if TYPE_CHECKING:
    from limrank_ir.engines.tokens import PromptTokenizer, Tokens

NEWS = 64  # a thought's tokens are counted in steps of this many


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought that vLLM generated.

    Attributes:
        text: without the stop string.
        tokens: the number of generated tokens.
        finish: how it ended.
    """

    text: str
    tokens: int
    finish: Finish


@dataclass(frozen=True, slots=True)
class Request:
    """What a request is about.

    Attributes:
        index: the prompt's index.
        tokens: the prompt's tokens.
        thought: the thought that stands before the labels, or None.
        cut: tokens that were cut from the prompt when it was thought about.
    """

    index: int
    tokens: Tokens
    thought: Thought | None = None
    cut: int = 0


def label_params(label_ids: Sequence[int]) -> Any:
    """Sampling parameters that read labels at the end of a prompt."""
    return _params(label_ids, max_tokens=1, detokenize=False)


def text_params(stops: Sequence[str], budget: int, label_ids: Sequence[int] = ()) -> Any:
    """Sampling parameters that let the model think or write, and read labels, if there are any, at each token."""
    return _params(
        label_ids,
        max_tokens=budget,
        stop=list(stops),
        include_stop_str_in_output=True,
        skip_special_tokens=False,  # the end of a thought may be one
        spaces_between_special_tokens=False,
    )


def _params(label_ids: Sequence[int], **further: Any) -> Any:
    # `logprobs` stays unset: `logprob_token_ids` are exact, over the whole vocabulary, and requests of both kinds in
    # one batch disturb each other (vllm/v1/sample/sampler.py of 0.32).
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    if label_ids:
        further |= {"logprob_token_ids": list(label_ids), "flat_logprobs": True}
    return SamplingParams(
        temperature=0,
        output_kind=RequestOutputKind.CUMULATIVE,
        stream_interval=NEWS,
        **further,
    )


def refusals() -> tuple[type[Exception], ...]:
    """The errors with which vLLM refuses what a user asked for."""
    from vllm.exceptions import VLLMClientError

    return ValueError, VLLMClientError


def generated(output: Any, stops: Sequence[str], tokenizer: PromptTokenizer) -> tuple[str, int, Ending]:
    """A text that vLLM generated.

    Args:
        output: vLLM's ``RequestOutput``.
        stops: the strings at which it stops.
        tokenizer: decodes it.

    Returns:
        (the text, up to the end of the stop string if there is one; the number of its tokens; how it ended).

    Raises:
        EngineError: vLLM gave up the request.
    """
    made = output.outputs[0]
    ids = list(made.token_ids)
    if isinstance(made.stop_reason, str):
        text = tokenizer.decode(ids)
        return up_to_stop(text if made.stop_reason in text else made.text, stops), len(ids), "stop"
    if made.finish_reason == "length":
        return tokenizer.decode(ids), len(ids), "budget"
    if made.finish_reason == "stop":  # the last token ends the text
        return tokenizer.decode(ids[:-1]), len(ids), "eos"
    raise EngineError(f"vLLM gave up a prompt of {len(output.prompt_token_ids)} tokens ({made.finish_reason})")


def ended(output: Any, stops: Sequence[str], tokenizer: PromptTokenizer) -> Thought:
    """How a thought ended. The arguments are those of `generated`.

    Returns:
        The thought. Its finish is ``"verdict"`` only if it ended with a stop string.

    Raises:
        EngineError: vLLM gave up the request.
    """
    text, tokens, ending = generated(output, stops, tokenizer)
    if ending == "stop":
        return Thought(before_stop(text, stops), tokens, "verdict")
    return Thought(text.strip(), tokens, ending)


def written(request: Request, output: Any, stops: Sequence[str], tokenizer: PromptTokenizer) -> Written:
    """What vLLM wrote. The further arguments are those of `generated`.

    Raises:
        EngineError: vLLM gave up the request.
    """
    text, tokens, ending = generated(output, stops, tokenizer)
    return Written(text, len(request.tokens.ids), tokens, ending, request.tokens.cut)


def reading(request: Request, output: Any, label_ids: Sequence[int], *, raw: bool) -> Reading:
    """What an answer says of the labels at its last token.

    Args:
        request: what was asked.
        output: vLLM's ``RequestOutput``.
        label_ids: the tokens of the labels.
        raw: whether vLLM gives logits instead of log-probabilities.

    Returns:
        The reading.

    Raises:
        EngineError: a label is missing, or its value is not a finite number.
    """
    length = len(request.tokens.ids)
    made = output.outputs[0]
    if not made.logprobs or len(made.logprobs) != len(made.token_ids):
        raise EngineError(f"vLLM gave no log-probabilities for a prompt of {length} tokens ({made.finish_reason})")
    last = made.logprobs[-1]
    if missing := [number for number in label_ids if number not in last]:
        raise EngineError(
            f"vLLM gave no log-probability of the label token {missing[0]} for a prompt of {length} tokens"
        )
    values = tuple(last[number].logprob for number in label_ids)
    if wrong := [value for value in values if not math.isfinite(value)]:
        raise EngineError(f"the model gave {wrong[0]} for a prompt of {length} tokens; try dtype='float32'")
    thought = request.thought or Thought("", 0, "verdict")
    return Reading(
        None if raw else values,
        None if request.thought is None else thought.text,
        length,
        thought.tokens,
        thought.finish,
        request.cut + request.tokens.cut,
        values if raw else None,
    )
