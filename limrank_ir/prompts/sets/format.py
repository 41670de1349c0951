"""The prompt for several passages at once: how they are listed, what may be read, and what is to be written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.prompts.cleaning import clean, with_instruction
from limrank_ir.prompts.format import Prompt, Span

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
NUMBERS = tuple(map(str, range(1, 101)))

Message: TypeAlias = tuple[str, str]
"""A role (``"system"``, ``"user"``, or ``"assistant"``) and what it says."""

Chat: TypeAlias = Callable[[Sequence[Message]], str]
"""A chat template: messages to the text after which the model answers."""

# Private characters mark where users' texts go, because a chat template is applied before the texts are known.
_MARK = re.compile("\ue000(query|passage [0-9]+)\ue001")
# What only a list itself may say. RankLLM writes [3] in a text as (3), too (rank_llm: rerank/inference_handler.py).
_IDENTIFIER = re.compile(r"\[(\d+|[A-Z])\]")
_LABELED = re.compile(r"\b(passage\s+)([A-Z])(?=\s*:)", re.IGNORECASE)
_TAG = re.compile(r"<(\s*/?\s*(?:answer|reason)\s*)>", re.IGNORECASE)


def clean_of_lists(text: str) -> str:
    """Clean a user's text of all that could be taken for a part of a list of passages, or of an answer to it.

    In addition to what `limrank_ir.prompts.clean` removes, identifiers (``[3]``, ``[C]``, ``Passage C:``) and the tags
    of answers (``<answer>``) get round brackets, as ``(3)``.

    Args:
        text: a query, an instruction, or a passage.

    Returns:
        The cleaned text. Cleaning it again changes nothing.
    """
    text = _TAG.sub(r"(\1)", clean(text))
    return _LABELED.sub(r"\1(\2)", _IDENTIFIER.sub(r"(\1)", text))


@dataclass(frozen=True, slots=True)
class SetFormat:
    """The text of a prompt that shows several passages, in the wire format of a family of rerankers.

    Its templates have ``{query}`` and ``{n}`` for the number of passages; `passage` and `received` also ``{id}``. An
    instruction is joined to the query (`limrank_ir.prompts.with_instruction`).

    Attributes:
        name: the name in options.
        task: what it asks: the ``"order"`` of all passages, the ``"best"``, the grade of one (``"grade-4"``,
            ``"grade-10"``: up to that), the ``"grades"`` of each, how one helps (``"help"``), what the query needs
            (``"need"``), or nothing but to read them (``"attention"``).
        before: the user's message up to the passages.
        passage: a passage in the list.
        after: the user's message after the passages.
        example: what a written answer looks like.
        identifiers: of the passages, in order. They are the labels of a reading, unless there are `grades`.
        system: the system message, or "".
        between: the text between two passages.
        reply: what the assistant says to `before` in formats that show each passage in a message of its own, or "".
        received: what it says to each passage in such formats.
        start: how the answer begins. The model continues it.
        opening: what stands before a label that is read, in addition, where a written answer begins with it itself.
        label: a label in a reading, with ``{label}``.
        grades: the value of each label if the labels are grades, else None.
        thinks: whether the answer has a thought before it.
        stop: strings that end a written answer.
        tokens: how many tokens a written answer has, without a thought, at most: (at all, for each passage).
        chat: whether the messages are put into the model's chat template. If not, the user's message is the prompt.
        white_space: what becomes of white space in passages: ``"kept"``, ``"words"`` have one space between them, or
            ``"lines"`` have.
    """

    name: str
    task: str
    before: str
    passage: str
    after: str
    example: str
    identifiers: tuple[str, ...] = NUMBERS
    system: str = ""
    between: str = ""
    reply: str = ""
    received: str = ""
    start: str = ""
    opening: str = ""
    label: str = "{label}"
    grades: tuple[float, ...] | None = None
    thinks: bool = False
    stop: tuple[str, ...] = ()
    tokens: tuple[int, int] = (16, 8)
    chat: bool = True
    white_space: Literal["kept", "words", "lines"] = "words"

    def labels(self, passages: int) -> tuple[str, ...]:
        """The labels of a reading: the identifiers of the passages, or the grades.

        Args:
            passages: the number of passages that are shown.
        """
        names = self.identifiers[:passages] if self.grades is None else [f"{grade:g}" for grade in self.grades]
        return tuple(self.label.replace("{label}", name) for name in names)

    def budget(self, passages: int, thought: int) -> int:
        """The maximum number of tokens of a written answer.

        Args:
            passages: the number of passages that are shown.
            thought: the maximum number of tokens of a thought, if the answer has one.
        """
        fixed, each = self.tokens
        return fixed + each * passages + (thought if self.thinks else 0)

    def check(self, passages: int) -> None:
        """Check that a number of passages can be shown at once.

        Raises:
            InputError: the format has fewer identifiers, or there is no passage.
        """
        if not 1 <= passages <= len(self.identifiers):
            raise InputError(
                f"{self.name}: shows 1 to {len(self.identifiers)} passages at a time, not {passages}; choose another "
                "size of window"
            )

    def skeleton(self, passages: int, chat: Chat, *, reads: bool = False) -> str:
        """The prompt for a number of passages, with marks where the texts go (`render`).

        Args:
            passages: the number of passages.
            chat: the model's chat template, which is called if the format is for chats.
            reads: whether a label is read where the prompt ends, rather than an answer written.

        Raises:
            InputError: the format has fewer identifiers, or the chat template leaves out or repeats a passage.
        """
        self.check(passages)

        def filled(template: str, place: int = 0) -> str:
            fields = {"query": "\ue000query\ue001", "n": str(passages), "id": self.identifiers[place]}
            fields["passage"] = f"\ue000passage {place}\ue001"
            return re.sub(r"\{(query|n|id|passage)\}", lambda field: fields[field[1]], template)

        shown = [filled(self.passage, place) for place in range(passages)]
        messages: list[Message] = [("system", self.system)] if self.system else []
        if self.reply:
            messages += [("user", filled(self.before)), ("assistant", self.reply)]
            for place, text in enumerate(shown):
                messages += [("user", text), ("assistant", filled(self.received, place))]
            messages.append(("user", filled(self.after)))
        else:
            messages.append(("user", filled(self.before) + self.between.join(shown) + filled(self.after)))
        text = _chatted(messages, chat) if self.chat else messages[-1][1]
        text += self.start + (self.opening if reads else "")
        found = [name for name in _MARK.findall(text) if name != "query"]
        if found != [f"passage {place}" for place in range(passages)] or "\ue000query\ue001" not in text:
            raise InputError(f"{self.name}: the model's chat template does not show the query and each passage once")
        return text

    def render(self, skeleton: str, query: str, passages: Sequence[str], instruction: str | None = None) -> Prompt:
        """Render a question about a set of passages.

        Args:
            skeleton: what `skeleton` gives for this number of passages.
            query: the query, with the query prompt of its task.
            passages: the passages.
            instruction: what counts as relevant, in the user's words.

        Returns:
            The prompt, in which an engine may cut each passage. Users' texts are cleaned (`clean_of_lists`; where
            passages have no identifiers, `limrank_ir.prompts.clean`).
        """
        asked = (query, *([] if instruction is None else [instruction]))
        cleaning = clean_of_lists if "{id}" in self.passage else clean
        clean_asked, clean_passages = [*map(cleaning, asked)], [*map(cleaning, passages)]
        cleaned = clean_asked != [*asked] or clean_passages != [*passages]
        fields = {"query": with_instruction(clean_asked[0], clean_asked[1] if instruction is not None else None)}
        for place, text in enumerate(clean_passages):
            fields[f"passage {place}"] = self._spaced(text)
        parts = _MARK.split(skeleton)  # text and names of fields take turns
        first, last = parts.index("passage 0"), parts.index(f"passage {len(passages) - 1}")
        before, listed, after = parts[:first], parts[first : last + 1], parts[last + 1 :]
        prefix, prefix_spans = _filled(before, fields)
        listing, spans = _filled(["", *listed], fields)
        suffix, suffix_spans = _filled(after, fields)
        return Prompt(prefix, listing, suffix, cleaned, prefix_spans, suffix_spans, spans)

    def _spaced(self, passage: str) -> str:
        if self.white_space == "words":
            return " ".join(passage.split())
        return re.sub("\n+", " ", passage) if self.white_space == "lines" else passage


def _chatted(messages: Sequence[Message], chat: Chat) -> str:
    """Messages in a chat template. Some know no system message (Gemma, Mistral 7B): then it begins the user's first.

    Raises:
        InputError: the template does not take the messages in either form.
    """
    if messages[0][0] != "system":
        return chat(messages)
    (_, system), (role, first), *others = messages
    with suppress(InputError):
        text = chat(messages)
        if system.strip() in text:
            return text
    return chat([(role, f"{system}\n\n{first}"), *others])


def _filled(parts: Sequence[str], fields: dict[str, str]) -> tuple[str, tuple[Span, ...]]:
    """A text with users' texts in it, and where these stand. Text and names of fields take turns in `parts`."""
    text, spans = "", []
    for place, part in enumerate(parts):
        if place % 2:
            part = fields[part]
            spans.append((len(text), len(text) + len(part)))
        text += part
    return text, tuple(spans)
