"""Keep gated texts out of messages: some servers repeat a part of a request in their errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from limrank_ir.errors import LimRankError

_WORDS = re.compile(r"\w+")


def phrases(text: str) -> set[tuple[str, ...]]:
    """All three words in a row, in lower case. Fewer words than that also occur by chance."""
    words = _WORDS.findall(text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


@contextmanager
def withheld(texts: Iterable[str]) -> Iterator[None]:
    """Replace the message of an error that repeats a part of these texts.

    Args:
        texts: the texts (`phrases`).

    Raises:
        LimRankError: of the same kind as the one that was raised, with a message that repeats nothing.
    """
    try:
        yield
    except LimRankError as error:
        said = phrases(str(error))
        if any(said & phrases(text) for text in texts):
            raise type(error)(
                "the error of the model or its server repeats a part of a question, so it is not shown; "
                "look into the server's own log"
            ) from None
        raise
