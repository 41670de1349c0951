"""Turn (query, passage) pairs into the token ids of a cross-encoder. Text from users is always read as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from limrank_ir.errors import InputError
from limrank_ir.prompts import Prompt


@dataclass(frozen=True, slots=True)
class PairTokens:
    """The tokens of one pair.

    Attributes:
        ids: int64 array.
        types: for each token, whether it belongs to the query (0) or to the passage (1); int64 array.
        cut: the number of tokens cut from the end of the passage; 0 if it is complete.
    """

    ids: np.ndarray
    types: np.ndarray
    cut: int


class PairTokenizer:
    """Encodes pairs with one model's tokenizer, in the layout of its training, such as ``[CLS] q [SEP] p [SEP]``.

    The ids are those of ``tokenizer(query, passage, truncation="only_second")``, with one difference: ``[SEP]`` or
    ``</s>`` in a query or a passage is plain text, so that no passage can pretend to be a query.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Prepare a tokenizer.

        Args:
            tokenizer: a fast tokenizer from transformers.

        Raises:
            InputError: the tokenizer is not a fast one.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError("this model has no fast tokenizer (tokenizer.json); convert it with transformers first")
        self._tokenizer = Tokenizer.from_str(backend.to_str())
        self._tokenizer.no_truncation()  # some files ask for both
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # as what they are: several tokens of plain text
        self._layout = self._tokenizer.num_special_tokens_to_add(True)

    def encode(self, prompts: Sequence[Prompt], limit: int) -> list[PairTokens]:
        """Encode pairs. Passages that are too long are cut.

        Args:
            prompts: the pairs: a prompt's prefix is the query.
            limit: the maximum number of tokens in a pair.

        Returns:
            The tokens of each pair, in order.

        Raises:
            InputError: a query leaves no room for a passage.
        """
        queries = {prompt.prefix: self._tokenizer.encode(prompt.prefix, add_special_tokens=False) for prompt in prompts}
        passages = self._tokenizer.encode_batch([prompt.passage for prompt in prompts], add_special_tokens=False)
        pairs = []
        for prompt, passage in zip(prompts, passages, strict=True):
            query = queries[prompt.prefix]
            room = limit - self._layout - len(query.ids)
            if room < 1:
                raise InputError(
                    f"the query leaves no room for a passage within {limit} tokens (query ends "
                    f"{prompt.prefix[-60:]!r}); shorten it, or raise max_length if the model allows it"
                )
            cut = max(len(passage.ids) - room, 0)
            if cut:
                passage.truncate(room)
            pair = self._tokenizer.post_process(query, passage)
            pairs.append(PairTokens(np.array(pair.ids), np.array(pair.type_ids), cut))
        return pairs
