"""Ask the reader, and a judge if there is one. Answers are saved as what was read from them: never as text."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from limrank_ir.errors import LimRankError
from limrank_ir.llm.answers import completion, usage
from limrank_ir.llm.chat import Chat, Server
from limrank_ir.llm.journal import Journal, request_key

from .questions import Question
from .secret import withheld
from .wording import SYSTEM, WORDING, boxed_choice, judge_message, judgment, reader_message

JUDGE_TOKENS = 1024  # enough for a judge that explains itself


@dataclass(frozen=True)
class Model:
    """A model behind an OpenAI-compatible server.

    Attributes:
        server: where it is.
        name: its name there.
        parameters: further fields of the request, such as ``temperature``.
    """

    server: Server
    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One question to the reader.

    Attributes:
        question: the question.
        passages: the texts that it gets, best first.
        sample: the number of the sample, from 0.
    """

    question: Question
    passages: tuple[str, ...]
    sample: int = 0


@dataclass(frozen=True)
class Answer:
    """What is kept of an answer.

    Attributes:
        choice: the letter in its last box, or None.
        correct: whether it is correct, by the box or by the judge. Without a choice, or without a clear yes of the
            judge, it is not.
        ending: ``"cut"`` at the token limit, ``"refused"`` by the model, ``"filtered"`` by the server, or ``""``.
        judged: what the judge said: ``"yes"``, ``"no"``, or ``"unclear"``; None without a judge.
        prompt_tokens: tokens of the reader's prompt; 0 if the server does not say.
        answer_tokens: tokens of its answer; 0 if the server does not say.
    """

    choice: str | None
    correct: bool
    ending: Literal["", "cut", "refused", "filtered"]
    judged: Literal["yes", "no", "unclear"] | None
    prompt_tokens: int
    answer_tokens: int


class Reader:
    """Asks each request once, now or in an earlier call."""

    def __init__(self, reader: Model, judge: Model | None, journal: Journal, texts: Sequence[str]) -> None:
        """Get ready without asking anything.

        Args:
            reader: the model that answers.
            judge: the model that says whether an answer is correct; None compares the box.
            journal: where answers are kept. It gets hashes of requests, letters, and numbers.
            texts: the gated texts, which no error may repeat.
        """
        self._reader = reader
        self._judge = judge
        self._journal = journal
        self._texts = texts

    def ask(self, requests: Sequence[Request], advance: Callable[[int], None]) -> list[Answer]:
        """Get the answers to requests.

        Args:
            requests: the requests. Equal ones are asked once.
            advance: called with the number of requests that are done.

        Returns:
            One answer for each request.

        Raises:
            InputError: a server rejects the request, the model, or the key.
            EngineError: a server is down or gives no valid answer. What was answered is saved.
        """
        keys = [request_key(self._sealed(request)) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        known = self._journal.known(distinct.keys())
        advance(sum(key in known for key in keys))
        missing = {key: request for key, request in distinct.items() if key not in known}
        counts = Counter(keys)
        if missing:
            with withheld(self._texts), _quiet_client():
                asyncio.run(self._ask_all(missing, lambda key: advance(counts[key])))
        saved = {key: self._journal.get(key) for key in distinct}
        return [self._opened(request.question, saved[key] or {}) for key, request in zip(keys, requests, strict=True)]

    async def _ask_all(self, missing: Mapping[str, Request], done: Callable[[str], None]) -> None:
        """Ask several at a time. After a failure, those that are on their way are waited for and saved."""
        waiting = iter(missing.items())
        failures: list[LimRankError] = []

        async def work() -> None:
            for key, request in waiting:
                try:
                    await self._ask(reader, judge, request)
                except LimRankError as error:
                    failures.append(error)
                if failures:
                    return
                done(key)

        async with AsyncExitStack() as stack:
            reader = await stack.enter_async_context(Chat(self._reader.server))
            judge = await stack.enter_async_context(Chat(self._judge.server)) if self._judge else None
            await asyncio.gather(*(work() for _ in range(min(self._reader.server.most, len(missing)))))
        if failures:
            raise failures[0]

    async def _ask(self, reader: Chat, judge: Chat | None, request: Request) -> None:
        """Ask for one answer and save what is read from it, at once."""
        answer = await reader.complete(self._body(request))
        found, tokens = completion(answer), usage(answer)
        record: dict[str, Any] = {
            "choice": boxed_choice(found.text, request.question),
            "ending": found.ending,
            "prompt_tokens": tokens.prompt,
            "answer_tokens": tokens.response,
        }
        if judge is not None and self._judge is not None:
            said = judgment(completion(await judge.complete(self._judge_body(request.question, found.text))).text)
            record["judged"] = {True: "yes", False: "no", None: "unclear"}[said]
        # In the shape of an answer, which the journal checks.
        self._journal.put(self._sealed(request), {"choices": [{"message": {"content": ""}}], "read": record})

    def _body(self, request: Request) -> dict[str, Any]:
        """What is sent to the reader."""
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": reader_message(request.question, request.passages)},
        ]
        body = {"model": self._reader.name, "messages": messages, **self._reader.parameters}
        if "seed" in body:
            body["seed"] += request.sample
        return body

    def _judge_body(self, question: Question, answer: str) -> dict[str, Any]:
        assert self._judge is not None
        messages = [{"role": "user", "content": judge_message(question, answer)}]
        return {"model": self._judge.name, "messages": messages, **self._judge.parameters}

    def _sealed(self, request: Request) -> dict[str, Any]:
        """What stands for a request in the journal: a hash of everything that its answer depends on."""
        judge = None if self._judge is None else [self._judge.name, dict(self._judge.parameters)]
        everything = {"body": self._body(request), "sample": request.sample, "judge": judge, "wording": WORDING}
        return {"model": self._reader.name, "hash": request_key(everything)}

    @staticmethod
    def _opened(question: Question, saved: Mapping[str, Any]) -> Answer:
        read = saved["read"]
        judged = read.get("judged")
        correct = read["choice"] == question.answer if judged is None else judged == "yes"
        return Answer(read["choice"], correct, read["ending"], judged, read["prompt_tokens"], read["answer_tokens"])


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Keep openai's client from logging requests, which it does at the level DEBUG."""
    import openai  # noqa: F401 - sets the level itself when it is first imported

    logger = logging.getLogger("openai")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
