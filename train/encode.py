"""From groups to token ids: a trained prompt has the very ids that the engine gives a judged one.

The rule for over-long rows: the passage is cut, as the engine cuts it, until prompt and response fit into the cutoff.
Before that a query that takes more than half of the cutoff is cut to that half, and a thought that takes more than
a quarter of it to whole sentences within that quarter (as `PromptFormat.forced` cuts thoughts).
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
    """One sequence to train on.

    Attributes:
        ids: prompt and response, int32.
        prompt: how many of them are the prompt's.
        cut: tokens cut from query, passage and thought.
        group: which group of the batch it belongs to.
        groups: how many the batch has, those without rows included.
        candidate: what is known of the passage.
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
    """Rows that ask for the verdict at once: the response is the label's first token, which is what is scored.

    Args:
        groups: a batch.
        fmt: the prompt format.
        tokenizer: the engine's tokenizer.
        cutoff: the most tokens of prompt and response.

    Returns:
        One row a candidate, group by group.

    Raises:
        InputError: a query with its instruction leaves no room for a passage.
    """
    rows = []
    for number, group in enumerate(groups):
        query, lost = _fitting(group.query, tokenizer, cutoff)
        prompts = [fmt.render(query, candidate.text, group.instruction) for candidate in group.candidates]
        for candidate, tokens in zip(group.candidates, _within(prompts, group, tokenizer, cutoff, 1), strict=True):
            label = tokenizer.label_ids[0 if candidate.label else 1]
            ids = np.append(tokens.ids, np.int32(label))
            rows.append(TokenSequence(ids, len(tokens.ids), lost + tokens.cut, number, len(groups), candidate))
    return rows


def trace_sequences(
    groups: Sequence[Group], fmt: PromptFormat, tokenizer: PromptTokenizer, cutoff: int
) -> list[TokenSequence]:
    r"""Rows that think first: the response is ``"\n{reasoning}\n</think> true"``, without an end token.

    Args:
        groups: a batch; candidates without reasoning make no row.
        fmt: the prompt format.
        tokenizer: the engine's tokenizer.
        cutoff: the most tokens of prompt and response.

    Returns:
        One row a candidate with reasoning, group by group.

    Raises:
        InputError: as for `verdict_sequences`.
    """
    rows = []
    for number, group in enumerate(groups):
        query, lost = _fitting(group.query, tokenizer, cutoff)
        for candidate in group.candidates:
            if candidate.reasoning is None:
                continue
            end = f"\n{fmt.end_of_thought}{fmt.labels[0 if candidate.label else 1]}"
            thought = clean(candidate.reasoning).strip()
            whole = response = tokenizer.encode_text(f"\n{thought}", end)
            if len(whole) > cutoff * THOUGHT_SHARE:
                response = _shortened(thought, end, tokenizer, int(cutoff * THOUGHT_SHARE))
            prompt = fmt.render(query, candidate.text, group.instruction, think=True)
            (tokens,) = _within([prompt], group, tokenizer, cutoff, len(response))
            cut = lost + tokens.cut + len(whole) - len(response)
            rows.append(
                TokenSequence(
                    np.concatenate([tokens.ids, response]), len(tokens.ids), cut, number, len(groups), candidate
                )
            )
    return rows


def ranking_sequences(
    prompts: Sequence[tuple[str, str, str]], tokenizer: PromptTokenizer, cutoff: int
) -> list[TokenSequence]:
    """Rows of whole rankings (listwise, setwise): prompt and response as they stand.

    Args:
        prompts: (place, prompt, response).
        tokenizer: the engine's tokenizer.
        cutoff: the most tokens of prompt and response.

    Returns:
        One row each.

    Raises:
        InputError: a row does not fit: cutting a list of passages would change what is asked.
    """
    rows = []
    for number, (place, prompt, answer) in enumerate(prompts):
        ids, response = tokenizer.encode_text(prompt, start=True), tokenizer.encode_text(answer)
        if len(ids) + len(response) > cutoff:
            raise InputError(
                f"{place}: {len(ids) + len(response)} tokens, more than data.cutoff ({cutoff}); raise it, or shorten "
                "the passages"
            )
        rows.append(
            TokenSequence(np.concatenate([ids, response]), len(ids), 0, number, len(prompts), Candidate(prompt, True))
        )
    return rows


def _fitting(query: str, tokenizer: PromptTokenizer, cutoff: int) -> tuple[str, int]:
    """The query, cut if need be, and how many tokens it lost."""
    ids = tokenizer.encode_text(clean(query))
    most = kept = int(cutoff * QUERY_SHARE)
    if len(ids) <= most:
        return query, 0
    # A character may be several tokens, and a part of one is read as more than it had.
    while (tokens := len(tokenizer.encode_text(text := _decoded(tokenizer, ids[:kept])))) > most:
        kept -= 1
    return text, len(ids) - tokens


def _decoded(tokenizer: PromptTokenizer, ids: np.ndarray) -> str:
    return tokenizer.decode(ids.tolist()).rstrip("\ufffd")


def _within(
    prompts: list[Prompt], group: Group, tokenizer: PromptTokenizer, cutoff: int, response: int
) -> list[Tokens]:
    """A group's prompts, cut so that a response of so many tokens fits behind them."""
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
        low, high = (middle, high) if len(response(middle)) <= most else (low, middle - 1)
    return response(low)
