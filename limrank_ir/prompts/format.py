"""A prompt, and the format that renders it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.prompts.cleaning import clean, whole_sentences, with_instruction
from limrank_ir.prompts.two_reads import TwoReads

Label: TypeAlias = str | int
"""A label: its text, such as ``" true"``, of which the first token is read, or the id of a token."""

Span: TypeAlias = tuple[int, int]
"""The start and the end of a part of a text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One rendered prompt.

    Attributes:
        prefix: the text before the passage, usually the instruction and the query. It is the same for all passages of
            a query, so engines run it once.
        passage: the passage, already cleaned. This is the only part that an engine may cut. With `passage_spans`, it
            is several passages with the format's text between them, which stays.
        suffix: the text after the passage, up to where the model continues.
        cleaned: True if reserved strings were removed from the query, the instruction, or the passage.
        prefix_spans: where in `prefix` a user's text stands, in which control tokens are not recognized.
        suffix_spans: the same for `suffix`, for formats in which the query follows the passage.
        passage_spans: where in `passage` each of several passages stands, or None if it is one passage.
    """

    prefix: str
    passage: str
    suffix: str
    cleaned: bool = False
    prefix_spans: tuple[Span, ...] = ()
    suffix_spans: tuple[Span, ...] = ()
    passage_spans: tuple[Span, ...] | None = None

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.prefix + self.passage + self.suffix

    @property
    def passages(self) -> tuple[Span, ...]:
        """Where in `passage` each passage stands."""
        return ((0, len(self.passage)),) if self.passage_spans is None else self.passage_spans

    @property
    def ending(self) -> str:
        """The end of the prompt after all users' texts, behind which a label stands."""
        return self.suffix[self.suffix_spans[-1][1] if self.suffix_spans else 0 :]

    def cut(self, lengths: Sequence[int]) -> Prompt:
        """The prompt with shorter passages.

        Args:
            lengths: the number of characters that each passage keeps.

        Returns:
            The prompt. There is no white space where a passage was cut.
        """
        text, place, spans = "", 0, []
        for (start, end), length in zip(self.passages, lengths, strict=True):
            kept = self.passage[start:end] if start + length >= end else self.passage[start : start + length].rstrip()
            text += self.passage[place:start]
            spans.append((len(text), len(text) + len(kept)))
            text, place = text + kept, end
        text += self.passage[place:]
        return replace(self, passage=text, passage_spans=None if self.passage_spans is None else tuple(spans))


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The prompt text of a model family, its labels, and where thinking begins and ends.

    `before` and `after` are templates: ``{query}`` and ``{instruction}`` stand for the user's text.

    Attributes:
        name: the name in options and in the store's keys.
        before: the text before the passage.
        labels: the labels: the positive and the negative one, one alone, or the grades, lowest first.
        after: the text after the passage.
        no_think: the text after that, if the model gives its verdict at once.
        think: the same if it thinks, or None if it cannot.
        end_of_thought: the text that ends a thought, up to the label, or "" if the format has no thinking mode.
        instruction: the default instruction; None: `bare` is used without one, or instructions are appended to the
            query if the templates have no place for them.
        bare: `before` and `after` without an instruction, or None if there always is one or never.
        grades: the value of each label if they are grades, else None (`limrank_ir.verdict.Verdict.of`).
        start: whether the tokens that the tokenizer puts before every text come first, such as a begin-of-sequence
            token. Chat templates write them themselves.
        strip: whether white space around the query, the instruction, and the passage is dropped.
        seam: the text right behind the query and the passage, if it is tokenized on its own, as by code that joins
            token ids rather than texts.
        closing: the text between a thought that was cut short and `end_of_thought`.
        two_reads: how the grades are read if they stand at two places of the answer.
    """

    name: str
    before: str
    labels: tuple[Label, ...]
    after: str = ""
    no_think: str = ""
    think: str | None = None
    end_of_thought: str = ""
    instruction: str | None = None
    bare: tuple[str, str] | None = None
    grades: tuple[float, ...] | None = None
    start: bool = True
    strip: bool = False
    seam: str = ""
    closing: str = ""
    two_reads: TwoReads | None = None

    @property
    def key(self) -> str:
        """What identifies the format in the store's keys: its name, with the labels if they are token ids."""
        return " ".join([self.name, *(str(label) for label in self.labels if isinstance(label, int))])

    def label(self, probability: float) -> Label:
        """The label that a model with this format would give: the likelier one, or the grade closest to the expected.

        Args:
            probability: P(true), or the expected grade as a share of the highest one (`limrank_ir.verdict.Verdict`).
        """
        if self.grades is not None:
            expected = probability * max(self.grades)
            return min(zip(self.grades, self.labels, strict=True), key=lambda pair: abs(pair[0] - expected))[1]
        return self.labels[0 if probability > 0.5 else -1]

    def stops(self, labels: Sequence[Label]) -> tuple[str, ...]:
        """The strings at which generation stops: the end of the thought and one of the labels.

        Raises:
            InputError: a label is a token id, for which there is no string.
        """
        if any(isinstance(label, int) for label in labels):
            raise InputError(f"labels {tuple(labels)}: after a thought, labels must be texts, not token ids")
        return tuple(f"{self.end_of_thought}{label}" for label in labels)

    def render(self, query: str, passage: str, instruction: str | None = None, *, think: bool = False) -> Prompt:
        """Render one pair.

        Args:
            query: the query, including the query prompt of its task (see `limrank_ir.prompts.task_query`).
            passage: the passage, including its title.
            instruction: what counts as relevant, in the user's words (FollowIR, arXiv 2403.15246).
            think: whether the model thinks before its verdict.

        Returns:
            The prompt. Reserved strings in the user's text are removed (see `limrank_ir.prompts.clean`).

        Raises:
            InputError: the format has no thinking mode.
        """
        if think and self.think is None:
            raise InputError(f"the prompt format {self.name!r} has no thinking mode; use think='never'")
        surrounding = _short if len(query) + len(instruction or "") <= LONG_QUERY else _long
        before, after, cleaned = surrounding(self, query, instruction)
        text = clean(passage)
        cleaned = cleaned or text != passage
        suffix = after.text + (self.think if think and self.think is not None else self.no_think)
        return Prompt(before.text, text.strip() if self.strip else text, suffix, cleaned, before.spans, after.spans)

    def forced(self, prompt: Prompt, thought: str) -> Prompt:
        r"""End an unfinished thought, so that the next token is the verdict.

        This is the released code's rule for incomplete responses: the thought is cut after its last ``.``, ``!``, or
        ``?`` (if there is none, it is kept as it is), and ``"\n" + thought + "\n</think>"`` is added to the prompt. An
        empty thought gives the same prompt as ``think=False``.

        Args:
            prompt: the prompt that the model thought about.
            thought: the text generated so far.

        Returns:
            The prompt that asks for the verdict.
        """
        suffix = f"{prompt.suffix}\n{whole_sentences(thought)}\n{self.closing}{self.end_of_thought}"
        return replace(prompt, suffix=suffix)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A filled template, and where the user's text stands in it."""

    text: str
    spans: tuple[Span, ...]


_FIELD = re.compile(r"\{(query|instruction)\}")


def _fill(template: str, fields: Mapping[str, str]) -> _Filled:
    text, spans = "", []
    for place, part in enumerate(_FIELD.split(template)):  # text and names of fields take turns
        if place % 2:
            spans.append((len(text), len(text) + len(fields[part])))
            part = fields[part]
        text += part
    return _Filled(text, tuple(spans))


def _surrounding(fmt: PromptFormat, query: str, instruction: str | None) -> tuple[_Filled, _Filled, bool]:
    """The prompt before and after the passage, and whether reserved strings were removed."""
    query_text = clean(query)
    instruction_text = clean(instruction) if instruction is not None else None
    cleaned = (query_text, instruction_text) != (query, instruction)
    if fmt.strip:
        query_text, instruction_text = query_text.strip(), instruction_text and instruction_text.strip()
    before, after = fmt.before, fmt.after
    if "{instruction}" not in before + after:
        query_text, instruction_text = with_instruction(query_text, instruction_text), None
    elif not instruction_text and fmt.instruction is None and fmt.bare is not None:
        before, after = fmt.bare
    fields = {"query": query_text, "instruction": instruction_text or fmt.instruction or ""}
    return _fill(before, fields), _fill(after, fields), cleaned


# The passages of a query share one string. A server may receive very long queries, so fewer of those are cached.
LONG_QUERY = 10_000  # characters
_short, _long = lru_cache(maxsize=4096)(_surrounding), lru_cache(maxsize=4)(_surrounding)
