"""From groups to token ids. A prompt has the same ids in training as in inference.

If prompt and response fit into the cutoff, nothing is cut. Otherwise three texts give up tokens, one after the other,
each no more than is still needed:

1. the query, down to half of the cutoff;
2. the thought, down to a quarter of the cutoff, label included; only whole sentences stay (as `PromptFormat.forced`
   cuts thoughts), so it may lose up to a sentence more;
3. the passage, as the engine cuts it, until the rest fits.

Rows can be cut by the rule of the released recipe instead (`proportional_lengths`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from limrank_ir.engines.tokens import PromptTokenizer
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
        prompts = [fmt.render(group.query, candidate.text, group.instruction) for candidate in group.candidates]
        for candidate, tokens in zip(group.candidates, tokenizer.encode(prompts, sys.maxsize), strict=True):
            prompt, whole = tokens.ids, len(tokens.ids) + 1
            if whole > cutoff:
                query, _ = _shorter_query(group.query, tokenizer, cutoff, whole - cutoff)
                shorter = fmt.render(query, candidate.text, group.instruction)
                prompt = _shorter_prompt(shorter, group, tokenizer, cutoff, 1)
            ids = np.append(prompt, np.int32(tokenizer.label_ids[0 if candidate.label else 1]))
            sequences.append(TokenSequence(ids, len(prompt), whole - len(ids), number, len(groups), candidate))
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
        thoughts = [
            (candidate, clean(candidate.reasoning).strip())
            for candidate in group.candidates
            if candidate.reasoning is not None
        ]
        prompts = [fmt.render(group.query, each.text, group.instruction, think=True) for each, _ in thoughts]
        for (candidate, thought), tokens in zip(thoughts, tokenizer.encode(prompts, sys.maxsize), strict=True):
            end = f"\n{fmt.end_of_thought}{fmt.labels[0 if candidate.label else 1]}"
            prompt, response = tokens.ids, tokenizer.encode_text(f"\n{thought}", end)
            whole = len(prompt) + len(response)
            if whole > cutoff:
                query, saved = _shorter_query(group.query, tokenizer, cutoff, whole - cutoff)
                most = max(int(cutoff * THOUGHT_SHARE), len(response) - (whole - cutoff - saved))
                if len(response) > most:
                    response = _shorter_response(thought, end, tokenizer, most)
                shorter = fmt.render(query, candidate.text, group.instruction, think=True)
                prompt = _shorter_prompt(shorter, group, tokenizer, cutoff, len(response))
            ids = np.concatenate([prompt, response])
            sequences.append(TokenSequence(ids, len(prompt), whole - len(ids), number, len(groups), candidate))
    return sequences


def row_sequences(
    groups: Sequence[Group],
    fmt: PromptFormat,
    tokenizer: PromptTokenizer,
    cutoff: int,
    cut: Literal["texts", "proportional"],
) -> list[TokenSequence]:
    r"""The sequences of `trace_sequences`, with the response of the released rows: ``"<think>\n{reasoning}..."``.

    The ids are those of `trace_sequences`. Only the border moves: the tag that begins a thought, which inference gives,
    is learned, too, as by LLaMA-Factory, where it belongs to a row's ``output``. As there, no end token follows the
    label (template ``empty``; github SighingSnow/limrank: rerank-exps/train_configs/limrank.yaml).

    Args:
        groups: a batch; each group has one candidate.
        fmt: the prompt format.
        tokenizer: the engine's tokenizer.
        cutoff: the maximum number of tokens of prompt and response.
        cut: what is cut: ``"texts"``, as in `trace_sequences`, or ``"proportional"``, the ends of prompt and response
            (`proportional_lengths`).

    Returns:
        One sequence for each row with reasoning.

    Raises:
        InputError: ``cut="texts"``, and a query with its instruction and the thought leaves no room for a passage.
    """
    tag = tokenizer.encode_text("", (fmt.think or "").rsplit("\n")[-1])
    sequences = []
    for row in trace_sequences(groups, fmt, tokenizer, cutoff if cut == "texts" else sys.maxsize):
        # The tag's tokens stand at the end of the prompt, unless a tokenizer joins them with the text before.
        apart = row.ids[row.prompt - len(tag) : row.prompt].tolist() == tag.tolist()
        prompt = row.prompt - len(tag) * apart
        source, target = prompt, len(row.ids) - prompt
        if cut == "proportional":
            source, target = proportional_lengths(source, target, cutoff)
        ids = np.concatenate([row.ids[:source], row.ids[prompt : prompt + target]])
        sequences.append(replace(row, ids=ids, prompt=source, cut=row.cut + len(row.ids) - len(ids)))
    return sequences


def proportional_lengths(prompt: int, response: int, cutoff: int) -> tuple[int, int]:
    """How many tokens LLaMA-Factory keeps of a prompt and of its response, both from the beginning.

    A response below half of the cutoff is kept, and the prompt gets the rest. Otherwise a prompt below half is kept,
    and the response gets the rest. If neither is below half, they share the cutoff in proportion to their lengths. A
    response that is cut loses its verdict. (github hiyouga/LLaMA-Factory:
    src/llamafactory/data/processor/processor_utils.py, ``infer_seqlen``.)

    Args:
        prompt: the number of the prompt's tokens.
        response: the number of the response's tokens.
        cutoff: the maximum number of both together.

    Returns:
        (tokens of the prompt, tokens of the response).
    """
    if response < cutoff / 2:
        room = cutoff
    elif prompt < cutoff / 2:
        room = cutoff - prompt
    else:
        room = int(cutoff * (response / (prompt + response)))
    kept = min(room, response)
    return min(prompt, cutoff - kept), kept


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


def _shorter_query(query: str, tokenizer: PromptTokenizer, cutoff: int, excess: int) -> tuple[str, int]:
    """The query without `excess` tokens, but with half of the cutoff at least, and how many tokens it lost."""
    ids = tokenizer.encode_text(clean(query))
    kept = most = max(int(cutoff * QUERY_SHARE), len(ids) - excess)
    if len(ids) <= most:
        return query, 0
    while True:
        text = tokenizer.decode(ids[:kept].tolist()).rstrip("\ufffd")
        # A cut through a character of several tokens can make the text longer again, in tokens.
        tokens = len(tokenizer.encode_text(text))
        if tokens <= most:
            return text, len(ids) - tokens
        kept -= 1


def _shorter_response(thought: str, end: str, tokenizer: PromptTokenizer, most: int) -> np.ndarray:
    """The response with the longest beginning of the thought, in whole sentences, that fits."""

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


def _shorter_prompt(prompt: Prompt, group: Group, tokenizer: PromptTokenizer, cutoff: int, response: int) -> np.ndarray:
    """The prompt's ids, with its passage cut to leave room for a response of this many tokens."""
    try:
        (tokens,) = tokenizer.encode([prompt], cutoff - response)
    except InputError as error:
        raise InputError(
            f"{group.source}: the query {group.qid[:60]!r} with its instruction and {response} tokens of response "
            f"leaves no room for a passage within data.cutoff ({cutoff}); raise it, or set query_words"
        ) from error
    return tokens.ids
