"""The engine's answers to what rankers ask: rendered, asked once, saved before they are passed on, and counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from limrank_ir.engines.formats import model_format
from limrank_ir.errors import EngineError, InputError
from limrank_ir.formats.pairs import checked_pair
from limrank_ir.prompts import Prompt
from limrank_ir.prompts.sets import SetFormat
from limrank_ir.rankers.asking import Answer, Question, Read, Write
from limrank_ir.rankers.remembered import ANSWERS, NAMES, Remembered
from limrank_ir.rankers.stats import AskStats
from limrank_ir.rankers.ways import ReadSets, Way, Ways, WrittenSets, tokens
from limrank_ir.reranker import LOW_MASS, LimRank
from limrank_ir.store import Saved, key
from limrank_ir.verdict import Reading, Verdict

log = logging.getLogger("limrank_ir")

JUDGE = "judge"


def _ignore(count: int) -> None:
    """What to call when nobody wants to know the progress."""


class EngineAsk:
    """Answers questions with the engine and the store of a `LimRank` (`limrank_ir.rankers.asking.Ask`).

    ``"judge"`` is `LimRank.judge` in the form of two log-probabilities: the reranker's own verdict, with its think mode
    and from its store. Every other task has a format (`limrank_ir.prompts.sets`); only models that were trained for
    grades from 0 to 4 or 10 read these by their own.

    Equal prompts are asked once, also for different `Question.sample`, which is not a part of the store's keys: reading
    and greedy writing always say the same. What was asked here is remembered, also without a store. The tokens of an
    answer are those that it took when it was asked, also if it comes from the store, so that an interrupted run ends
    with the same counts. `stats` has what was spent here.

    Attributes:
        limrank: the model, its engine, and the store.
        stats: counts of all questions so far.

    Example:
        >>> ask = EngineAsk(LimRank(), formats=["setwise-numbers"])  # doctest: +SKIP
        >>> ask([Read("best", "how do I copy a file?", ("os.remove(path)", "shutil.copy(src, dst)"))])  # doctest: +SKIP
    """

    def __init__(self, limrank: LimRank, *, formats: Iterable[str] = ()) -> None:
        """Choose a model and how it is asked.

        Args:
            limrank: the model, its engine, and the store.
            formats: names of formats to use for their tasks (`limrank_ir.prompts.sets.SET_FORMATS`), such as the one
                that the model was trained on. One with a thought is used where the model writes, not where it is read.

        Raises:
            InputError: there is no such format.
        """
        self.limrank = limrank
        self.stats = AskStats()
        self._ways = Ways(limrank, formats)
        self._warned = False
        self._verdicts: Remembered[Answer] = Remembered(ANSWERS)
        self._answers: Remembered[Saved] = Remembered(ANSWERS)  # those that are in no store
        self._stored: Remembered[None] = Remembered(NAMES)  # the others, by name

    @property
    def own_grades(self) -> str | None:
        """The task that the model's own format reads, of those that were trained for grades, or None."""
        return self._ways.own_grades

    def check(self, task: str, passages: int, *, writes: bool) -> SetFormat | None:
        """Check that questions of a task can be asked, without loading the model.

        Args:
            task: what is asked, other than to judge.
            passages: the number of passages that are shown.
            writes: whether the model writes, rather than being read.

        Returns:
            The format in which they are asked, or None: the model's own.

        Raises:
            InputError: the task is unknown, the format cannot show so many passages, or the model or its engine cannot
                read or write it.
        """
        return self._ways.check(task, passages, writes=writes)

    def __call__(self, questions: Sequence[Question], *, progress: Callable[[int], None] = _ignore) -> list[Answer]:
        """Answer questions.

        Args:
            questions: the questions.
            progress: called with the number of questions answered since its last call.

        Returns:
            The answer to each, in order. If there is a store, all of them are in it by then.

        Raises:
            InputError: a task is unknown, a query is empty, a set is too large, or the model cannot do what is asked.
            EngineError: the engine or the store fails.
        """
        twins = self._twins(questions)
        kinds: dict[tuple[str, bool, int], list[int]] = {}
        for number, question in enumerate(questions):
            for passage in question.passages or ("",):
                checked_pair(
                    f"a question about {str(question.query)[:40]!r}", (question.query, passage, question.instruction)
                )
            kind = (question.task, isinstance(question, Write), len(question.passages))
            if number not in twins:
                kinds.setdefault(kind, []).append(number)
        answers: dict[int, Answer] = {}
        for (task, writes, passages), numbers in kinds.items():
            asked = [questions[number] for number in numbers]
            if (task, writes) == (JUDGE, False):
                found = self._judged(asked, progress)
            else:
                found = self._asked(self._ways.way(task, passages, writes=writes), asked, writes, progress)
            answers |= zip(numbers, found, strict=True)
        answers |= {number: self._verdict_of(answers[twin]) for number, twin in twins.items()}
        progress(len(twins))
        self.stats.repeated += len(twins)
        self.stats.questions += len(questions)
        return [answers[number] for number in range(len(questions))]

    def _twins(self, questions: Sequence[Question]) -> dict[int, int]:
        """Verdicts that are asked for together with the grade that they are made from, and that question.

        A model that was trained for grades reads the same for both, such as TFRank.
        """
        grade = self.own_grades
        if grade is None:
            return {}
        numbered = [(number, question) for number, question in enumerate(questions) if isinstance(question, Read)]
        graded = {_about(question): number for number, question in numbered if question.task == grade}
        return {
            number: graded[_about(question)]
            for number, question in numbered
            if question.task == JUDGE and _about(question) in graded
        }

    def _verdict_of(self, grades: Answer) -> Answer:
        """The verdict that a model's own grades say; it has cost nothing."""
        return _verdict_answer(
            Verdict.of(Reading(grades.logprobs, None, 0, 0, "verdict"), model_format(self.limrank.model).grades)
        )

    def _judged(self, questions: Sequence[Question], progress: Callable[[int], None]) -> list[Answer]:
        """Verdicts as log-probabilities of true and false."""
        if wrong := [len(each.passages) for each in questions if len(each.passages) != 1]:
            raise InputError(f"a question of the task {JUDGE!r} shows {wrong[0]} passages; it needs one")
        pairs = [(each.query, each.passages[0], each.instruction) for each in questions]
        names = [key(*(part for part in pair if part is not None)) for pair in pairs]
        # "auto" compares the verdicts of all passages of a query, so that it needs them together.
        remembered = set() if self.limrank.think == "auto" else {name for name in names if name in self._verdicts}
        known = {name: self._verdicts[name] for name in remembered}
        new = {name: pair for name, pair in zip(names, pairs, strict=True) if name not in known}
        progress(len(names) - len(new))
        if new:
            found = map(_verdict_answer, self.limrank.judge(list(new.values()), progress=progress, remarks=False))
            self._count_verdicts()
            for name, answer in zip(new, found, strict=True):
                self._verdicts[name] = known[name] = answer
        self.stats.repeated += len(names) - len(new)
        return [known[name] for name in names]

    def _count_verdicts(self) -> None:
        done, stats = self.limrank.stats, self.stats
        stats.stored += done.stored
        stats.reads += done.judged
        stats.tokens += done.tokens
        stats.cut += done.cut
        stats.cut_tokens += done.cut_tokens
        stats.cleaned += done.cleaned
        stats.unfinished += done.forced

    def _asked(
        self, way: Way, questions: Sequence[Question], writes: bool, progress: Callable[[int], None]
    ) -> list[Answer]:
        """Answers that are known from before, from here or the store, and the others from the engine."""
        rendered = [way.prompt(question) for question in questions]
        names = way.keys(rendered)
        prompts = dict(zip(names, rendered, strict=True))
        order = list(prompts)
        store, stats = self.limrank.store, self.stats
        known = {name: self._answers[name] for name in order if name in self._answers}
        if store is not None:
            known |= store.get_answers([name for name in order if name not in known])
        before = {name for name in known if name in self._answers or name in self._stored}
        stats.repeated += len(names) - len(order) + len(before)
        stats.stored += len(known) - len(before)
        copies = Counter(names)
        progress(sum(copies[name] for name in known))
        done = frozenset(place for place, name in enumerate(order) if name in known)
        if store is not None and writes and not store.keeps_texts and not self._warned:
            self._warned = True
            log.warning("%s: written answers are not saved, so an interrupted run asks for them again", store.path)
        for batch in way.ask(list(prompts.values()), done) if len(done) < len(order) else ():
            new = [(order[place], saved) for place, saved in batch]
            if store is not None:
                store.put_answers(new)
            known |= new
            progress(sum(copies[name] for name, _ in new))
            stats.writes += len(new) if writes else 0
            stats.reads += 0 if writes else len(new)
            stats.tokens += sum(tokens(saved) for _, saved in new)
        if missing := sum(name not in known for name in order):
            raise EngineError(f"{self.limrank.engine!r} gave no answer to {missing} of {len(order)} questions")
        for name, prompt in prompts.items():
            if name not in before:
                self._count(known[name], prompt, way)
                self._remember(name, known[name])
        return [way.answer(known[name]) for name in names]

    def _remember(self, name: bytes, saved: Saved) -> None:
        store = self.limrank.store
        if store is None or not store.keeps(saved):
            self._answers[name] = saved
        else:
            self._stored[name] = None

    def _count(self, saved: Saved, prompt: Prompt, way: Way) -> None:
        full = saved.finish == "budget"
        short = isinstance(way, WrittenSets) and not way.fmt.thinks  # its length is the format's, not the user's
        self.stats.cut += saved.cut_tokens > 0
        self.stats.cut_tokens += saved.cut_tokens
        self.stats.cleaned += prompt.cleaned
        self.stats.unfinished += full and not short
        # A model that has a format of its own was trained on the labels, perhaps on nothing else.
        known = isinstance(way, ReadSets) and way.fmt.name == self.limrank.model.set_format
        mass = saved.mass if isinstance(saved, Reading) and isinstance(way, ReadSets) and not known else None
        self.stats.unlikely += mass is not None and mass < LOW_MASS
        self.stats.full += full and short


def _about(question: Question) -> tuple[str, tuple[str, ...], str | None]:
    return question.query, question.passages, question.instruction


def _verdict_answer(verdict: Verdict) -> Answer:
    """A verdict as two log-probabilities, up to a common shift, so that their difference is the log-odds exactly."""
    logprobs = (min(verdict.log_odds, 0.0), min(-verdict.log_odds, 0.0))
    return Answer(logprobs=logprobs, tokens=verdict.prompt_tokens + verdict.reasoning_tokens)
