"""The figures: accuracy with its interval, and conditions compared question by question."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from limrank_ir.ranking.statistics import corrected

from .asking import Answer

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Condition:
    """What the reader got, and what it answered.

    Attributes:
        name: ``"closed book"``, ``"bm25"``, or a reranker's label.
        answers: qid to the answers, one for each sample.
        work: what reranking took, or None.
    """

    name: str
    answers: Mapping[str, Sequence[Answer]]
    work: Mapping[str, Any] | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The share of correct samples of each question, by qid."""
        return {qid: sum(one.correct for one in samples) / len(samples) for qid, samples in self.answers.items()}


@dataclass(frozen=True)
class Figures:
    """A condition's figures.

    Attributes:
        condition: its name.
        accuracy: mean over the questions of the share of correct samples.
        low: lower end of Wilson's interval over the questions. With several samples it is wider than it needs to be,
            because a share varies less than one answer.
        high: upper end.
        questions: how many questions.
        answers: how many answers.
        without_choice: answers without a choice in a box. They count as wrong, unless a judge accepts them.
        cut: answers cut at the token limit.
        refused: answers refused by the model or its server.
        unclear: answers on which the judge said neither yes nor no; they count as wrong. None without a judge.
        prompt_tokens: tokens of all prompts, as the server counts them.
        answer_tokens: tokens of all answers.
    """

    condition: str
    accuracy: float
    low: float
    high: float
    questions: int
    answers: int
    without_choice: int
    cut: int
    refused: int
    unclear: int | None
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Comparison:
    """Two conditions on the same questions.

    Attributes:
        first: the name of the one.
        second: the name of the other.
        difference: accuracy of the second minus that of the first.
        low: lower end of the t-interval of the mean difference; None if all differences are equal.
        high: upper end.
        wins: questions on which the second is better.
        losses: questions on which it is worse.
        ties: the others.
        p_value: of the exact sign test on wins and losses, with Holm's correction over all comparisons. With one
            sample this is McNemar's exact test.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    wins: int
    losses: int
    ties: int
    p_value: float


def figures(condition: Condition) -> Figures:
    """Count a condition's answers.

    Args:
        condition: the condition, with at least one question.

    Returns:
        The figures.
    """
    from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

    shares = list(condition.shares.values())
    low, high = proportion_confint(math.fsum(shares), len(shares), alpha=1 - CONFIDENCE, method="wilson")
    answers = [one for samples in condition.answers.values() for one in samples]
    endings = Counter(one.ending for one in answers)
    judged = [one.judged for one in answers if one.judged is not None]
    return Figures(
        condition=condition.name,
        accuracy=math.fsum(shares) / len(shares),
        low=float(low),
        high=float(high),
        questions=len(shares),
        answers=len(answers),
        without_choice=sum(one.choice is None for one in answers),
        cut=endings["cut"],
        refused=endings["refused"] + endings["filtered"],
        unclear=judged.count("unclear") if judged else None,
        prompt_tokens=sum(one.prompt_tokens for one in answers),
        answer_tokens=sum(one.answer_tokens for one in answers),
    )


def comparisons(conditions: Sequence[Condition]) -> list[Comparison]:
    """Compare every condition with every later one.

    Args:
        conditions: at least two conditions, all with the same questions.

    Returns:
        The comparisons.
    """
    from scipy.stats import binomtest, ttest_1samp  # type: ignore[import-untyped]

    found = []
    for first, second in combinations(conditions, 2):
        before, after = first.shares, second.shares
        differences = [after[qid] - before[qid] for qid in before]
        wins, losses = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
        varies = max(differences) > min(differences)
        interval = ttest_1samp(differences, 0).confidence_interval(CONFIDENCE) if varies else None
        found.append(
            Comparison(
                first=first.name,
                second=second.name,
                difference=math.fsum(differences) / len(differences),
                low=None if interval is None else float(interval.low),
                high=None if interval is None else float(interval.high),
                wins=wins,
                losses=losses,
                ties=len(differences) - wins - losses,
                p_value=float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
            )
        )
    ps = corrected([each.p_value for each in found], "holm")
    return [dataclasses.replace(each, p_value=p) for each, p in zip(found, ps, strict=True) if p is not None]
