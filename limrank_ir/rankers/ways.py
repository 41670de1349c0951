"""How questions of one kind are rendered, asked of an engine, and what their answers say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from limrank_ir.engines import Engine, Label, attender, writer
from limrank_ir.engines.chat import ChatTemplate
from limrank_ir.engines.formats import model_format
from limrank_ir.engines.twice import TwiceEngine, plain
from limrank_ir.errors import EngineError, InputError
from limrank_ir.prompts import CROSS_ENCODER, Prompt, PromptFormat, task_query
from limrank_ir.prompts.sets import READS, WRITES, Message, SetFormat, set_format
from limrank_ir.prompts.two_reads import up_to_ten
from limrank_ir.rankers.asking import Answer, Question
from limrank_ir.reranker import LimRank
from limrank_ir.store import Saved, key
from limrank_ir.verdict import Attended, Reading, Written

ATTENTION = "attention"  # the task of `limrank_ir.rankers.asking.Attend`
NEUTRAL = "N/A"  # the query that says nothing (arXiv 2410.02642, section 3.2)
RULES = "sets 1"  # part of the store's keys; change it when the same prompt and settings give another answer
LEAST = -700.0  # the log-probability of a grade that is not possible at all: a logarithm of 0 cannot be added up

Batch = Sequence[tuple[int, Saved]]
"""Answers with the places of their prompts."""


class Way(Protocol):
    """How questions are asked that an engine can be asked together: of one task, with equally many passages."""

    def prompt(self, question: Question) -> Prompt:
        """The prompt of a question."""
        ...

    def keys(self, prompts: Sequence[Prompt]) -> list[bytes]:
        """Keys for the store, from everything that can change an answer."""
        ...

    def ask(self, prompts: Sequence[Prompt], done: Set[int]) -> Iterator[Batch]:
        """Ask the engine about the prompts that are not done (`limrank_ir.engines.Engine.read_labels`)."""
        ...

    def answer(self, saved: Saved) -> Answer:
        """What a ranker gets."""
        ...


class Ways:
    """The ways of a model, by the formats that were chosen for its tasks."""

    def __init__(self, limrank: LimRank, formats: Iterable[str] = ()) -> None:
        """Choose formats.

        Args:
            limrank: the model and its engine.
            formats: their names; each replaces its task's default one, which is the model's own
                (`limrank_ir.models.Model.set_format`) or one that needs no training. One with a thought is used where
                the model writes, not where it is read.

        Raises:
            InputError: there is no such format.
        """
        own = limrank.model.set_format
        chosen = [set_format(name) for name in (*([] if own is None else [own]), *formats)]
        self._limrank = limrank
        self._chosen = {fmt.task for fmt in chosen}
        self._formats: Mapping[bool, Mapping[str, SetFormat]] = {
            True: {**WRITES, **{fmt.task: fmt for fmt in chosen}},
            False: {**READS, **{fmt.task: fmt for fmt in chosen if not fmt.thinks}},
        }
        self._skeletons: dict[tuple[str, int, bool], str] = {}

    @property
    def own_grades(self) -> str | None:
        """The task that the model's own format reads, of those that were trained for grades, or None."""
        grades = self._own.grades
        task = None if grades is None else f"grade-{max(grades):g}"
        return None if task in self._chosen else task

    def way(self, task: str, passages: int, *, writes: bool) -> Way:
        """The way of a task.

        Args:
            task: what is asked.
            passages: the number of passages that are shown.
            writes: whether the model writes, rather than being read.

        Raises:
            InputError: the task is unknown, the format cannot show so many passages, or the model or its engine cannot
                read or write it.
        """
        fmt = self.check(task, passages, writes=writes)
        if fmt is None:
            return OwnGrades(self._limrank, self._own)
        place = (fmt.name, passages, writes)
        if place not in self._skeletons:

            def chat(messages: Sequence[Message]) -> str:
                return self._chat.text(messages, thinks=fmt.thinks)

            self._skeletons[place] = fmt.skeleton(passages, chat, reads=not writes)
        skeleton = self._skeletons[place]
        if task == ATTENTION:
            return AttendedSets(self._limrank, self._own, fmt, skeleton, passages)
        if writes:
            return WrittenSets(self._limrank, self._own, fmt, skeleton, passages)
        end = skeleton.rpartition("\ue001")[2]  # behind all texts of users
        return ReadSets(self._limrank, self._own, fmt, skeleton, passages, self._digits(fmt, passages, end))

    def check(self, task: str, passages: int, *, writes: bool) -> SetFormat | None:
        """Check that a task can be asked, without loading the model. The arguments and errors are those of `way`.

        Returns:
            The format that is used, or None: the model's own.
        """
        own, formats = self._own, self._formats[writes]
        if not writes and task == self.own_grades:
            return None
        if task not in formats:
            known = ", ".join([*formats, *([] if writes else ["judge"])])
            raise InputError(
                f"unknown task {task!r} where the model {'writes' if writes else 'is read'}; it has {known}"
            )
        if own.name == CROSS_ENCODER.name:
            raise InputError(
                f"{self._limrank.model.name}: a cross-encoder reads one passage at a time; choose a pointwise ranker"
            )
        fmt = formats[task]
        fmt.check(passages)
        if task == ATTENTION:
            attender(plain(self._limrank.engine))
        elif writes:
            writer(plain(self._limrank.engine))
        elif fmt.grades is None and self._digits(fmt, passages, fmt.start + fmt.opening):
            raise InputError(
                f"{fmt.name}: reads the numbers of {passages} passages, of which 1 and 10 begin with the same token of "
                f"{self._limrank.model.name}; show at most 9 at a time, or choose a format with letters, such as first"
            )
        return fmt

    def _digits(self, fmt: SetFormat, passages: int, end: str) -> bool:
        """Whether labels are numbers up to 10 or more, which the tokenizer splits into digits behind a prompt's end."""
        return {"1", "10"} <= set(fmt.labels(passages)) and self._chat.begin_alike("1", "10", end)

    @cached_property
    def _own(self) -> PromptFormat:
        return model_format(self._limrank.model)

    @cached_property
    def _chat(self) -> ChatTemplate:
        return ChatTemplate(self._limrank.model, self._own)


@dataclass(frozen=True, slots=True)
class _Sets:
    """Questions about sets, in a format of `limrank_ir.prompts.sets`.

    Attributes:
        limrank: the model and its engine.
        own: the model's own prompt format, of which the engine's tokenizer has its rules.
        fmt: the format.
        skeleton: its prompt for this number of passages.
        passages: the number of passages.
    """

    limrank: LimRank
    own: PromptFormat
    fmt: SetFormat
    skeleton: str
    passages: int

    def prompt(self, question: Question) -> Prompt:
        """The prompt of a question."""
        query = task_query(question.query, self.limrank.task)
        return self.fmt.render(self.skeleton, query, question.passages, question.instruction)

    def _keys(self, prompts: Sequence[Prompt], *settings: str) -> list[bytes]:
        fixed = (RULES, self.limrank.engine.identity, self.own.key, *settings)
        return [
            # Where users' texts stand decides on what is a control token.
            key(*fixed, prompt.text, *map(repr, (prompt.prefix_spans, prompt.passage_spans, prompt.suffix_spans)))
            for prompt in prompts
        ]

    @property
    def _engine(self) -> Engine:
        return plain(self.limrank.engine)


@dataclass(frozen=True, slots=True)
class ReadSets(_Sets):
    """Labels are read, without a thought.

    Attributes:
        twice: whether grades up to 10 are read at two places, because "10" begins with the token of "1".
    """

    twice: bool = False

    @property
    def _labels(self) -> tuple[Label, ...]:
        return self.fmt.labels(self.passages)

    def keys(self, prompts: Sequence[Prompt]) -> list[bytes]:
        """Keys for the store."""
        return self._keys(prompts, "read", *map(str, self._labels))

    def ask(self, prompts: Sequence[Prompt], done: Set[int]) -> Iterator[Batch]:
        """Read the labels."""
        engine = TwiceEngine(self._engine, self.own, up_to_ten()) if self.twice else self._engine
        return engine.read_labels(prompts, self._labels, think=False, budget=1, done=done)

    def answer(self, saved: Saved) -> Answer:
        """The log-probabilities."""
        return reading_answer(saved)


@dataclass(frozen=True, slots=True)
class WrittenSets(_Sets):
    """The model writes an answer, after a thought if the format has one."""

    @property
    def _budget(self) -> int:
        return self.fmt.budget(self.passages, self.limrank.budget)

    def keys(self, prompts: Sequence[Prompt]) -> list[bytes]:
        """Keys for the store."""
        return self._keys(prompts, "write", str(self._budget), *self.fmt.stop)

    def ask(self, prompts: Sequence[Prompt], done: Set[int]) -> Iterator[Batch]:
        """Let the model write."""
        return writer(self._engine).write(prompts, budget=self._budget, stop=self.fmt.stop, done=done)

    def answer(self, saved: Saved) -> Answer:
        """The text, from where the answer begins."""
        assert isinstance(saved, Written)
        # A chat template may open the thought itself. Without its beginning, one that was cut would be the answer.
        thinking = self.skeleton.removesuffix(self.fmt.start).rstrip().endswith("<think>")
        return Answer(text="<think>" * thinking + self.fmt.start + saved.text, tokens=tokens(saved))


@dataclass(frozen=True, slots=True)
class AttendedSets(_Sets):
    """The attention of the question is read, against that of a query that says nothing."""

    def keys(self, prompts: Sequence[Prompt]) -> list[bytes]:
        """Keys for the store."""
        return self._keys(prompts, ATTENTION)

    def ask(self, prompts: Sequence[Prompt], done: Set[int]) -> Iterator[Batch]:
        """Read the attention."""
        return attender(self._engine).attend([(prompt, _neutral(prompt)) for prompt in prompts], done=done)

    def answer(self, saved: Saved) -> Answer:
        """The scores."""
        assert isinstance(saved, Attended)
        return Answer(scores=saved.scores, tokens=tokens(saved))


@dataclass(frozen=True, slots=True)
class OwnGrades:
    """Grades of one passage, by the format of a model that was trained for them, after a thought if it has one."""

    limrank: LimRank
    own: PromptFormat

    def prompt(self, question: Question) -> Prompt:
        """The prompt of a question."""
        (passage,) = question.passages
        return self.limrank.prompt(question.query, passage, question.instruction)

    def keys(self, prompts: Sequence[Prompt]) -> list[bytes]:
        """Keys for the store: those of the verdicts, which have a table of their own."""
        return self.limrank.keys(prompts)

    def ask(self, prompts: Sequence[Prompt], done: Set[int]) -> Iterator[Batch]:
        """Read the grades."""
        thinks = self.limrank.think == "always"
        budget = self.limrank.budget
        return self.limrank.engine.read_labels(prompts, self.own.labels, think=thinks, budget=budget, done=done)

    def answer(self, saved: Saved) -> Answer:
        """The log-probabilities."""
        return reading_answer(saved)


def reading_answer(saved: Saved) -> Answer:
    """The answer that a reading gives.

    Raises:
        EngineError: the engine knows logits alone.
    """
    assert isinstance(saved, Reading)
    if saved.logprobs is None:
        raise EngineError("the engine gave no log-probabilities, which rankers compare; use another engine")
    return Answer(logprobs=tuple(max(value, LEAST) for value in saved.logprobs), tokens=tokens(saved))


def _neutral(prompt: Prompt) -> Prompt:
    """A prompt with a query that says nothing, in formats whose query follows the passages."""
    ((start, end),) = prompt.suffix_spans
    suffix = prompt.suffix[:start] + NEUTRAL + prompt.suffix[end:]
    return replace(prompt, suffix=suffix, suffix_spans=((start, start + len(NEUTRAL)),))


def tokens(saved: Saved) -> int:
    """How many tokens were read and written for an answer."""
    if isinstance(saved, Attended):
        return saved.prompt_tokens
    return saved.prompt_tokens + (saved.written_tokens if isinstance(saved, Written) else saved.reasoning_tokens)
