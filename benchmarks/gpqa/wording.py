"""What the reader and the judge are asked, and how their answers are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .questions import LETTERS, Question

SYSTEM = "You are a helpful assistant."  # of the released script (SighingSnow/limrank: limrank-gpqa/eval/inference.py)
TASK = r"Reason step by step. At the end, write the letter of the correct choice, and nothing else, in \boxed{}."
JUDGE = """\
This is somebody's answer to a multiple-choice question:

<answer>
{answer}
</answer>

The correct choice is ({letter}) {choice}

Is the correct choice the final answer given above? Reply with yes or no, and nothing else."""
WORDING = "1"  # to be raised with every change above: it is part of what an answer is saved under

_BOX = re.compile(r"\\f?boxed\s*\{")
_WRAPPED = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|bf|rm)\s*\{(.*)\}", re.DOTALL)
_LETTER = re.compile(r"\(?([A-J])\)?(?:[.:),\s].*)?", re.DOTALL)
_EDGE = "$. \t\n"  # around the content of a box
_WORD = re.compile(r"[a-z]+")


def reader_message(question: Question, passages: Sequence[str]) -> str:
    """The message to the reader: the question, the passages if there are any, and the task.

    The order is that of the released script; the answer in a box is ReasonIR's protocol
    (``facebookresearch/ReasonIR: evaluation/README.md``).

    Args:
        question: the question.
        passages: the texts, best first; none for the closed book.

    Returns:
        The text.
    """
    parts = [question.shown]
    if passages:
        numbered = "\n\n".join(f"Passage {number}: {text}" for number, text in enumerate(passages, 1))
        parts.append(f"These passages may help:\n\n{numbered}")
    return "\n\n".join([*parts, TASK])


def judge_message(question: Question, answer: str) -> str:
    """The message to the judge, which does not see the question, as in the released script.

    Args:
        question: the question.
        answer: the reader's answer.

    Returns:
        The text.
    """
    choice = question.choices[LETTERS.index(question.answer)]
    return JUDGE.format(answer=answer, letter=question.answer, choice=choice)


def boxed_choice(answer: str, question: Question) -> str | None:
    r"""Read the choice in the last box of an answer that has one.

    Args:
        answer: the reader's answer.
        question: the question.

    Returns:
        The letter, also from ``\boxed{\text{(B)}}``, ``\boxed{B. ...}``, or a box with the exact text of a choice; None
        if no box has a choice. Nothing is guessed from the text around it.
    """
    letters = LETTERS[: len(question.choices)]
    by_text = {_plain(choice): letter for letter, choice in zip(letters, question.choices, strict=True)}
    found = None
    for box in _boxes(answer):
        content = box.strip(_EDGE)
        while wrapped := _WRAPPED.fullmatch(content):
            content = wrapped[1].strip(_EDGE)
        letter = _LETTER.fullmatch(content)
        if _plain(content) in by_text:
            found = by_text[_plain(content)]
        elif letter and letter[1] in letters:
            found = letter[1]
    return found


def _boxes(answer: str) -> Iterator[str]:
    """The contents of all boxes that are closed; braces may be nested."""
    for match in _BOX.finditer(answer):
        depth = 1
        for place in range(match.end(), len(answer)):
            depth += {"{": 1, "}": -1}.get(answer[place], 0)
            if not depth:
                yield answer[match.end() : place]
                break


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(_EDGE).split())


def judgment(answer: str) -> bool | None:
    """Read the judge's answer.

    Args:
        answer: its text.

    Returns:
        Whether its first word is yes; None if it is neither yes nor no.
    """
    word = _WORD.search(answer.lower())
    return {"yes": True, "no": False}.get(word[0]) if word else None
