"""Setwise: the model picks the best of a set, and a sort makes the top of a ranking of it.

"A Setwise Approach for Effective and Highly Efficient Zero-shot Ranking with Large Language Models" (Zhuang et al.,
arXiv 2310.09497, section 3.2); Rank-R1 (arXiv 2503.06034) picks after a thought.

A set is shown in the order of the first stage, whatever the sort is doing. So the same set is the same question, which
needs to be asked once; and where the model has no preference, or its answer is of no use, the best is the one that the
first stage prefers, which keeps ties stable and gives the old order back if no answer is usable. (The authors' code
shows the parent node, or what stands higher at the moment, first, and keeps that.)
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from limrank_ir.errors import InputError
from limrank_ir.rankers.labels import labels
from limrank_ir.rankers.lockstep import Part, together
from limrank_ir.rankers.order import Candidates, Steps, at_least, ranked, within
from limrank_ir.rankers.parse import best
from limrank_ir.rankers.tally import Tally

Sort = Literal["heap", "bubble"]
By = Literal["labels", "answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setwise:
    """Rank by the best of sets.

    Attributes:
        top: how many of the best to find; the rest follows in its old order.
        window: how many passages a set has, ``c`` in the paper. 4 is the default of the authors' code, where it is
            ``num_child=3``; their runs on TREC DL have 3; Rank-R1 has 20.
        sort: ``heap`` or ``bubble`` sort.
        by: ``labels``: read the log-probability of each passage's label; ``answer``: let the model write, which it can
            do after a thought.
        depth: how many of the first candidates to rank; the others follow in their old order. None: all.
        repeats: how often to ask about a set: once in the first stage's order, then in shuffled ones. Log-probabilities
            are added up; answers are votes (``num_permutation`` in `github ielab/llm-rankers: llmrankers/setwise.py`).
        seed: for the shuffled orders.

    Raises:
        InputError: a number is too low, or a choice unknown. Heap sort needs sets of at least 3.
    """

    top: int = 10
    window: int = 4
    sort: Sort = "heap"
    by: By = "labels"
    depth: int | None = None
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sort not in get_args(Sort) or self.by not in get_args(By):
            raise InputError(
                f"setwise: sort is {self.sort!r} and by is {self.by!r}; choose heap or bubble, and labels or answer"
            )
        at_least(0, depth=self.depth)
        at_least(1, top=self.top, repeats=self.repeats)
        # A heap of which each node has one child is a list: finding its best costs more than bubble sort.
        at_least(3 if self.sort == "heap" else 2, window=self.window)

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query, with at most `calls` questions."""
        count = len(candidates.texts)
        depth = within(self.depth, count)
        sets = _Sets(candidates, self)
        sort = _heap if self.sort == "heap" else _bubble
        found = yield from sort(sets, depth, min(self.top, depth))
        return ranked(count, found, sets.tally.counts)

    def calls(self, count: int) -> int:
        """The most questions that a number of candidates can cost.

        Table 1 of the paper has the orders of growth, ``O(k * log_c N)`` and ``O(k * N / (c - 1))`` for the best ``k``
        of ``N``. Counted out, with ``d = c - 1``, and ``repeats`` times as many:

        - heap: building asks about each of the ``n_1 = ceil((N - 1) / d)`` nodes with children, and again one level
          lower, about ``n_2 = ceil((n_1 - 1) / d)`` of them, and so on; each of the other ``k - 1`` passages costs at
          most the height of the heap that is left, about ``log_d N``.
        - bubble: pass ``i`` from 0 costs ``ceil((N - i - 1) / d)``, until ``k`` are found.
        """
        depth = within(self.depth, count)
        top, children = min(self.top, depth), self.window - 1
        if self.sort == "bubble":
            sets = sum(math.ceil((depth - found - 1) / children) for found in range(top))
        else:
            later = range(depth - 1, depth - top, -1)
            sets = sum(_inner(depth, children)) + sum(len(list(_inner(left, children))) for left in later)
        return sets * self.repeats


def _inner(nodes: int, children: int) -> Iterator[int]:
    """How many nodes of a heap have descendants at least 1, 2, ... levels below them."""
    while (nodes := math.ceil((nodes - 1) / children)) > 0:
        yield nodes


class _Sets:
    """Asks which candidate is the best of a set, of each set once."""

    def __init__(self, candidates: Candidates, options: Setwise) -> None:
        self.candidates = candidates
        self.options = options
        self.tally = Tally()
        self.known: dict[tuple[int, ...], int] = {}

    def best(self, indices: Sequence[int]) -> Part[int]:
        members = tuple(sorted(indices))
        if members not in self.known:
            self.known[members] = members[0] if len(members) == 1 else (yield from self._ask(members))
        return self.known[members]

    def _ask(self, members: tuple[int, ...]) -> Part[int]:
        shown = [list(members)]
        for sample in range(1, self.options.repeats):
            rng = random.Random(f"{self.options.seed} {sample} {members} {self.candidates.query}")
            shown.append(rng.sample(members, len(members)))
        support = dict.fromkeys(members, 0.0)
        if self.options.by == "labels":
            reads = [self.candidates.read("best", indices) for indices in shown]
            for indices, logprobs in zip(shown, (yield from self.tally.ask(reads, labels())), strict=True):
                for index, logprob in zip(indices, logprobs or (), strict=logprobs is not None):
                    support[index] += logprob
        else:
            writes = [self.candidates.write("best", indices, sample=sample) for sample, indices in enumerate(shown)]
            for indices, place in zip(shown, (yield from self.tally.ask(writes, best)), strict=True):
                if place is not None:
                    support[indices[place]] += 1
        return max(members, key=lambda index: (support[index], -index))


def _heap(sets: _Sets, depth: int, top: int) -> Part[list[int]]:
    heap = list(range(depth))
    children = sets.options.window - 1
    starts, size = [0], 1
    while (start := starts[-1] + size) < depth:
        starts.append(start)
        size *= children
    # The nodes of a level have no descendants in common, so a level is one batch; the lowest one has none at all.
    for start, end in reversed(list(pairwise(starts))):
        yield from together([_sift(sets, heap, node) for node in range(start, end)])
    found: list[int] = []
    while len(found) < top:
        last = heap.pop()
        if heap:
            heap[0], last = last, heap[0]
        found.append(last)
        if len(found) < top:
            yield from _sift(sets, heap, 0)
    return found


def _sift(sets: _Sets, heap: list[int], node: int) -> Part[None]:
    """Let a node sink until it is the best of itself and its children."""
    children = sets.options.window - 1
    while below := range(children * node + 1, min(children * (node + 1) + 1, len(heap))):
        nodes = [node, *below]
        best_index = yield from sets.best([heap[each] for each in nodes])
        winner = next(each for each in nodes if heap[each] == best_index)
        if winner == node:
            return
        heap[node], heap[winner] = heap[winner], heap[node]
        node = winner


def _bubble(sets: _Sets, depth: int, top: int) -> Part[list[int]]:
    order = list(range(depth))
    step = sets.options.window - 1
    for place in range(top):
        end = depth
        while end - place > 1:
            # The windows of all passes begin at the same end, so those that nothing has changed since are not asked
            # about again; the uppermost one can be smaller than the others.
            start = max(place, end - step - 1)
            winner = order.index((yield from sets.best(order[start:end])), start)
            order[start], order[winner] = order[winner], order[start]
            end = start + 1
    return order[:top]
