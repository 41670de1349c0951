"""Models that answer the questions of rankers: a perfect one, a noisy one, and one that talks nonsense."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence

from limrank_ir.rankers.asking import Answer, Attend, Question, Read, Write
from limrank_ir.rankers.lockstep import lockstep
from limrank_ir.rankers.order import Candidates, Order, Ranker

QUERY = "which one?"


def candidates(grades: Sequence[float], query: str = QUERY, **more) -> Candidates:
    """Candidates whose texts say how relevant they are, for `Perfect`; equal grades make ties, not equal texts."""
    return Candidates(query, [f"passage {number} of grade {grade}" for number, grade in enumerate(grades)], **more)


def grade(text: str) -> float:
    return float(text.rsplit(" ", 1)[1])


def ideal(grades: Sequence[float]) -> list[int]:
    """The best order; ties keep the old one."""
    return sorted(range(len(grades)), key=lambda index: (-grades[index], index))


def rank(ranker: Ranker, given: Candidates, ask) -> Order:
    ((number, order),) = lockstep([ranker.steps(given)], ask)
    assert number == 0
    check(order, len(given.texts))
    return order


def check(order: Order, count: int) -> None:
    """What holds for every order."""
    assert sorted(order.indices) == list(range(count))
    assert len(order.scores) == len(order.marks) == count
    assert all(map(math.isfinite, order.scores))
    assert all(above > below for above, below in zip(order.scores, order.scores[1:], strict=False))


class Perfect:
    """Knows the true grades, from 0 to 10, and answers in the wire format. Of ties it names the one shown first.

    Attributes:
        batches: the questions that were asked at once, in order.
    """

    def __init__(self) -> None:
        self.batches: list[list[Question]] = []

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        self.batches.append(list(questions))
        return [self.answer(question) for question in questions]

    @property
    def asked(self) -> list[Question]:
        return [question for batch in self.batches for question in batch]

    def grades(self, question: Question) -> list[float]:
        return [grade(text) for text in question.passages]

    def answer(self, question: Question) -> Answer:
        tokens = 7 * len(question.passages)
        if question.task == "need":
            return Answer(logprobs=tuple(normalized([0.0, 0.0])), tokens=tokens)
        if isinstance(question, Read):
            return Answer(logprobs=tuple(self.read(question.task, self.grades(question))), tokens=tokens)
        if isinstance(question, Attend):
            return Answer(scores=tuple(self.grades(question)), tokens=tokens)
        assert isinstance(question, Write)
        return Answer(text=self.write(question.task, self.grades(question)), tokens=tokens)

    def read(self, task: str, grades: Sequence[float]) -> list[float]:
        if task == "judge":
            (true,) = grades
            return normalized([true - 5, 5 - true])
        if task == "help" or task.startswith("grade-"):
            highest = 2 if task == "help" else int(task.removeprefix("grade-"))
            (true,) = grades
            return normalized([-abs(label - true * highest / 10) * 3 for label in range(highest + 1)])
        assert task in {"best", "order"}
        return normalized(grades)

    def write(self, task: str, grades: Sequence[float]) -> str:
        best = ideal(grades)
        if task == "grades":
            return "<reason>…</reason>" + json.dumps({f"[{place + 1}]": grades[place] for place in range(len(grades))})
        return f"[{best[0] + 1}]" if task == "best" else " > ".join(f"[{place + 1}]" for place in best)


class Noisy(Perfect):
    """Errs, in the same way about the same question."""

    def grades(self, question: Question) -> list[float]:
        rng = random.Random(f"{question}")
        return [min(10.0, max(0.0, each + rng.gauss(0, 3))) for each in super().grades(question)]


class Nonsense(Perfect):
    """Never says anything that is of use."""

    def answer(self, question: Question) -> Answer:
        texts = [
            "",
            "I cannot rank these 3 passages.",
            "<think>[3] > [2] > [1]",
            "[0] > [77] > [1000000]",
            "{}",
            "<think>hm</think><answer>All passages are relevant.</answer>",
        ]
        if question.task == "grades":
            texts += ['{"[1]": "good", "[99]": 4, "[2]": 11}', '{"[1]": {"[1]": {']
        rng = random.Random(f"{question}")
        logprobs = rng.choice([(), (math.nan,) * 2, (-1.0,) * 40, (math.inf,) * len(question.passages)])
        return Answer(logprobs=logprobs, text=rng.choice(texts), scores=logprobs, tokens=3)


def normalized(values: Sequence[float]) -> list[float]:
    highest = max(values)
    total = highest + math.log(math.fsum(math.exp(value - highest) for value in values))
    return [value - total for value in values]
