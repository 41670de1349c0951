"""What tokens cost: a table that users can replace (``prices.yaml``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.llm.answers import usage
from limrank_ir.workshop.settings import read_yaml

_LAYOUT = "MODEL: [input, output] or MODEL: [input, output, cached input], in dollars per million tokens"


class Prices:
    """Prices of models."""

    def __init__(self, table: Mapping[str, tuple[float, float, float]]) -> None:
        """Take a table.

        Args:
            table: model to dollars per million tokens of prompts, responses, and cached prompts.
        """
        self._table = table

    def of(self, model: str) -> tuple[float, float, float] | None:
        """The price of a model, or of the longest listed name that its name starts with; None: unknown."""
        names = [name for name in self._table if model == name or model.startswith(f"{name}-")]
        return self._table[max(names, key=len)] if names else None

    def cost(self, model: str, answer: Mapping[str, Any]) -> float | None:
        """The cost of an answer in dollars; None: the model has no price, or the answer does not report tokens."""
        price, tokens = self.of(model), usage(answer)
        if price is None or not tokens.known:
            return None
        fresh = tokens.prompt - tokens.cached
        full = (fresh * price[0] + tokens.response * price[1] + tokens.cached * price[2]) / 1e6
        return full * (0.5 if answer.get("limrank_batch") else 1.0)


@dataclass(frozen=True)
class Cost:
    """What a model cost. Dollars are None if it has no price, or if an answer does not report its tokens."""

    model: str
    answers: int
    prompt_tokens: int
    response_tokens: int
    dollars: float | None


def costs(answered: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], prices: Prices) -> list[Cost]:
    """Sum up answers, model by model.

    Args:
        answered: (request, answer) pairs, such as a journal; read one by one.
        prices: what tokens cost.
    """
    found: dict[str, Cost] = {}
    for body, answer in answered:
        model, tokens = body["model"], usage(answer)
        dollars, before = prices.cost(model, answer), found.get(model, Cost(model, 0, 0, 0, 0.0))
        found[model] = Cost(
            model,
            before.answers + 1,
            before.prompt_tokens + tokens.prompt,
            before.response_tokens + tokens.response,
            None if dollars is None or before.dollars is None else before.dollars + dollars,
        )
    return [found[model] for model in sorted(found)]


def read_prices(path: Path | None = None) -> Prices:
    """Read a table.

    Args:
        path: a YAML file in the layout of the package's ``prices.yaml``; None: that file.

    Raises:
        InputError: the file cannot be read, or some prices are not lists of 2 or 3 numbers; all of them are named.
    """
    place = path or Path(str(files(__package__) / "prices.yaml"))
    raw = read_yaml(place)
    if not isinstance(raw, dict) or not raw:
        raise InputError(f"{place}: no prices; write a line for each model: {_LAYOUT}")
    if wrong := [str(model) for model, price in raw.items() if not _is_price(price)]:
        raise InputError(f"{place}: {', '.join(wrong)}: not a price; write {_LAYOUT}")
    return Prices(
        {
            str(model): (float(price[0]), float(price[1]), float(price[-1 if len(price) == 3 else 0]))
            for model, price in raw.items()
        }
    )


def _is_price(price: object) -> bool:
    return (
        isinstance(price, list)
        and len(price) in (2, 3)
        and all(
            isinstance(each, (int, float)) and not isinstance(each, bool) and math.isfinite(each) and each >= 0
            for each in price
        )
    )
