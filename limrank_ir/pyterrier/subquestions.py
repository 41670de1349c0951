"""Sub-questions of queries, written by a chat model."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limrank_ir.engines.servers.sharing import in_thread
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.llm.answers import Fault, completion, usage
from limrank_ir.llm.asking import ask_all
from limrank_ir.llm.chat import Server, check_key
from limrank_ir.llm.journal import Journal

log = logging.getLogger("limrank_ir")

# Our own wording of what the model does in arXiv 2507.00355: self-contained questions, each for one fact.
PROMPT = """\
Break the question below into the sub-questions whose answers are needed to answer it, at most {most}. Each one must \
be a complete question that can be understood alone and asks for one fact. If the question is simple, there are none.

Answer with a JSON list of strings and nothing else, such as ["...", "..."] or [].

Question: {query}"""
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_FENCED = re.compile(r"^```\w*\s(.*)```$", re.DOTALL)


@dataclass(slots=True)
class SubQuestionStats:
    """What the sub-questions so far have cost.

    Attributes:
        requests: requests to the server.
        saved: queries whose answer was in the journal.
        unusable: answers without a list of sub-questions; their queries are used alone.
        prompt_tokens: tokens read for the requests, as far as the server says.
        response_tokens: tokens written, with thoughts.
    """

    requests: int = 0
    saved: int = 0
    unusable: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0


class SubQuestions:
    """Asks a chat model for the sub-questions of queries: what `limrank_ir.pyterrier.Decompose` takes.

    Every answer is saved before it is used, so that none is paid for twice.

    Attributes:
        stats: counts of all queries so far.

    Example:
        >>> split = SubQuestions("gpt-4.1-mini", journal="sub-questions.sqlite")  # doctest: +SKIP
        >>> split(["Which is older, PISA or Terrier?"])  # doctest: +SKIP
        [['When was PISA released first?', 'When was Terrier released first?']]
    """

    def __init__(
        self,
        model: str,
        *,
        journal: str | os.PathLike[str],
        base_url: str | None = None,
        key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        most: int = 5,
        prompt: str = PROMPT,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Choose a model. Nothing is asked yet.

        Args:
            model: its name at the server.
            journal: the file in which answers are saved (`limrank_ir.llm.journal.Journal`).
            base_url: the URL of an OpenAI-compatible API, such as ``http://localhost:8000/v1``; None: OpenAI's.
            key_env: the environment variable with the API key. Your own servers need none.
            concurrency: the maximum number of concurrent requests.
            most: the maximum number of sub-questions of a query; what an answer has in addition is left out.
            prompt: what the model is told, with ``{query}``, and ``{most}`` if wanted. It must ask for a JSON list.
            parameters: further fields of the request, such as ``{"temperature": 0}``.

        Raises:
            InputError: the package openai is not installed, or an option is invalid.
        """
        need("SubQuestions", "synth", "openai")
        if "{query}" not in prompt:
            raise InputError("the prompt for sub-questions has no {query}; write it where the query belongs")
        if most < 1 or concurrency < 1:
            raise InputError(f"most is {most} and concurrency is {concurrency}; both must be at least 1")
        self.model, self.journal, self.most, self.prompt = model, journal, most, prompt
        self.parameters = dict(parameters or {})
        self.stats = SubQuestionStats()
        self._server = Server(base_url, key_env, concurrency)

    def __repr__(self) -> str:
        return f"SubQuestions({self.model!r})"

    def __call__(self, queries: Sequence[str]) -> list[list[str]]:
        """Split queries.

        Args:
            queries: the queries, all different.

        Returns:
            The sub-questions of each; none if it is simple, or if the answer is unusable, which a warning counts.

        Raises:
            InputError: the API key is missing or refused, or the file is no journal.
            EngineError: the server cannot be reached, or gives no valid answer.
        """
        if not queries:
            return []
        check_key(self._server, self.model)
        bodies = [self._body(query) for query in queries]
        journal = Journal(self.journal)
        try:
            answers = in_thread(lambda: ask_all(self._server, bodies, journal))
        finally:
            journal.close()
        found = []
        unusable = []
        for query, (answer, saved) in zip(queries, answers, strict=True):
            self._count(answer, saved)
            listed = _listed(answer)
            if listed is None:
                unusable.append(query)
            found.append((listed or [])[: self.most])
        if unusable:
            self.stats.unusable += len(unusable)
            log.warning(
                "%s: %d of %d answers are no list of sub-questions; these queries are used alone, such as %r",
                *(self.model, len(unusable), len(queries), unusable[0][:60]),
            )
        return found

    def _body(self, query: str) -> dict[str, Any]:
        told = {"{query}": query, "{most}": str(self.most)}
        content = re.sub(r"\{query\}|\{most\}", lambda field: told[field[0]], self.prompt)
        return {**self.parameters, "model": self.model, "messages": [{"role": "user", "content": content}]}

    def _count(self, answer: Mapping[str, Any], saved: bool) -> None:
        if saved:
            self.stats.saved += 1
            return
        used = usage(answer)
        self.stats.requests += 1
        self.stats.prompt_tokens += used.prompt
        self.stats.response_tokens += used.response


def _listed(answer: Mapping[str, Any]) -> list[str] | None:
    """The sub-questions in an answer, equal ones once; None if it is not a JSON list of texts."""
    try:
        said = completion(answer)
    except Fault:
        return None
    text = _THOUGHT.sub("", said.text).strip()
    if fenced := _FENCED.match(text):
        text = fenced[1]
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if said.ending or not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        return None
    return list(dict.fromkeys(" ".join(each.split()) for each in listed if each.strip()))
