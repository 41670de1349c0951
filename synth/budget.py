"""Money: what all answers cost, and what the requests in flight can still cost, which ``--max-cost`` counts as well."""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from limrank_ir.llm.answers import usage

from .prices import Prices

ASSUMED = 4096
"""The tokens of a response without ``max_tokens``, until a longer one arrives."""
_BYTES_PER_TOKEN = 3  # few, on purpose: English has about 4, and Chinese about 3
_LIMITS = ("max_tokens", "max_completion_tokens")


class Budget:
    """Reserves the price of a request before it is sent, and replaces it with the true cost when the answer arrives."""

    def __init__(self, limit: float | None, prices: Prices) -> None:
        """Start with nothing spent.

        Args:
            limit: the maximum cost, or None.
            prices: what tokens cost.
        """
        self.limit = limit
        self.spent = 0.0
        self.tokens = 0
        self._prices = prices
        self._reserved: dict[str, float] = {}
        self._freed = asyncio.Event()
        self._longest: defaultdict[str, int] = defaultdict(int)

    @property
    def pending(self) -> bool:
        """Whether requests with a reservation are in flight."""
        return bool(self._reserved)

    def price(self, body: Mapping[str, Any]) -> float:
        """The most that a request should cost, in dollars; 0 if the model has no price.

        Args:
            body: the request. Its prompt is taken to have a token per 3 bytes, and its response ``max_tokens``;
                without that, `ASSUMED` tokens, or as many as the model's longest response.
        """
        text = json.dumps([body["messages"], body.get("response_format")], ensure_ascii=False)
        prompt = math.ceil(len(text.encode("utf-8", "surrogatepass")) / _BYTES_PER_TOKEN)
        stated = [body[name] for name in _LIMITS if isinstance(body.get(name), int)]
        response = max(min(stated, default=ASSUMED), self._longest[body["model"]])
        tokens = {"prompt_tokens": prompt, "completion_tokens": response}
        return self._prices.cost(body["model"], {"usage": tokens}) or 0.0

    def reserve(self, name: str, body: Mapping[str, Any]) -> bool:
        """Reserve the price of a request, unless it might break the limit together with all that is reserved.

        Args:
            name: names the reservation.
            body: the request.
        """
        if self.limit is None:
            return True
        price = self.price(body)
        if self.spent + sum(self._reserved.values()) + price > self.limit:
            return False
        self._reserved[name] = price
        return True

    def release(self, name: str) -> None:
        """End a reservation."""
        self._reserved.pop(name, None)
        self._freed.set()

    async def released(self) -> None:
        """Wait until a reservation ends."""
        self._freed.clear()
        await self._freed.wait()

    def count(self, model: str, answer: Mapping[str, Any]) -> bool:
        """Add up an answer's tokens and cost.

        Args:
            model: the model's name.
            answer: the answer.

        Returns:
            Whether the answer reports its tokens.
        """
        tokens = usage(answer)
        self.spent += self._prices.cost(model, answer) or 0.0
        self.tokens += tokens.prompt + tokens.response
        self._longest[model] = max(self._longest[model], tokens.response)
        return tokens.known
