"""Formats that tell what answers a query from what one has to know for the answer, and which of them a query needs.

Our own, short and without a chat template, as small models have to learn them (`limrank render --layout intent`). The
label is read after "[", so that it is a token of its own in every tokenizer.
"""

from __future__ import annotations

from limrank_ir.prompts.sets.format import SetFormat

HELP = SetFormat(
    name="help",
    task="help",
    before=(
        "How does the passage help with the query? [2]: it answers it. [1]: it is background that one has to know for "
        "the answer. [0]: it does not help.\n"
        "Query: {query}\n"
    ),
    passage="Passage: {passage}\n",
    after="Help: ",
    example="[1]",
    identifiers=("1",),
    start="[",
    grades=(0, 1, 2),
    tokens=(4, 0),
    chat=False,
)

NEED = SetFormat(
    name="need",
    task="need",
    before=(
        "What does the query need? [1]: background from which the answer follows. [0]: a passage that answers it.\n"
        "Query: {query}"
    ),
    passage="{passage}\n",  # there is none: the query alone is read
    after="Need: ",
    example="[0]",
    identifiers=("1",),
    start="[",
    grades=(0, 1),
    tokens=(4, 0),
    chat=False,
)
