"""Tokens for servers: by the model's own tokenizer if it is on this machine, else by the server's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as field_of
from typing import Any, Protocol

import numpy as np

from limrank_ir.engines.chat import tokenizer_folder
from limrank_ir.engines.cutting import shares
from limrank_ir.engines.servers.connection import Connection
from limrank_ir.engines.servers.wire import Served, field
from limrank_ir.engines.tokens import NEAR, PromptTokenizer, Tokens, next_token, no_room
from limrank_ir.errors import InputError
from limrank_ir.models import Model
from limrank_ir.prompts import Label, Prompt, PromptFormat


class Tokenizing(Protocol):
    """Text to token ids and back."""

    async def labels(self, labels: Sequence[Label], before: str) -> list[int]:
        """The token of each label behind a text (`limrank_ir.engines.tokens.PromptTokenizer.label_tokens`)."""
        ...

    async def encode(self, prompt: Prompt, limit: int) -> Tokens:
        """The ids of a prompt, whose passage is cut if it is longer than the limit."""
        ...

    async def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        ...

    async def start(self) -> int:
        """The number of tokens that the tokenizer puts before every text."""
        ...


@dataclass(frozen=True, slots=True)
class Local:
    """The model's tokenizer on this machine, which reads users' text as plain text."""

    tokenizer: PromptTokenizer

    async def labels(self, labels: Sequence[Label], before: str) -> list[int]:
        """The token of each label behind a text."""
        return self.tokenizer.label_tokens(labels, before)

    async def encode(self, prompt: Prompt, limit: int) -> Tokens:
        """The ids of a prompt."""
        if len(prompt.passage) < 20_000:  # faster than a thread
            return self.tokenizer.encode([prompt], limit)[0]
        return (await asyncio.to_thread(self.tokenizer.encode, [prompt], limit))[0]

    async def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        return self.tokenizer.decode(list(ids))

    async def start(self) -> int:
        """The number of tokens that the tokenizer puts before every text."""
        return len(self.tokenizer.encode_text("", start=True))


@dataclass(frozen=True, slots=True)
class Remote:
    """The server's tokenizer.

    It knows nothing of who wrote what: a control token in a user's text is a control token, unless
    `limrank_ir.prompts.clean` removed it. Passages are cut at a character.
    """

    connection: Connection
    served: Served
    fmt: PromptFormat
    _known: dict[str, list[int]] = field_of(default_factory=dict)  # the ids of short texts are asked once

    async def labels(self, labels: Sequence[Label], before: str) -> list[int]:
        """The token of each label behind a text."""
        near = before[-NEAR:]
        first = [label if isinstance(label, int) else await self._first_token(label, near) for label in labels]
        if len(set(first)) < len(first):
            raise InputError(f"two of the labels {tuple(labels)} begin with the same token of {self.served.model}")
        return first

    async def _first_token(self, label: str, near: str) -> int:
        for before in (near, "\n") if near else ():
            number = next_token(await self._known_ids(before), await self._known_ids(before + label))
            if number is not None:
                return number
        return (await self._known_ids(label))[0]

    async def encode(self, prompt: Prompt, limit: int) -> Tokens:
        """The ids of a prompt."""
        ids = await self._ids(prompt.text, start=self.fmt.start)
        total = len(ids)
        lengths = kept = [end - start for start, end in prompt.passages]
        if total > limit:
            least = len(await self._ids(prompt.cut([0] * len(lengths)).text, start=self.fmt.start))
            if least > limit:
                raise no_room(prompt, limit)
        while len(ids) > limit:  # tokens have different lengths, so it takes a few rounds
            kept = shares(lengths, int(sum(kept) * max(0, limit - least) / (len(ids) - least)))
            shown = prompt.cut(kept)
            if any(length and start == end for length, (start, end) in zip(lengths, shown.passages, strict=True)):
                raise no_room(prompt, limit)
            ids = await self._ids(shown.text, start=self.fmt.start)
        return Tokens(np.array(ids, dtype=np.int32), total - len(ids), tuple(kept))

    async def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        body: dict[str, Any] = {"tokens": list(ids)}
        name = {"vllm": "prompt", "sglang": "text", "llama.cpp": "content"}[self.served.kind]
        if self.served.kind != "llama.cpp":
            body["model"] = self.served.model
        if self.served.kind == "sglang":
            body["skip_special_tokens"] = False
        return await self.connection.post("/detokenize", body, lambda answer: field(answer, name, kind=str))

    async def start(self) -> int:
        """The number of tokens that the tokenizer puts before every text."""
        return len(await self._ids("", start=self.fmt.start))

    async def _known_ids(self, text: str) -> list[int]:
        """The ids of a label or of what stands before it."""
        if text not in self._known:
            self._known[text] = await self._ids(text, start=False)
        return self._known[text]

    async def _ids(self, text: str, *, start: bool) -> list[int]:
        if self.served.kind == "llama.cpp":
            body: dict[str, Any] = {"content": text, "add_special": start, "parse_special": True}
        else:
            body = {"model": self.served.model, "prompt": text, "add_special_tokens": start}
        return await self.connection.post("/tokenize", body, lambda answer: field(answer, "tokens", kind=list))


def local_tokenizer(model: Model, fmt: PromptFormat) -> PromptTokenizer | None:
    """The model's tokenizer, or None if it is not on this machine and cannot be downloaded.

    Args:
        model: the model.
        fmt: its prompt format.

    Returns:
        The tokenizer: the adapter's if it has one, else that of the weights.
    """
    from transformers import AutoTokenizer

    try:
        return PromptTokenizer(AutoTokenizer.from_pretrained(tokenizer_folder(model)), fmt)
    except (InputError, OSError, ValueError):
        return None
