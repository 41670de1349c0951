"""How stages get answers: from the journal, from a server, or from a batch file. A stage cannot tell which."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from limrank_ir.errors import InputError, LimRankError
from limrank_ir.llm.answers import usable
from limrank_ir.llm.chat import Chat
from limrank_ir.llm.journal import Answered, Journal, request_key
from limrank_ir.llm.saving import Saver

from .budget import Budget
from .config import ChatModel
from .prices import Prices
from .reply import FILTERED, REFUSED, Reply, Unusable, read_reply, said
from .templates import RETRY, Prompts

Given = TypeVar("Given")
Made = TypeVar("Made")
Body = dict[str, Any]


class Dropped(Exception):
    """A record that is given up. The message is the reason, which is counted."""


class Waiting(Exception):
    """The answer has not arrived yet."""


class Ask(Protocol):
    """Gets the answer to a request."""

    async def __call__(self, model: ChatModel, body: Body) -> dict[str, Any]:
        """Return the answer as the server wrote it.

        Raises:
            Waiting: it has not arrived yet.
        """


@dataclass(frozen=True)
class SpendingLimits:
    """When to stop asking.

    Attributes:
        requests: the maximum number of requests, or None.
        cost: the maximum cost, in the currency of the prices, or None (`Budget`). Answers from earlier runs count too.
    """

    requests: int | None = None
    cost: float | None = None


class Online:
    """Asks servers and saves their answers. After a limit or a fault, it finishes the requests in flight and stops."""

    def __init__(
        self,
        journal: Journal,
        prices: Prices,
        limits: SpendingLimits | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Get ready without asking anything.

        Args:
            journal: where answers are saved.
            prices: what tokens cost.
            limits: when to stop.
            again: repeat requests whose saved answer is unusable because an older version saved an error.
        """
        self._saver = Saver(journal)
        self._limits = limits or SpendingLimits()
        self._budget = Budget(self._limits.cost, prices)
        self._again = again
        self._chats: dict[str, Chat] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.requests = 0
        """The number of requests made."""
        self.unusable = 0
        """How many of the saved answers used in this run are not answers at all."""
        self.stopped: str | None = None
        """Why no more requests are made."""
        self.fault: LimRankError | None = None
        """The error that stopped the run, if it was one."""
        for body, answer in journal:
            self._count(body["model"], answer)

    @property
    def in_flight(self) -> int:
        """The number of requests in flight."""
        return sum(chat.pace.active for chat in self._chats.values())

    @property
    def spent(self) -> float:
        """The cost of all answers, including those already in the journal."""
        return self._budget.spent

    @property
    def tokens(self) -> int:
        """The tokens of all answers, counted the same way."""
        return self._budget.tokens

    async def __call__(self, model: ChatModel, body: Body) -> dict[str, Any]:
        """See `Ask`."""
        key, server = request_key(body), model.address
        name = f"{server} {key}"
        async with self._locks.setdefault(name, asyncio.Lock()):  # identical requests are sent once
            saved = await self._saver.get(key, server)
            if saved is not None and (usable(saved) or not self._again):
                self.unusable += not usable(saved)
                return saved
            return await self._send(self._chat(model), name, body, server)

    def _chat(self, model: ChatModel) -> Chat:
        name = repr(model.server)
        if name not in self._chats:
            self._chats[name] = Chat(model.server)
        return self._chats[name]

    async def _send(self, chat: Chat, name: str, body: Body, server: str) -> dict[str, Any]:
        async def keep(answer: dict[str, Any]) -> None:
            self._count(body["model"], answer)
            self._budget.release(name)
            await self._saver.put(body, answer, server)

        try:
            return await chat.complete(body, ready=lambda: self._ready(name, body), keep=keep)
        except LimRankError as error:
            self._fail(error)
            raise Waiting from error
        finally:
            self._budget.release(name)

    async def _ready(self, name: str, body: Body) -> None:
        """Wait until there is money for a request, or stop at a limit."""
        limits = self._limits
        while True:
            if limits.requests is not None and self.requests >= limits.requests:
                self.stopped = self.stopped or f"--max-requests {limits.requests} is reached"
            if self.stopped:
                raise Waiting
            if self._budget.reserve(name, body):
                self.requests += 1
                return
            if not self._budget.pending:
                self.stopped = (
                    f"--max-cost {limits.cost:g} is reached: ${self.spent:.4f} are spent, and the next request can "
                    f"cost ${self._budget.price(body):.4f}"
                )
                raise Waiting
            await self._budget.released()

    def _count(self, name: str, answer: Mapping[str, Any]) -> None:
        if not self._budget.count(name, answer) and self._limits.cost is not None:
            self._fail(
                InputError(f"--max-cost: cannot be enforced, as answers of {name} do not report tokens; leave it out")
            )

    def _fail(self, error: LimRankError) -> None:
        """Stop because of an error. The first one counts."""
        self.fault = self.fault or error
        self.stopped = self.stopped or str(error)

    async def close(self) -> None:
        """Wait until all answers are saved, and disconnect."""
        await self._saver.close()
        for chat in self._chats.values():
            await chat.close()


class Offline:
    """Takes answers from the journal only and collects the missing requests, which ``batch-write`` writes."""

    def __init__(
        self, journal: Journal, *, again: bool = False, files: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Take a journal.

        Args:
            journal: the answers.
            again: treat an answer as missing if it is unusable because an older version saved an error.
            files: more answers by key, from any server. `keep` copies those that were asked for to the journal.
        """
        self._journal = journal
        self._again = again
        self._files = files or {}
        self._taken: dict[str, Answered] = {}
        self.missing: dict[str, tuple[ChatModel, Body]] = {}
        """Key to the model and the request."""

    async def __call__(self, model: ChatModel, body: Body) -> dict[str, Any]:
        """See `Ask`."""
        key = request_key(body)
        saved = self._journal.get(key, model.address)
        if saved is not None and (usable(saved) or not self._again):
            return saved
        if key in self._files:
            self._taken[key] = Answered(body, self._files[key], model.address)
            return dict(self._files[key])
        self.missing[key] = model, body
        raise Waiting

    def keep(self) -> None:
        """Copy the answers that came from files to the journal. Until then, the files still have them."""
        self._journal.put_all(self._taken.values())


async def settle(
    ask: Ask, model: ChatModel, body: Body, read: Callable[[Reply], Made], prompts: Prompts, *, attempts: int
) -> tuple[Made, str]:
    """Ask until an answer is usable. The model gets an unusable answer back, with the reason, but no refused one.

    Args:
        ask: gets answers.
        model: the model.
        body: the first request.
        read: turns a reply into the result; raises `Unusable`.
        prompts: the wording of repeated requests.
        attempts: the maximum number of requests.

    Returns:
        The result, and the key of the request that it came from.

    Raises:
        Dropped: no attempt gave a usable answer.
        Waiting: an answer has not arrived yet.
    """
    reason = ""
    for _ in range(attempts):
        answer = await ask(model, body)
        try:
            return read(read_reply(answer)), request_key(body)
        except Unusable as error:
            reason = str(error)
            if reason in (FILTERED, REFUSED):  # it would be filtered or refused again
                break
            body = _again(body, answer, prompts.fill(RETRY, reason=reason))
    raise Dropped(f"unusable answer: {reason.split(' (')[0]}")


def _again(body: Body, answer: Mapping[str, Any], told: str) -> Body:
    more = [{"role": "assistant", "content": said(answer) or "(nothing)"}, {"role": "user", "content": told}]
    return {**body, "messages": [*body["messages"][:1], *more]}


@dataclass(frozen=True)
class StageOutcome(Generic[Made]):
    """What a stage made.

    Attributes:
        made: the records, in the order of their sources.
        dropped: reason to the number of sources given up.
        waiting: the number of sources that wait for an answer.
    """

    made: list[Made]
    dropped: dict[str, int]
    waiting: int


async def each(
    sources: Sequence[Given], make: Callable[[Given], Awaitable[Made]], done: Callable[[int], None] = lambda count: None
) -> StageOutcome[Made]:
    """Run a stage on all sources at once. Each server's own limit decides how many requests are in flight.

    Args:
        sources: the records of the previous stage.
        make: makes a record of this stage from one of them.
        done: called with 1 when a source is done.

    Returns:
        The outcome.
    """

    async def one(source: Given) -> Made | Dropped | Waiting:
        try:
            return await make(source)
        except (Dropped, Waiting) as error:
            return error
        finally:
            done(1)

    found = await asyncio.gather(*map(one, sources))
    dropped = Counter(str(each) for each in found if isinstance(each, Dropped))
    made = [each for each in found if not isinstance(each, (Dropped, Waiting))]
    return StageOutcome(made, dict(dropped), sum(isinstance(each, Waiting) for each in found))
