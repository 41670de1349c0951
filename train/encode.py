"""From groups to token ids. A prompt has the same ids in training as in inference.

What is cut if prompt and response are longer than the cutoff: a query that takes more than half of the cutoff is cut to
that half; a thought that takes more than a quarter is cut to the whole sentences that fit into that quarter (as
`PromptFormat.forced` cuts thoughts); then the passage is cut, as the engine cuts it, until the rest fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limrank_ir.engines.tokens import PromptTokenizer, Tokens
from limrank_ir.errors import InputError
from limrank_ir.prompts import Prompt, PromptFormat, clean, whole_sentences

from .rows import Candidate, Group

QUERY_SHARE, THOUGHT_SHARE = 0.5, 0.25


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence to train on: a prompt and its response.

    Attributes:
        ids: the token ids of prompt and response, int32.
        prompt: how many of them belong to the prompt.
        cut: how many tokens were cut from query, passage, and thought.
        group: the number of its group in the batch.
        groups: how many groups the batch has, including those without sequences.
        candidate: the passage, with its labels.
    """

    ids: np.ndarray
    prompt: int
    cut: int
    group: int
    groups: int
    candidate: Candidate


def verdict_sequences(
    groups: Sequence[Group], fmt: PromptFormat, tokenizer: PromptTokenizer, cutoff: int
) -> list[TokenSequence]:
    """Sequences that ask for the verdict at once; the response is the label's first token, the one that is scored.

    Args:
        groups: a batch.
        fmt: the prompt format.
        tokenizer: the engine's tokenizer.
        cutoff: the maximum number of tokens of prompt and response.

    Returns:
        One sequence for each candidate, group by group.

    Raises:
        InputError: a query with its instruction leaves no room for a passage.
    """
    sequences = []
    for number, group in enumerate(groups):
        query, lost = _fitting_query(group.query, tokenizer, cutoff)
        prompts = [fmt.render(query, candidate.text, group.instruction) for candidate in group.candidates]
        encoded = _encode_prompts(prompts, group, tokenizer, cutoff, 1)
        for candidate, tokens in zip(group.candidates, encoded, strict=True):
            label = tokenizer.label_ids[0 if candidate.label else 1]
            ids = np.append(tokens.ids, np.int32(label))
            sequences.append(TokenSequence(ids, len(tokens.ids), lost + tokens.cut, number, len(groups), candidate))
    return sequences


def trace_sequences(
    groups: Sequence[Group], fmt: PromptFormat, tokenizer: PromptTokenizer, cutoff: int
) -> list[TokenSequence]:
    r"""Sequences that think first; the response is ``"\n{reasoning}\n</think> true"``, without an end token.

    Args:
        groups: a batch; candidates without reasoning are skipped.
        fmt: the prompt format.
        tokenizer: the engine's tokenizer.
        cutoff: the maximum number of tokens of prompt and response.

    Returns:
        One sequence for each candidate with reasoning, group by group.

    Raises:
        InputError: a query with its instruction and the thought leaves no room for a passage.
    """
    sequences = []
    for number, group in enumerate(groups):
        query, lost = _fitting_query(group.query, tokenizer, cutoff)
        for candidate in group.candidates:
            if candidate.reasoning is None:
                continue
            end = f"\n{fmt.end_of_thought}{fmt.labels[0 if candidate.label else 1]}"
            thought = clean(candidate.reasoning).strip()
            whole = response = tokenizer.encode_text(f"\n{thought}", end)
            if len(whole) > cutoff * THOUGHT_SHARE:
                response = _shortened(thought, end, tokenizer, int(cutoff * THOUGHT_SHARE))
            prompt = fmt.render(query, candidate.text, group.instruction, think=True)
            (tokens,) = _encode_prompts([prompt], group, tokenizer, cutoff, len(response))
            ids = np.concatenate([tokens.ids, response])
            cut = lost + tokens.cut + len(whole) - len(response)
            sequences.append(TokenSequence(ids, len(tokens.ids), cut, number, len(groups), candidate))
    return sequences


def ranking_sequences(
    examples: Sequence[tuple[str, str, str]], tokenizer: PromptTokenizer, cutoff: int
) -> list[TokenSequence]:
    """Sequences for whole rankings (listwise, setwise): prompt and response as they are.

    Args:
        examples: (place, prompt, response) of each (`limrank_ir.train.rankings.RankingExample`).
        tokenizer: the engine's tokenizer.
        cutoff: the maximum number of tokens of prompt and response.

    Returns:
        One sequence for each example.

    Raises:
        InputError: an example does not fit. It is not cut, because that would change the list to rank.
    """
    sequences = []
    for number, (place, prompt, answer) in enumerate(examples):
        prompt_ids, response = tokenizer.encode_text(prompt, start=True), tokenizer.encode_text(answer)
        ids = np.concatenate([prompt_ids, response])
        if len(ids) > cutoff:
            raise InputError(
                f"{place}: {len(ids)} tokens, more than data.cutoff ({cutoff}); raise it, or shorten the passages"
            )
        sequences.append(TokenSequence(ids, len(prompt_ids), 0, number, len(examples), Candidate(prompt, True)))
    return sequences


def _fitting_query(query: str, tokenizer: PromptTokenizer, cutoff: int) -> tuple[str, int]:
    """The query, cut if it is too long, and how many tokens it lost."""
    ids = tokenizer.encode_text(clean(query))
    most = int(cutoff * QUERY_SHARE)
    if len(ids) <= most:
        return query, 0
    kept = most
    while True:
        text = tokenizer.decode(ids[:kept].tolist()).rstrip("\ufffd")
        # A cut through a character of several tokens can make the text longer again, in tokens.
        tokens = len(tokenizer.encode_text(text))
        if tokens <= most:
            return text, len(ids) - tokens
        kept -= 1


def _encode_prompts(
    prompts: list[Prompt], group: Group, tokenizer: PromptTokenizer, cutoff: int, response: int
) -> list[Tokens]:
    """A group's prompts, cut to leave room for a response of this many tokens."""
    try:
        return tokenizer.encode(prompts, cutoff - response)
    except InputError as error:
        raise InputError(
            f"{group.source}: the query {group.qid[:60]!r} with its instruction and {response} tokens of response "
            f"leaves no room for a passage within data.cutoff ({cutoff}); raise it, or set query_words"
        ) from error


def _shortened(thought: str, end: str, tokenizer: PromptTokenizer, most: int) -> np.ndarray:
    """The longest beginning of a thought, in whole sentences, that fits."""

    def response(count: int) -> np.ndarray:
        return tokenizer.encode_text(f"\n{whole_sentences(thought[:count])}", end)

    low, high = 0, len(thought)
    while low < high:
        middle = (low + high + 1) // 2
        if len(response(middle)) <= most:
            low = middle
        else:
            high = middle - 1
    return response(low)
