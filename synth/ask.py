"""How stages get answers: from the journal, online, or by way of a batch file. A stage does not see the difference."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from limrank_ir.errors import InputError, LimRankError
from limrank_ir.llm.answers import usable, usage
from limrank_ir.llm.chat import Chat
from limrank_ir.llm.journal import Journal, request_key

from .config import ChatModel
from .prices import Prices
from .reply import FILTERED, Reply, Unusable, read_reply, said
from .templates import RETRY, Prompts

Given = TypeVar("Given")
Made = TypeVar("Made")
Body = dict[str, Any]


class Dropped(Exception):
    """A record that comes to nothing; the message is the reason, which is counted."""


class Waiting(Exception):
    """An answer that is not there yet."""


class Ask(Protocol):
    """Gives the answer to a request to a model."""

    async def __call__(self, model: ChatModel, body: Body) -> dict[str, Any]:
        """The answer as the server wrote it.

        Raises:
            Waiting: it is not there yet.
        """


@dataclass(frozen=True)
class SpendingLimits:
    """When to stop asking.

    Attributes:
        requests: the most requests, or None.
        cost: the most money, in the currency of the prices, or None; answers of earlier runs count, too.
    """

    requests: int | None = None
    cost: float | None = None


class Online:
    """Asks servers, keeps what they say, and stops at limits or faults: what is under way then is finished and kept."""

    def __init__(
        self,
        journal: Journal,
        prices: Prices,
        limits: SpendingLimits | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Get ready; nothing is asked yet.

        Args:
            journal: where answers are kept.
            prices: what tokens cost.
            limits: when to stop.
            again: ask again where the journal holds what is no answer (an older version kept it).
        """
        self._journal, self._prices, self._limits, self._again = journal, prices, limits or SpendingLimits(), again
        self._chats: dict[str, tuple[Chat, asyncio.Semaphore]] = {}
        self._same: dict[str, asyncio.Lock] = {}
        self._under_way, self._dearest = 0, 0.0
        self.requests = 0
        """How many were made."""
        self.spent = 0.0
        """What answers cost, with those that the journal held before."""
        self.tokens = 0
        """Their tokens, likewise."""
        self.unusable = 0
        """How many of those that were used are no answers."""
        self.stopped: str | None = None
        """Why no more is asked."""
        self.fault: LimRankError | None = None
        """The error of a server, if that is why."""
        for body, answer in journal:
            self._count(body["model"], answer)

    async def __call__(self, model: ChatModel, body: Body) -> dict[str, Any]:
        """See `Ask`."""
        key = request_key(body)
        async with self._same.setdefault(key, asyncio.Lock()):  # the same request is asked once
            known = self._journal.get(key)
            if known is not None and (usable(known) or not self._again):
                self.unusable += not usable(known)
                return known
            name = repr(model.server)
            if name not in self._chats:
                self._chats[name] = Chat(model.server), asyncio.Semaphore(model.concurrency)
            chat, free = self._chats[name]
            async with free:
                self._stop_at_limits()
                self.requests += 1
                self._under_way += 1
                try:
                    answer = await chat.complete(body)
                except LimRankError as error:
                    self.fault = self.fault or error
                    self.stopped = self.stopped or str(error)
                    raise Waiting from error
                finally:
                    self._under_way -= 1
                self._journal.put(body, answer)
        self._dearest = max(self._dearest, self._count(body["model"], answer))
        return answer

    def _count(self, name: str, answer: Mapping[str, Any]) -> float:
        """Add what an answer took."""
        cost, tokens = self._prices.cost(name, answer) or 0.0, usage(answer)
        if self._limits.cost is not None and not tokens.known:
            self.fault = self.fault or InputError(
                f"--max-cost: cannot be kept, as answers of {name} do not tell their tokens; leave it out"
            )
            self.stopped = self.stopped or str(self.fault)
        self.spent += cost
        self.tokens += tokens.prompt + tokens.response
        return cost

    def _stop_at_limits(self) -> None:
        limits = self._limits
        if limits.requests is not None and self.requests >= limits.requests:
            self.stopped = self.stopped or f"--max-requests {limits.requests} is reached"
        # What is under way will be paid, too: as much each, at most, as the dearest so far.
        if limits.cost is not None and self.spent + (self._under_way + 1) * self._dearest > limits.cost:
            self.stopped = self.stopped or f"--max-cost {limits.cost:g} is reached"
        if self.stopped:
            raise Waiting

    async def close(self) -> None:
        """Disconnect."""
        for chat, _ in self._chats.values():
            await chat.close()


class Offline:
    """Takes answers from the journal alone, and notes what is missing: what ``batch-write`` writes."""

    def __init__(
        self, journal: Journal, *, again: bool = False, files: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Read a journal.

        Args:
            journal: the answers.
            again: count as missing what is no answer (an older version kept it).
            files: answers by key that come from elsewhere; the journal takes those that are asked for.
        """
        self._journal, self._again, self._files = journal, again, files or {}
        self.missing: dict[str, tuple[ChatModel, Body]] = {}
        """Key to the model and the request."""

    async def __call__(self, model: ChatModel, body: Body) -> dict[str, Any]:
        """See `Ask`."""
        key = request_key(body)
        known = self._journal.get(key)
        if known is not None and (usable(known) or not self._again):
            return known
        if key in self._files:
            self._journal.put(body, self._files[key])
            return dict(self._files[key])
        self.missing[key] = model, body
        raise Waiting


async def settle(
    ask: Ask, model: ChatModel, body: Body, read: Callable[[Reply], Made], prompts: Prompts, *, attempts: int
) -> tuple[Made, str]:
    """Ask until the answer can be used.

    An unusable answer goes back to the model with the reason.

    Args:
        ask: gives answers.
        model: which model.
        body: the first request.
        read: what makes something of an answer; it raises `Unusable`.
        prompts: the wording of a second request.
        attempts: how often to ask at most.

    Returns:
        What was made of the answer, and the key of the request that it came from.

    Raises:
        Dropped: no attempt gave anything usable.
        Waiting: an answer is not there yet.
    """
    reason = ""
    for _ in range(attempts):
        answer = await ask(model, body)
        try:
            return read(read_reply(answer)), request_key(body)
        except Unusable as error:
            reason = str(error)
            if reason == FILTERED:  # it would keep it back again
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
        dropped: reason to how many sources came to nothing.
        waiting: how many sources wait for an answer.
    """

    made: list[Made]
    dropped: dict[str, int]
    waiting: int


async def each(
    sources: Sequence[Given], make: Callable[[Given], Awaitable[Made]], done: Callable[[int], None] = lambda count: None
) -> StageOutcome[Made]:
    """Run a stage over its sources, all at once; the servers' own limits say how many are asked at a time.

    Args:
        sources: the records of the stage before.
        make: makes one of this stage.
        done: called with 1 when a source is done.

    Returns:
        What came of it.
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
