"""The exact text that each model family reads: prompt formats, task prompts, and the cleaning of users' text.

A `PromptFormat` turns (query, passage, instruction) into a `Prompt`. The ``rank1`` format is, byte for byte, that of
the released LimRank and Rank1 checkpoints, from the released code (github SighingSnow/limrank: rerank-exps/rank1.py,
the same in github orionw/rank1: rank1.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from limrank_ir.errors import InputError


@dataclass(frozen=True, slots=True)
class Prompt:
    """One rendered prompt.

    Attributes:
        prefix: the instruction and the query. It is the same for all passages of a query, so engines run it once.
        passage: the passage, already cleaned. This is the only part that an engine may cut.
        suffix: the text after the passage, up to where the model continues.
        cleaned: True if reserved strings were removed from the query, the instruction, or the passage.
    """

    prefix: str
    passage: str
    suffix: str
    cleaned: bool = False

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.prefix + self.passage + self.suffix


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The prompt text of a model family, its labels, and where thinking begins and ends.

    Attributes:
        name: the name in options and in the store's keys.
        head: control text before the body (chat markup), or "".
        query_line: the body up to the passage, with ``{query}`` and, if the format has a place for it,
            ``{instruction}``.
        instruction: the default instruction; None: instructions are appended to the query.
        think: the text after the passage if the model thinks, or None if it cannot.
        no_think: the text after the passage if the model gives its verdict at once.
        end_of_thought: the tag that ends a thought, or "" if the format has no thinking mode.
        labels: the texts of the positive and the negative label. Their first tokens are the label tokens.
    """

    name: str
    head: str
    query_line: str
    instruction: str | None
    think: str | None
    no_think: str
    end_of_thought: str
    labels: tuple[str, str]

    def stops(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The strings at which generation stops: the end of the thought and one of the labels."""
        return tuple(self.end_of_thought + label for label in labels)

    def render(self, query: str, passage: str, instruction: str | None = None, *, think: bool = False) -> Prompt:
        """Render one pair.

        Args:
            query: the query, including the query prompt of its task (see `task_query`).
            passage: the passage, including its title.
            instruction: what counts as relevant, in the user's words (FollowIR, arXiv 2403.15246).
            think: whether the model thinks before its verdict.

        Returns:
            The prompt. Reserved strings in the user's text are removed (see `clean`).

        Raises:
            InputError: the format has no thinking mode.
        """
        if think and self.think is None:
            raise InputError(f"the prompt format {self.name!r} has no thinking mode; use think='never'")
        make_prefix = _short if len(query) + len(instruction or "") <= LONG_QUERY else _long
        prefix, cleaned = make_prefix(self, query, instruction)
        text = clean(passage)
        suffix = self.think if think and self.think is not None else self.no_think
        return Prompt(prefix, text, suffix, cleaned or text != passage)

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
        suffix = f"{self.think}\n{whole_sentences(thought)}\n{self.end_of_thought}"
        return Prompt(prompt.prefix, prompt.passage, suffix, prompt.cleaned)


def _prefix(fmt: PromptFormat, query: str, instruction: str | None) -> tuple[str, bool]:
    """The prompt up to the passage, and whether reserved strings were removed."""
    query_text = clean(query)
    instruction_text = clean(instruction) if instruction is not None else None
    if fmt.instruction is None:
        body = fmt.query_line.format(query=with_instruction(query_text, instruction_text))
    else:
        body = fmt.query_line.format(query=query_text, instruction=instruction_text or fmt.instruction)
    return fmt.head + body, (query_text, instruction_text) != (query, instruction)


# The passages of a query share one string. A server may receive very long queries, so fewer of those are cached.
LONG_QUERY = 10_000  # characters
_short, _long = lru_cache(maxsize=4096)(_prefix), lru_cache(maxsize=4)(_prefix)


RANK1 = PromptFormat(
    name="rank1",
    head="",
    query_line=(
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        "Query: {query}\n"
        "Passage: "
    ),
    instruction=None,
    think="\n<think>",
    no_think="\n<think>\n\n</think>",
    end_of_thought="</think>",
    labels=(" true", " false"),
)

# github QwenLM/Qwen3-Embedding: README.md
QWEN3 = PromptFormat(
    name="qwen3",
    head=(
        "<|im_start|>system\n"
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
        'Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
    ),
    query_line="<Instruct>: {instruction}\n<Query>: {query}\n<Document>: ",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
    think=None,
    no_think="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    end_of_thought="",
    labels=("yes", "no"),
)

FORMATS = {fmt.name: fmt for fmt in (RANK1, QWEN3)}


def prompt_format(name: str) -> PromptFormat:
    """Look up a prompt format.

    Args:
        name: ``"rank1"`` or ``"qwen3"``.

    Returns:
        The format.

    Raises:
        InputError: no format has that name.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise InputError(f"unknown prompt format {name!r}; choose one of: {', '.join(FORMATS)}") from None


# A reserved string is a sequence of thinking tags and chat control tokens, each with the labels that follow it.
# All repetitions are possessive, and a match starts where its whitespace starts, so the time is linear in the length.
_TAG = r"(?:<\s*+/?+\s*+think\s*+>|<\|[\w.:/-]{1,60}+\|>)"
_RESERVED = re.compile(rf"(?:(?<!\s)\s*+{_TAG}(?:\s*+(?:true|false|yes|no)\b)*+)++", re.IGNORECASE)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Remove reserved strings from a user's text, which only the prompt format may contain.

    Thinking tags and chat control tokens (``</think>``, ``<|im_end|>``) are removed together with the label words that
    follow them, so a passage that ends in ``</think> true<|im_end|>`` cannot forge its verdict. Everything else stays
    and reaches the model as plain text (the tokenizer recognizes no control tokens in it). If removing a string would
    create a new one (``<</think>think>``), every ``<`` in the text becomes ``\u2039``. Lone surrogates, which no
    tokenizer accepts, become U+FFFD.

    Args:
        text: a query, an instruction, or a passage.

    Returns:
        The cleaned text. Cleaning it again changes nothing.
    """
    if "<" in text and _RESERVED.search(text):
        text = " ".join(part for part in _RESERVED.split(text) if part)
        if _RESERVED.search(text):
            text = text.replace("<", "\u2039")
    return _SURROGATES.sub("\ufffd", text)


def with_instruction(query: str, instruction: str | None) -> str:
    """Join a query and its instruction as the released code does for FollowIR (arXiv 2403.15246).

    Args:
        query: the query.
        instruction: the instruction, or None.

    Returns:
        ``"{query} {instruction}"``; only the query if the instruction is missing, empty, or the same text.
    """
    if instruction is None:
        return query
    if query.strip() == instruction.strip():
        return query.strip()
    return f"{query} {instruction}".strip()


def whole_sentences(thought: str) -> str:
    """Cut a thought after its last period, exclamation mark, or question mark. If there is none, keep all of it."""
    thought = thought.rstrip()
    end = max(thought.rfind(mark) for mark in ".!?")
    return (thought if end < 0 else thought[: end + 1]).strip()


_THEOREMS = "Find a passage which uses the same mathematical process as this one: FILL_QUERY_HERE"
_STACK_EXCHANGE = (
    "Can you find background information about the concepts used to answer the question:\n\n"
    "FILL_QUERY_HERE\n\n"
    "A passage is relevant if it contains background information about a **sub-concept** that someone might "
    "cite/link to when answering the above question."
)
# The wording, including odd spaces and line breaks, is part of the protocol behind the published BRIGHT results (Rank1
# paper, Appendix E, Table 10).
BRIGHT_QUERY_PROMPTS = {
    **dict.fromkeys(
        (
            "biology",
            "earth_science",
            "economics",
            "psychology",
            "robotics",
            "stackoverflow",
            "sustainable_living",
        ),
        _STACK_EXCHANGE,
    ),
    "leetcode": (
        "I am looking to find different problems that share similar data structures (of any kind) or algorithms "
        "(e.g. DFS, DP, sorting, traversals, etc.). I am looking for problems that share one or both of these "
        "similarities to this:\n    \n"
        "FILL_QUERY_HERE\n\n"
        "Does this passage share any similarities? e.g. if there was a textbook on leetcode problems, this would be "
        "in the same book even though it could be in a different chapter. \n\n\n\n"
    ),
    "pony": (
        "I will use the programming language pony. Problem: FILL_QUERY_HERE\n\n"
        "But to solve the problem above, I need to know things about pony. A passage is relevant if it contains docs "
        "that match **any** part (even basic parts) of the code I will have to write for the above program."
    ),
    "aops": (
        "Find different but similar math problems to FILL_QUERY_HERE\n\n"
        "A document is relevant if it uses the same class of functions and shares **any** overlapping techniques."
    ),
    "theoremqa_questions": _THEOREMS,
    "theoremqa_theorems": _THEOREMS,
}


def task_query(query: str, task: str | None) -> str:
    """Wrap a query in the query prompt of its BRIGHT task.

    Args:
        query: the original query, not one expanded for the first stage (Rank1 paper, arXiv 2502.18418).
        task: a BRIGHT task (``"biology"``, ``"pony"``, ...), with ``-`` or ``_``; or None.

    Returns:
        The query that the reranker reads.

    Raises:
        InputError: no BRIGHT task has that name.

    Example:
        >>> task_query("2 + 2 = ?", "theoremqa_theorems")
        'Find a passage which uses the same mathematical process as this one: 2 + 2 = ?'
    """
    if task is None:
        return query
    try:
        return BRIGHT_QUERY_PROMPTS[task.replace("-", "_")].replace("FILL_QUERY_HERE", query)
    except KeyError:
        names = ", ".join(BRIGHT_QUERY_PROMPTS)
        raise InputError(f"unknown BRIGHT task {task!r}; choose one of: {names}") from None
