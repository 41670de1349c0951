"""Grades that stand at two places of an answer, read by any engine: one reading after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from limrank_ir.engines import Engine, Label
from limrank_ir.errors import EngineError
from limrank_ir.prompts import Prompt, PromptFormat
from limrank_ir.prompts.two_reads import TwoReads
from limrank_ir.verdict import Reading


@dataclass(frozen=True)
class TwiceEngine:
    """An engine that reads the grades of a format with `PromptFormat.two_reads`.

    Attributes:
        engine: the engine that runs the model.
        fmt: the format.
        reads: its two reads.
    """

    engine: Engine
    fmt: PromptFormat
    reads: TwoReads

    @property
    def plain(self) -> Engine:
        """The engine that runs the model, which reads any labels and may write."""
        return self.engine

    @property
    def identity(self) -> str:
        """The engine's."""
        return self.engine.identity

    @property
    def tokens(self) -> int:
        """The engine's, if it counts them."""
        engine: Any = self.engine
        return engine.tokens

    def read_labels(
        self,
        prompts: Sequence[Prompt],
        labels: Sequence[Label],
        *,
        think: bool,
        budget: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Reading]]]:
        """Read the format's grades (see `limrank_ir.engines.Engine.read_labels`).

        Args:
            prompts: the rendered prompts.
            labels: the format's grades.
            think: whether the model reasons before the first place.
            budget: the maximum number of tokens of a thought.
            done: indices of prompts to skip.

        Yields:
            Batches of (index of the prompt, the reading of all grades).
        """
        for batch in self.engine.read_labels(prompts, self.reads.first, think=think, budget=budget, done=done):
            first = {index: _logprobs(reading) for index, reading in batch}
            texts = {index: self.reads.between(logprobs) for index, logprobs in first.items()}
            follow = [(index, text, reading) for index, reading in batch if (text := texts[index]) is not None]
            places = [self._place(prompts[index], reading, text) for index, text, reading in follow]
            second: dict[int, tuple[float, ...]] = {}
            for part in self.engine.read_labels(places, self.reads.second, think=False, budget=1) if places else ():
                second |= {follow[place][0]: _logprobs(reading) for place, reading in part}
            if missing := [index for index, _, _ in follow if index not in second]:
                raise EngineError(f"{self.engine!r} gave no second reading for {len(missing)} of {len(follow)} prompts")
            yield [
                (
                    index,
                    replace(
                        reading,
                        reasoning=self._thought(reading),
                        logprobs=self.reads.combine(first[index], second.get(index)),
                        logits=None,
                    ),
                )
                for index, reading in batch
            ]

    def _thought(self, reading: Reading) -> str | None:
        """The thought without the text that ends it, if the model wrote that before `end_of_thought`."""
        return None if reading.reasoning is None else reading.reasoning.removesuffix(self.fmt.closing).strip()

    def _place(self, prompt: Prompt, reading: Reading, text: str) -> Prompt:
        """The prompt up to the second place. A thought stands in it as it was, but for white space around it."""
        thought = self._thought(reading)
        if thought is not None:
            text = f"\n{thought}\n{self.fmt.closing}{self.fmt.end_of_thought}{text}"
        return replace(prompt, suffix=prompt.suffix + text)


def plain(engine: Engine) -> Engine:
    """The engine that reads the labels it is given, of those that read a format's own grades at two places."""
    chosen: Engine = getattr(engine, "plain", engine)
    return chosen


def _logprobs(reading: Reading) -> tuple[float, ...]:
    """The log-probabilities of the labels.

    Raises:
        EngineError: the engine knows logits alone, of which the parts of two readings cannot be multiplied.
    """
    if reading.logprobs is None:
        raise EngineError("the engine gave no log-probabilities, which grades at two places are made of")
    return reading.logprobs
