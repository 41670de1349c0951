"""What a run will cost: tokens, counted with the model's tokenizer, times rates. Whatever is not known is a range."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from limrank_ir.engines.batching import shared_length, waves
from limrank_ir.engines.formats import model_format
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.errors import InputError
from limrank_ir.models import Model
from limrank_ir.prompts import Prompt
from limrank_ir.weights import locate

MODES = ("never", "auto", "always")


class Range(NamedTuple):
    """A number that is only known to lie between two others."""

    low: float
    high: float


SCALES = 8.0  # rates are scaled to models up to this many times larger or smaller
THOUGHT = Range(150, 600)
"""Tokens of a thought. Assumed: we know no public figure for the released models."""
AUTO = Range(5, 15)
"""Passages of a query that ``think="auto"`` thinks about: at most the ten best, and those near the cut. Assumed."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast one machine is.

    Attributes:
        name: its name in ``rates.toml``.
        engine: the engine.
        hardware: the machine.
        billions: the parameters of the model that the rates hold for, in billions.
        read: prompt tokens per second.
        generate: tokens of thoughts per second.
        source: where the rates are from.
    """

    name: str
    engine: str
    hardware: str
    billions: float
    read: Range
    generate: Range
    source: str

    def holds(self, billions: float | None) -> bool:
        """Whether a model is so near in size that rates can be scaled to it: what is not work per token grows else."""
        return billions is not None and 1 / SCALES <= billions / self.billions <= SCALES

    def scaled(self, billions: float) -> Rate:
        """The rate for a model of another size: the work of a token grows with the parameters."""
        factor = self.billions / billions
        read, generate = (Range(*(factor * value for value in rate)) for rate in (self.read, self.generate))
        return replace(self, billions=billions, read=read, generate=generate)


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do.

    Attributes:
        queries: the number of different queries.
        pairs: the number of different pairs.
        prompt_tokens: tokens of all prompts.
        read_tokens: the tokens that an engine runs, as the passages of a query share its prefix.
        cut: passages that are cut to fit.
    """

    queries: int
    pairs: int
    prompt_tokens: int
    read_tokens: int
    cut: int


def known_rates() -> dict[str, Rate]:
    """The rates in ``rates.toml``, by name."""
    text = Path(__file__).with_name("rates.toml").read_text(encoding="utf-8")
    return {
        name: Rate(name, **{**entry, "read": Range(*entry["read"]), "generate": Range(*entry["generate"])})
        for name, entry in tomllib.loads(text).items()
    }


def tokenizer_of(model: Model, like: Model) -> PromptTokenizer:
    """The tokenizer of a model, without its weights.

    Args:
        model: the model, whose prompt format is used.
        like: the model whose tokenizer is used: the same, or one whose files are here.

    Returns:
        The tokenizer.

    Raises:
        InputError: its files are not available.
    """
    from transformers import AutoTokenizer

    folder = locate(like.weights, settings_only=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: has no tokenizer that can be read ({reason}); check the files") from error
    return PromptTokenizer(tokenizer, model_format(model))


def count(
    prompts: Sequence[Prompt], tokenizer: PromptTokenizer, limit: int, progress: Callable[[int], None] | None = None
) -> Work:
    """Count the tokens of prompts in the way in which the engines run them.

    Args:
        prompts: different prompts.
        tokenizer: the model's tokenizer.
        limit: the maximum number of tokens in a prompt; longer passages are cut.
        progress: called with the number of prompts counted since its last call.

    Returns:
        The work.

    Raises:
        InputError: a query leaves no room for a passage.
    """
    total = read = cut = 0
    queries = set()
    for wave in waves(dict(enumerate(prompts))):
        for group in wave:
            queries.add(prompts[group[0]].prefix)
            encoded = tokenizer.encode([prompts[index] for index in group], limit)
            tokens = sum(len(one.ids) for one in encoded)
            total += tokens
            read += tokens - (len(group) - 1) * shared_length([one.ids for one in encoded])
            cut += sum(one.cut > 0 for one in encoded)
            if progress is not None:
                progress(len(group))
    return Work(len(queries), len(prompts), total, read, cut)


def seconds(work: Work, mode: str, rate: Rate, thought: Range, auto: Range = AUTO) -> Range:
    """How long a machine needs.

    Args:
        work: what there is to do.
        mode: one of `MODES`. For auto, all pairs are read without thinking, and some again.
        rate: the machine's rate for this model.
        thought: the tokens of a thought.
        auto: the passages of a query that auto thinks about.

    Returns:
        Seconds at least and at most.
    """
    every = Range(*(min(1.0, number * work.queries / work.pairs) for number in auto))
    share = {"never": Range(0, 0), "auto": every, "always": Range(1, 1)}[mode]
    times = []
    for end in (0, 1):  # the least work at the highest rate, then the most at the lowest
        again = share[end] if mode == "auto" else 0
        reading = work.read_tokens * (1 + again) / rate.read[1 - end]
        times.append(reading + share[end] * work.pairs * thought[end] / rate.generate[1 - end])
    return Range(*times)
