"""What tokens cost: a table that users may replace (``prices.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from limrank_ir.errors import InputError
from limrank_ir.settings import read_yaml


class Usage(NamedTuple):
    """Tokens of an answer: of the prompt, of the response with its thought, and how many of the prompt were cached."""

    prompt: int
    response: int
    cached: int


def usage(answer: Mapping[str, Any]) -> Usage:
    """The tokens that an answer says it took; 0 where it does not say."""
    found = answer.get("usage") or {}
    details = found.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or found.get("prompt_cache_hit_tokens") or 0
    return Usage(int(found.get("prompt_tokens") or 0), int(found.get("completion_tokens") or 0), int(cached))


class Prices:
    """Prices by model."""

    def __init__(self, table: Mapping[str, tuple[float, float, float]]) -> None:
        """Take a table.

        Args:
            table: model to dollars for a million tokens: of prompts, responses, cached prompts.
        """
        self._table = table

    def of(self, model: str) -> tuple[float, float, float] | None:
        """The price of a model: its own, or that of the longest name that its own begins with; None: unknown."""
        names = [name for name in self._table if model == name or model.startswith(f"{name}-")]
        return self._table[max(names, key=len)] if names else None

    def cost(self, model: str, answer: Mapping[str, Any]) -> float | None:
        """What an answer cost in dollars; None: the model has no price."""
        price = self.of(model)
        if price is None:
            return None
        tokens = usage(answer)
        fresh = tokens.prompt - tokens.cached
        whole = (fresh * price[0] + tokens.response * price[1] + tokens.cached * price[2]) / 1e6
        return whole * (0.5 if answer.get("limrank_batch") else 1.0)


def read_prices(path: Path | None = None) -> Prices:
    """Read a table.

    Args:
        path: a YAML file in the layout of the package's own; None: the package's own.

    Raises:
        InputError: the file cannot be read, or a price is no list of 2 or 3 numbers.
    """
    place = path or Path(str(files(__package__) / "prices.yaml"))
    raw = read_yaml(place)
    table: dict[str, tuple[float, float, float]] = {}
    for model, price in (raw if isinstance(raw, dict) else {"": None}).items():
        numbers = [each for each in price if isinstance(each, (int, float))] if isinstance(price, list) else []
        if len(numbers) not in (2, 3) or numbers != price or min(numbers) < 0:
            raise InputError(f"{place}: {model}: must be [input, output] or [input, output, cached], in dollars")
        table[str(model)] = (float(numbers[0]), float(numbers[1]), float(numbers[2 if len(numbers) == 3 else 0]))
    return Prices(table)
