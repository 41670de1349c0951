"""The server engine: a model behind running servers, of vLLM, SGLang, llama.cpp, or any with OpenAI's API.

Prompts are the same as the local engine's: token ids where the server takes them, never chat messages. What a server
is, and whether it has the model, it says itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from limrank_ir.engines.batching import waves
from limrank_ir.engines.formats import model_format
from limrank_ir.engines.servers.asking import WIRES, Asker
from limrank_ir.engines.servers.connection import Connection, ServerGone, Settings, server_urls
from limrank_ir.engines.servers.finding import agreed, find
from limrank_ir.engines.servers.sharing import in_thread, share, stream
from limrank_ir.engines.servers.tokenizing import Local, Remote, local_tokenizer
from limrank_ir.errors import InputError
from limrank_ir.models import Model
from limrank_ir.prompts import Prompt, PromptFormat
from limrank_ir.verdict import Reading, Written

if TYPE_CHECKING:
    from limrank_ir.engines import Label
    from limrank_ir.engines.servers.wire import Served
    from limrank_ir.engines.tokens import PromptTokenizer

T = TypeVar("T")


class ServerEngine:
    """Asks servers that run one model. They are asked what they are with the first prompt.

    Attributes:
        tokens: how many tokens the servers have read and generated so far.
    """

    def __init__(
        self,
        model: Model,
        urls: str,
        *,
        max_length: int | None = None,
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Choose servers. A key for them comes from the environment variable ``LIMRANK_API_KEY``.

        Args:
            model: the model (`limrank_ir.models.resolve`).
            urls: the URL of a server, or several, separated by commas. Each query goes to one of them.
            max_length: the maximum number of tokens in a prompt; None: the model's own limit, or the server's if that
                is lower. Longer passages are cut.
            engine_options: ``model``, the name under which the servers know the model; ``concurrency``, the maximum
                number of requests at a time to each server; ``timeout``, in seconds for one answer; and ``retries``
                (`limrank_ir.engines.servers.connection.Settings`).

        Raises:
            InputError: an option is unknown or invalid, or a URL is not that of a server or contains a key.
        """
        if max_length is not None and max_length < 1:
            raise InputError(f"max_length is {max_length}; it must be at least 1")
        names = [each.name for each in fields(Settings)]
        options = dict(engine_options or {})
        if unknown := [name for name in options if name not in names]:
            raise InputError(f"engine option {unknown[0]!r}: servers have only {', '.join(names)}")
        self.model = model
        self.urls = server_urls(urls)
        self.settings = Settings(**options)
        self.tokens = 0
        self._asked_length = min(max_length or model.context, model.context)

    def __repr__(self) -> str:
        """The model and the servers."""
        return f"ServerEngine({self.model.name!r}, {','.join(self.urls)!r})"

    @property
    def identity(self) -> str:
        """The servers' kind and version, their name of the model, and the length limit, for the store's keys.

        The URLs are not part of it, so that a store can be filled by many servers of the same kind.
        """
        served = self._served[0]
        return f"{served.kind} {served.version} {served.model} max_length={self.max_length}"

    @property
    def max_length(self) -> int:
        """The maximum number of tokens in a prompt with its thought. The label takes one more of a server's context."""
        return min([self._asked_length, *(each.context - 1 for each in self._served if each.context is not None)])

    @cached_property
    def _served(self) -> list[Served]:
        """What the servers are, of those that answer."""

        async def ask(url: str) -> Served | ServerGone:
            try:
                async with Connection(url, self.settings) as connection:
                    return await find(connection, self.model)
            except ServerGone as gone:
                return gone

        async def main() -> list[Served | ServerGone]:
            return list(await asyncio.gather(*map(ask, self.urls)))

        return list(agreed(dict(zip(self.urls, in_thread(main), strict=True))).values())

    @cached_property
    def _format(self) -> PromptFormat:
        return model_format(self.model)

    @cached_property
    def _tokenizer(self) -> PromptTokenizer | None:
        return local_tokenizer(self.model, self._format)

    def read_labels(
        self,
        prompts: Sequence[Prompt],
        labels: Sequence[Label],
        *,
        think: bool,
        budget: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Reading]]]:
        """Read labels, each as soon as a server has it (see `limrank_ir.engines.Engine.read_labels`).

        Raises:
            InputError: a server does not have the model, rejects a request or the key, or cannot give what the format
                needs; or a query leaves no room for a passage.
            EngineError: no server can be reached any more, or one gives no valid answer.
        """
        if len(labels) < 2:
            raise InputError(
                f"the score of {self.model.name} is the raw logit of one label, which servers do not give; use "
                "engine='local' or 'vllm' (--engine)"
            )

        async def read(asker: Asker, prompt: Prompt) -> tuple[Reading, int]:
            reading = await asker.read(prompt, labels, think=think, budget=budget)
            return reading, reading.prompt_tokens + reading.reasoning_tokens

        return self._work(prompts, done, read)

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        budget: int,
        stop: Sequence[str] = (),
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Written]]]:
        """Continue prompts, each as soon as a server has its end (see `limrank_ir.engines.Writer.write`).

        A server with OpenAI's API alone goes on after a stop string, as far as the budget lasts, and what follows is
        dropped: it would leave the stop string out of its answer.

        Raises:
            InputError: a server does not have the model, or rejects a request or the key; or a query leaves no room for
                its passages.
            EngineError: no server can be reached any more, or one gives no valid answer.
        """

        async def write(asker: Asker, prompt: Prompt) -> tuple[Written, int]:
            written = await asker.write(prompt, budget=budget, stops=stop)
            return written, written.prompt_tokens + written.written_tokens

        return self._work(prompts, done, write)

    def _work(
        self,
        prompts: Sequence[Prompt],
        done: Set[int],
        one: Callable[[Asker, Prompt], Awaitable[tuple[T, int]]],
    ) -> Iterator[list[tuple[int, T]]]:
        """Ask the servers about prompts.

        Args:
            prompts: the prompts.
            done: indices to skip.
            one: asks about one: (what the answer says, the number of tokens).

        Yields:
            Batches of (index of the prompt, what the answer says).
        """
        served = self._served[0]
        if self._tokenizer is None and not WIRES[served.kind].takes_ids:
            raise InputError(
                f"{self.urls[0]}: has no tokenizer to ask, and that of {self.model.name} is not on this machine; run "
                f"`hf download {self.model.weights} tokenizer.json tokenizer_config.json config.json`"
            )
        max_length = self.max_length
        # With more prompts than slots, a prompt's second request would find the slot with its cache taken.
        concurrency = min(self.settings.concurrency, served.slots or self.settings.concurrency)
        items = [
            (index, prompts[index].prefix)
            for wave in waves(dict(enumerate(prompts)))
            for group in wave
            for index in group
            if index not in done
        ]

        async def main(put: Callable[[tuple[int, T]], None]) -> None:
            async with AsyncExitStack() as stack:
                askers = {}
                for url in self.urls:
                    connection = await stack.enter_async_context(Connection(url, self.settings))
                    tokenizing = Local(self._tokenizer) if self._tokenizer else Remote(connection, served, self._format)
                    askers[url] = Asker(connection, served, tokenizing, self._format, max_length)

                async def work(url: str, index: int) -> None:
                    result, tokens = await one(askers[url], prompts[index])
                    self.tokens += tokens
                    put((index, result))

                await share(items, self.urls, concurrency, work)

        yield from stream(main)
