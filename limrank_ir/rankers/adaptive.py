"""Adaptive: judge some candidates, estimate the others from them, and spend the budget where it can change the top.

ANNCUR (Yadav et al., arXiv 2210.12579) approximates a cross-encoder's scores by a CUR decomposition: an item's vector
is its scores with anchor queries, and a new query's scores with a few anchor items give those with all others by least
squares. ADACUR (arXiv 2305.02996) chooses the anchors in rounds, each time those with the highest estimates, because
only the top matters. Here the vectors are the caller's: scores with anchor queries, as there, or any that tell which
passages are alike, such as embeddings; the first stage's scores, or its ranks, are one more column. The estimate is a
ridge regression on them, which is least squares as the ridge goes to 0.

An estimate is never given as a judgment: its mark is ``estimated``, and it stands behind the best judged passages, as
many as `Adaptive.top` says, or all of them if there are fewer (ADACUR ranks its items by exact scores, too).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from limrank_ir.errors import InputError
from limrank_ir.rankers.lockstep import Part
from limrank_ir.rankers.order import Candidates, Steps, at_least, scored, within
from limrank_ir.rankers.pointwise import log_odds
from limrank_ir.rankers.tally import Tally

RIDGES = (1e-9, 1e9)  # below, rounding makes the system singular; far above, it overflows
ALIKE = 1e-24  # a mean squared distance, where that of all candidates is 1, which is rounding alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """Rank by the log-odds of some candidates and estimates of the others.

    Attributes:
        budget: how many candidates to judge, at most.
        rounds: in how many batches. The first has half of its passages from the top of the first stage, and half spread
            over the rest, so that there is something to learn from; the others have those with the highest estimates.
        top: how many of the best judged passages stand above all estimates. If fewer are judged, all of them do, and
            estimates follow within these places.
        ridge: the weight of the ridge, in units of the judged passages' mean squared length, from 1e-9 to 1e9; small
            for vectors that explain the scores well, as anchor queries' scores do.
        depth: how many of the first candidates to consider; the others follow in their old order. None: all.

    Raises:
        InputError: a number is too low, or the ridge too high.
    """

    budget: int = 40
    rounds: int = 4
    top: int = 10
    ridge: float = 0.1
    depth: int | None = None

    def __post_init__(self) -> None:
        at_least(0, depth=self.depth)
        at_least(1, budget=self.budget, rounds=self.rounds, top=self.top)
        least, most = RIDGES
        if not least <= self.ridge <= most:
            raise InputError(f"adaptive: the ridge is {self.ridge!r}; give a number from {least:g} to {most:g}")

    def steps(self, candidates: Candidates) -> Steps:
        """Rank the candidates of one query, in `rounds` batches."""
        count = len(candidates.texts)
        depth = within(self.depth, count)
        features = _features(candidates, depth)
        tally = Tally()
        judged = yield from self._judge(candidates, features, tally)
        if len(judged) < 2 or len(judged) == depth:
            return scored(count, judged, tally.counts)
        estimates = _estimates(features, judged, self.ridge)
        best = sorted(judged.values(), reverse=True)
        # What was not judged cannot stand above the best judged ones, however high its estimate is.
        ceiling = best[min(self.top, len(best)) - 1]
        others = {index: min(float(estimates[index]), ceiling) for index in range(depth) if index not in judged}
        return scored(count, judged, tally.counts, estimated=others)

    def calls(self, count: int) -> int:
        """The questions that a number of candidates costs: the budget, or one each."""
        return min(self.budget, within(self.depth, count))

    def _judge(self, candidates: Candidates, features: np.ndarray, tally: Tally) -> Part[dict[int, float]]:
        depth = len(features)
        budget = min(self.budget, depth)
        chosen = _anchors(depth, math.ceil(budget / self.rounds))
        asked = set(chosen)
        judged: dict[int, float] = {}
        for left in range(self.rounds - 1, -1, -1):
            judged |= yield from log_odds(candidates, chosen, tally)
            if not left or len(asked) == budget:
                break
            estimates = _estimates(features, judged, self.ridge)
            unknown = [index for index in range(depth) if index not in asked]
            unknown.sort(key=lambda index: (-estimates[index], index))
            chosen = sorted(unknown[: math.ceil((budget - len(asked)) / left)])
            asked |= set(chosen)
        return judged


def _anchors(depth: int, number: int) -> list[int]:
    """The first half from the top, the others in equal distances down to the last candidate."""
    above = math.ceil(number / 2)
    rest, spread = depth - above, number - above
    return [*range(above), *(above + (place + 1) * rest // spread - 1 for place in range(spread))]


def _features(candidates: Candidates, depth: int) -> np.ndarray:
    """What estimates are made from, ``[depth, columns]``: the first stage's view and the vectors count the same."""
    if candidates.scores is None:
        first = -np.log(np.arange(1, depth + 1, dtype=np.float64))
    else:
        first = np.asarray(candidates.scores[:depth], dtype=np.float64)
    blocks = [_unit(first[:, None])]
    if candidates.vectors is not None and depth:
        try:
            vectors = np.asarray(candidates.vectors[:depth], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"candidates: the vectors are not numbers of one shape ({error})") from error
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise InputError("candidates: give one vector of finite numbers for each passage, all of the same length")
        blocks.append(_unit(vectors))
    return np.concatenate(blocks, axis=1)


def _unit(block: np.ndarray) -> np.ndarray:
    """Centered, and with a mean squared length of 1 (or 0, if all rows are equal)."""
    if not block.any():
        return np.zeros_like(block)
    block = block / np.abs(block).max()  # so that no sum overflows
    if np.all(block == block[:1]):
        return np.zeros_like(block)
    block = block - block.mean(axis=0)
    block = block / np.abs(block).max()  # rows may differ by so little that squares underflow
    return block / math.sqrt((block**2).sum(axis=1).mean())


def _estimates(features: np.ndarray, judged: Mapping[int, float], ridge: float) -> np.ndarray:
    """The scores that the judged ones let expect, ``[candidates]``; their mean, if nothing tells them apart."""
    places = sorted(judged)
    scores = np.array([judged[place] for place in places], dtype=np.float64)
    if not places:
        return np.zeros(len(features))
    center = features[places].mean(axis=0)
    known, every = features[places] - center, features - center
    # In the dual form the system has one row for each judged passage, however long the vectors are.
    products = known @ known.T
    spread = float(np.trace(products)) / len(places)
    if spread < ALIKE:
        return np.full(len(features), scores.mean())
    weights = np.linalg.solve(products + ridge * spread * np.eye(len(places)), scores - scores.mean())
    # Equal passages get equal estimates: products of equal rows can differ in their last bits.
    return np.round(scores.mean() + every @ (known.T @ weights), 9)
