"""Ask a server about one prompt: labels at once, or after a thought, as in the local engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limrank_ir.engines.servers.connection import Connection, Fault
from limrank_ir.engines.servers.llama_cpp import LlamaCpp
from limrank_ir.engines.servers.openai import OpenAI
from limrank_ir.engines.servers.sglang import Sglang
from limrank_ir.engines.servers.tokenizing import Tokenizing
from limrank_ir.engines.servers.vllm import Vllm
from limrank_ir.engines.servers.wire import BIAS, Generated, Question, Served, Step, Token, Wire
from limrank_ir.engines.thoughts import answer_limits, before_stop, thought_limits, up_to_stop
from limrank_ir.errors import EngineError
from limrank_ir.prompts import Label, Prompt, PromptFormat
from limrank_ir.verdict import Ending, Finish, Reading, Written

WIRES: Mapping[str, Wire] = {"vllm": Vllm(), "sglang": Sglang(), "llama.cpp": LlamaCpp(), "openai": OpenAI()}


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought that a server generated.

    Attributes:
        text: without the stop string.
        tokens: the number of generated tokens, up to the verdict if there is one.
        finish: how it ended.
        logprobs: those of the labels at the verdict, or None if there is none.
    """

    text: str
    tokens: int
    finish: Finish
    logprobs: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks one server about prompts.

    Attributes:
        connection: the connection to it.
        served: the model there.
        tokenizing: makes token ids.
        fmt: the model's prompt format.
        max_length: the maximum number of tokens in a prompt with its thought.
    """

    connection: Connection
    served: Served
    tokenizing: Tokenizing
    fmt: PromptFormat
    max_length: int

    async def read(self, prompt: Prompt, labels: Sequence[Label], *, think: bool, budget: int) -> Reading:
        """Read labels, after a thought if the model is to think.

        Args:
            prompt: the prompt.
            labels: the labels.
            think: whether the model thinks.
            budget: the maximum number of tokens of its thought.

        Returns:
            The reading.

        Raises:
            InputError: the server rejects the prompt, or the query leaves no room for a passage.
            ServerGone: the server does not answer any more.
            EngineError: its answers are not what was asked for.
        """
        ids = await self.tokenizing.labels(labels, self.fmt.end_of_thought if think else prompt.ending)
        if not think:
            tokens = await self.tokenizing.encode(prompt, self.max_length)
            logprobs = await self._labels(await self._wire_prompt(tokens.ids.tolist()), ids)
            return Reading(logprobs, None, len(tokens.ids), 0, "verdict", tokens.cut)
        limit, budget = thought_limits(self.max_length, budget)
        tokens = await self.tokenizing.encode(prompt, limit)
        thought = await self._think(await self._wire_prompt(tokens.ids.tolist()), ids, self.fmt.stops(labels), budget)
        length, cut, values = len(tokens.ids), tokens.cut, thought.logprobs
        if values is None:
            ended = self.fmt.forced(tokens.shown(prompt), thought.text)
            forced = await self.tokenizing.encode(ended, self.max_length)
            values = await self._labels(await self._wire_prompt(forced.ids.tolist()), ids)
            length, cut = len(forced.ids), cut + forced.cut
        return Reading(values, thought.text, length, thought.tokens, thought.finish, cut)

    async def write(self, prompt: Prompt, *, budget: int, stops: Sequence[str]) -> Written:
        """Let the model write.

        Args:
            prompt: the prompt.
            budget: the maximum number of tokens.
            stops: strings that end the text.

        Returns:
            What it wrote.

        Raises:
            InputError: the server rejects the prompt, or the query leaves no room for its passages.
            ServerGone: the server does not answer any more.
            EngineError: its answers are not what was asked for.
        """
        limit, budget = answer_limits(self.max_length, budget)
        tokens = await self.tokenizing.encode(prompt, limit)
        # Some servers say which tokens they generated only beside log-probabilities, so those of any token are asked.
        question = Question(await self._wire_prompt(tokens.ids.tolist()), await self._keys([0]), budget, stops)
        made = await self._ask(question)
        count = await self._first(made.tokens, stops)
        if count is not None:
            text = up_to_stop(await self._text(made.tokens[:count]), stops)
            return Written(text, len(tokens.ids), count, "stop", tokens.cut)
        finish: Ending = "budget" if made.full else "eos"
        text = await self._unstopped(made)
        return Written(text, len(tokens.ids), len(made.tokens), finish, tokens.cut)

    async def _wire_prompt(self, ids: list[int]) -> list[int] | str:
        """A prompt as the server takes it: ids, or their text, to which it adds what stands before every text."""
        return ids if self._wire.takes_ids else await self.tokenizing.decode(ids[await self.tokenizing.start() :])

    @property
    def _wire(self) -> Wire:
        return WIRES[self.served.kind]

    async def _keys(self, ids: Sequence[int]) -> list[Token]:
        """How the server names tokens: by their ids, or by their texts."""
        return [number if self._wire.takes_ids else await self.tokenizing.decode([number]) for number in ids]

    async def _labels(self, prompt: list[int] | str, ids: Sequence[int], seen: Step | None = None) -> tuple[float, ...]:
        """The labels' log-probabilities at the end of a prompt.

        Args:
            prompt: the prompt.
            ids: the label tokens.
            seen: what the server already said there.

        Returns:
            One for each.
        """
        keys = await self._keys(ids)
        question = Question(prompt, keys)
        if seen is None:
            seen = (await self._ask(question, with_steps=True)).steps[0]
        values = []
        for number, key in zip(ids, keys, strict=True):
            value = seen.get(key)
            if value is None:
                forced = await self._ask(replace(question, force=number), with_steps=True)
                value = forced_logprob(key, seen, forced.steps[0])
            if value is None:
                raise EngineError(
                    f"{self.connection.url}: gives no log-probability of the label {key!r}, not even when it is forced "
                    "by logit_bias; use a server of vLLM, SGLang, or llama.cpp, or the local engine"
                )
            values.append(value)
        return tuple(values)

    async def _think(self, prompt: list[int] | str, ids: Sequence[int], stops: Sequence[str], budget: int) -> Thought:
        """Let the model think."""
        made = await self._ask(Question(prompt, await self._keys(ids), budget, stops))
        count = await self._first(made.tokens, stops)
        if count is None:
            text = (await self._unstopped(made)).strip()
            return Thought(text, len(made.tokens), "budget" if made.full else "eos", None)
        before = made.tokens[: count - 1]
        if isinstance(prompt, str):
            place: list[int] | str = prompt + "".join(map(str, before))
        else:
            place = [*prompt, *map(int, before)]
        seen = made.steps[count - 1] if len(made.steps) >= count else None
        logprobs = await self._labels(place, ids, seen)
        return Thought(before_stop(await self._text(made.tokens[:count]), stops), count, "verdict", logprobs)

    async def _first(self, tokens: Sequence[Token], stops: Sequence[str]) -> int | None:
        """The number of tokens after which the text contains a stop string, or None."""
        low, high = 0, len(tokens)
        if not _contains(await self._text(tokens), stops):
            return None
        middle = high - 1  # where the server stops, the last token completes it
        while high - low > 1:  # `low` tokens do not contain one, `high` do
            if _contains(await self._text(tokens[:middle]), stops):
                high = middle
            else:
                low = middle
            middle = (low + high) // 2
        return high

    async def _unstopped(self, made: Generated) -> str:
        """A text without a stop string.

        The token that ends a text is no part of it. Servers that know tokens by their texts leave it out.
        """
        return await self._text(made.tokens[:-1] if self._wire.takes_ids and not made.full else made.tokens)

    async def _text(self, tokens: Sequence[Token]) -> str:
        if self._wire.takes_ids:
            return await self.tokenizing.decode([int(token) for token in tokens]) if tokens else ""
        return "".join(map(str, tokens))

    async def _ask(self, question: Question, *, with_steps: bool = False) -> Generated:
        """Ask, and check that the answer is that of the model, to the whole prompt."""
        path, body = self._wire.request(self.served, question)

        def check(answer: Any) -> Generated:
            made = self._wire.answer(answer)
            self._check_model(answer)
            if with_steps and not made.steps:
                raise Fault("an answer without log-probabilities")
            if isinstance(question.prompt, list) and made.prompt_tokens != len(question.prompt):
                raise EngineError(
                    f"{self.connection.url}: read {made.prompt_tokens} tokens of a prompt that has "
                    f"{len(question.prompt)}; it cuts prompts, or adds tokens to them"
                )
            return made

        return await self.connection.post(path, body, check)

    def _check_model(self, answer: Any) -> None:
        """Check the model's name in an answer. Some servers add a version to it.

        Raises:
            EngineError: it is another model's.
        """
        name = answer.get("model")
        if name is not None and not str(name).startswith(self.served.model):
            raise EngineError(
                f"{self.connection.url}: {name} answered, but {self.served.model} was asked; check what stands between"
            )


def _contains(text: str, stops: Sequence[str]) -> bool:
    return any(stop in text for stop in stops)


def forced_logprob(label: Token, seen: Step, forced: Step) -> float | None:
    """The log-probability of a label that the model would hardly say, from an answer in which it was forced.

    Some servers give log-probabilities from before a bias (llama.cpp, vLLM), others from after it (OpenAI). A token
    that both answers have shows which: with a bias b on the label, log p'(token) = log p(token) - log Z for all others,
    and log p'(label) = log p(label) + b - log Z.

    Args:
        label: the label.
        seen: what the server said at this place before.
        forced: what it said when the label was forced.

    Returns:
        The log-probability without a bias, or None if that cannot be known.
    """
    common = [token for token in seen if token in forced and token != label]
    if label not in forced or not common:
        return None
    likeliest = max(common, key=lambda token: seen[token])
    shift = seen[likeliest] - forced[likeliest]  # log Z
    value = forced[label] if abs(shift) < 1 else forced[label] - BIAS + shift
    return value if value <= max(seen.values()) + 0.05 else None  # else it would have been among the likeliest
