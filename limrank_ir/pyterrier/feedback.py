"""A query with its candidates in it, for an encoder to embed: the listwise prompt of E2Rank (arXiv 2510.22733)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from limrank_ir.engines.cutting import shares
from limrank_ir.errors import InputError
from limrank_ir.prompts.sets import clean_of_lists
from limrank_ir.retrieval.encoders import token_counts

# For web search (github Alibaba-NLP/E2Rank: src/eval.py, which has others for other tasks).
TEMPLATE = (
    "Given a web search query and some relevant documents, rerank the documents that answer the query:\n"
    "Documents:\n{documents}\nSearch Query: {query}"
)


class ListwiseQuery(NamedTuple):
    """What an encoder embeds instead of the query.

    Attributes:
        text: the text, without `prefix`.
        prefix: the encoder's own prompt for queries, which stands in front of it; "" behind a chat template.
        cut: the number of tokens that passages lost to fit.
    """

    text: str
    prefix: str
    cut: int


def listwise_query(model: Any, template: str, query: str, passages: Sequence[str], *, chat: bool) -> ListwiseQuery:
    """Put candidates around a query.

    The query may stand at the end, where an encoder would cut it off without a word. So if the text is too long for the
    encoder, passages are cut, the longest first.

    Args:
        model: a ``SentenceTransformer``.
        template: the text, with ``{documents}``, a line for each passage with its number, and ``{query}``.
        query: the query.
        passages: the passages to show, best first. Reserved strings and identifiers are removed from all texts
            (`limrank_ir.prompts.sets.clean_of_lists`).
        chat: put the text into the model's chat template if it has one.

    Returns:
        The text.

    Raises:
        InputError: the query is too long for the encoder, or leaves no room for the passages.
    """
    tokenizer = model.tokenizer
    chats = chat and bool(getattr(tokenizer, "chat_template", None))
    prefix = "" if chats else (model.prompts or {}).get("query") or ""

    def filled(shown: Sequence[str]) -> tuple[str, int]:
        listed = "\n".join(f"[{number}] {text}" for number, text in enumerate(shown, 1))
        before, _, after = template.partition("{documents}")
        text = f"{before.replace('{query}', asked)}{listed}{after.replace('{query}', asked)}"
        if chats:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        return text, token_counts(tokenizer, [prefix + text])[0]

    asked, passages = clean_of_lists(query), [clean_of_lists(passage) for passage in passages]
    limit = model.max_seq_length
    text, total = filled(passages)
    if limit is None or total <= limit:
        return ListwiseQuery(text, prefix, 0)
    if not passages:
        raise InputError(
            f"the query has {total} tokens, and the encoder reads {limit} (query ends {query[-60:]!r}); shorten it, or "
            "choose an encoder that reads longer texts"
        )
    places = tokenizer(passages, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    lengths = [len(each) for each in places]
    room = sum(lengths) - (total - limit)
    while room >= sum(length > 0 for length in lengths):  # one token for each, so that none is shown empty
        kept = shares(lengths, room)
        ends = [each[count - 1][1] if count else 0 for each, count in zip(places, kept, strict=True)]
        text, size = filled([passage[:end] for passage, end in zip(passages, ends, strict=True)])
        if size <= limit:
            return ListwiseQuery(text, prefix, total - size)
        room -= size - limit
    raise InputError(
        f"the query leaves no room for {len(passages)} passages within the encoder's {limit} tokens (query ends "
        f"{query[-60:]!r}); show fewer, or choose an encoder that reads longer texts"
    )
