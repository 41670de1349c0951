"""The same judgments as training rows: pointwise (alpaca), listwise, and setwise."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from limrank_ir.prompts import RANK1

from .records import AlpacaRow, JudgedPair


def pointwise(pairs: Sequence[JudgedPair]) -> Iterator[AlpacaRow]:
    """Rows like those of LimRank and Rank1: the rank1 prompt, then the first judgment's trace and the label.

    Args:
        pairs: judged pairs.

    Yields:
        ``{instruction, input, output}``, joined by LLaMA-Factory with a line feed.
    """
    for pair in pairs:
        prompt = RANK1.render(pair.query.text, pair.passage.text, think=True)
        instruction, _, given = (prompt.prefix + prompt.passage).partition("\n")
        yield {"instruction": instruction, "input": given, "output": f"<think>{_trace(pair)}</think>{_label(pair)}"}


def listwise(pairs: Sequence[JudgedPair], *, seed: int) -> Iterator[AlpacaRow]:
    """One row per query: all its passages, shuffled, and their ranking, the relevant ones first.

    Args:
        pairs: judged pairs.
        seed: for the order in which passages are shown.

    Yields:
        ``{instruction, input, output}``, the output such as ``[2] > [1] > [3]``. Passages with the same label keep the
        order in which they are shown.
    """
    for shown in _shown(pairs, seed):
        order = sorted(range(len(shown)), key=lambda place: (not shown[place].label, place))
        yield _row(
            shown,
            "Rank the passages by how well they answer the query, the best first, as in [2] > [1] > [3].",
            " > ".join(f"[{place + 1}]" for place in order),
        )


def setwise(pairs: Sequence[JudgedPair], *, seed: int) -> Iterator[AlpacaRow]:
    """One row per query with exactly one relevant passage: all its passages, shuffled, and which is relevant.

    Args:
        pairs: judged pairs.
        seed: for the order in which passages are shown.

    Yields:
        ``{instruction, input, output}``, the output such as ``[2]``, after that passage's trace.
    """
    for shown in _shown(pairs, seed):
        relevant = [place for place, pair in enumerate(shown) if pair.label]
        if len(relevant) == 1:
            answer = f"<think>{_trace(shown[relevant[0]])}</think> [{relevant[0] + 1}]"
            yield _row(
                shown, "Which of the passages answers the query best? Answer with its identifier, as in [2].", answer
            )


def _shown(pairs: Sequence[JudgedPair], seed: int) -> Iterator[list[JudgedPair]]:
    groups: dict[str, list[JudgedPair]] = {}
    for pair in pairs:
        groups.setdefault(pair.query.id, []).append(pair)
    for name, group in groups.items():
        if len(group) > 1:
            yield random.Random(f"{seed} {name}").sample(group, len(group))


def _row(shown: Sequence[JudgedPair], instruction: str, output: str) -> AlpacaRow:
    passages = "\n".join(f"[{number}] {' '.join(pair.passage.text.split())}" for number, pair in enumerate(shown, 1))
    return {"instruction": instruction, "input": f"Query: {shown[0].query.text}\n{passages}", "output": output}


def _trace(pair: JudgedPair) -> str:
    return f"\n{pair.judgments[0].reasoning}\n"


def _label(pair: JudgedPair) -> str:
    return str(RANK1.labels[0 if pair.label else 1])
