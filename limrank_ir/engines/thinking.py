"""Greedy generation of thoughts for a batch, which ends each row at its verdict."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from limrank_ir.engines.loading import Loaded
from limrank_ir.engines.packed import Layer, Packing
from limrank_ir.verdict import Finish

COLUMNS = 64  # room for generated tokens grows by this much at a time
TAIL = 16  # tokens in which a stop string is looked for: longer than any "</think> true"


@dataclass(slots=True)
class Thought:
    """What one row generated.

    Attributes:
        text: the thought, without the stop string.
        tokens: tokens generated.
        finish: how it ended.
        log_odds: at the label position when the model came to a verdict, else None.
    """

    text: str
    tokens: int
    finish: Finish
    log_odds: float | None


class _Decoding:
    """The layout of one decoding step: one new token a row, after the row's own keys and values.

    All rows write into the same column. Gaps in front of shorter rows are masked; positions are already in the keys.
    """

    def __init__(self, packing: Packing) -> None:
        self._layers = packing.padded()
        self._depth = packing.key_positions()  # [rows, columns], -1 where a row has no key
        self.position = packing.lengths()  # [rows]: the position of each row's next token

    def advance(self) -> torch.Tensor:
        """Make room for one more token a row; returns its positions ``[1, rows]``."""
        self._depth = torch.cat([self._depth, self.position[:, None]], dim=1)
        positions = self.position[None]
        self.position = self.position + 1
        used = self._depth.shape[1]
        for layer, (keys, values) in self._layers.items():
            if keys.shape[2] < used:
                rows, heads, _, size = keys.shape
                more = keys.new_zeros(rows, heads, COLUMNS, size)
                self._layers[layer] = torch.cat([keys, more], dim=2), torch.cat([values, more], dim=2)
        self._masks: dict[int | None, torch.Tensor] = {}
        return positions

    def attend(self, layer: Layer) -> torch.Tensor:
        """Attention of one layer, as `Packing.attend`, with one token a row."""
        query, key, value, window = layer.query, layer.key, layer.value, layer.window
        keys, values = self._layers[layer.index]
        used = self._depth.shape[1]
        rows, heads, _, size = keys.shape
        keys[:, :, used - 1] = key[0].transpose(0, 1)
        values[:, :, used - 1] = value[0].transpose(0, 1)
        if window not in self._masks:
            seen = self._depth >= 0
            if window is not None:
                seen &= self.position[:, None] - 1 - self._depth < window
            mask = torch.zeros(seen.shape, dtype=query.dtype, device=query.device)
            self._masks[window] = mask.masked_fill_(~seen, float("-inf"))[:, None, None]
        # Query heads that share a key head stand as its queries, so the cache is not repeated.
        grouped = query[0].transpose(0, 1).reshape(rows, heads, -1, size)
        out = scaled_dot_product_attention(
            grouped, keys[:, :, :used], values[:, :, :used], attn_mask=self._masks[window], scale=layer.scaling
        )
        return out.reshape(1, rows, -1, size)

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these."""
        self._depth, self.position = self._depth[rows], self.position[rows]
        for layer, (keys, values) in self._layers.items():
            self._layers[layer] = keys[rows], values[rows]


@torch.inference_mode()
def generate(loaded: Loaded, hidden: torch.Tensor, packing: Packing, budget: int) -> list[Thought]:
    """Think about each prompt of a batch, greedily.

    A row ends when its text holds a stop string (``</think> true``), when the model ends its text, or when the budget
    is spent, as in the released code's rank1.py. The verdict's log-odds are those of the step that completed the
    stop string.

    Args:
        loaded: the model.
        hidden: the last hidden state of each prompt, ``[rows, hidden size]``.
        packing: the prompts' layout, run with ``keep=True``.
        budget: the most tokens of a thought.

    Returns:
        One thought a row, in order.
    """
    decoding = _Decoding(packing)
    tokenizer, stops = loaded.tokenizer, loaded.fmt.stops
    thoughts: list[Thought | None] = [None] * len(hidden)
    texts: list[list[int]] = [[] for _ in thoughts]
    rows = list(range(len(thoughts)))  # the row of each line that is still in the batch
    for spent in range(1, budget + 1):
        chosen = loaded.logits(hidden).argmax(dim=-1)
        log_odds = loaded.log_odds(hidden)
        for line, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            if thoughts[row] is not None:
                continue
            if token in loaded.ends:
                thoughts[row] = Thought(tokenizer.decode(texts[row]).strip(), spent, "eos", None)
                continue
            texts[row].append(token)
            tail = tokenizer.decode(texts[row][-TAIL:])
            if any(stop in tail for stop in stops):
                text = tokenizer.decode(texts[row])
                end = min(place for stop in stops if (place := text.find(stop)) >= 0)
                thoughts[row] = Thought(text[:end].strip(), spent, "verdict", log_odds[line])
            elif spent == budget:
                thoughts[row] = Thought(tokenizer.decode(texts[row]).strip(), spent, "budget", None)
        going = [line for line, row in enumerate(rows) if thoughts[row] is None]
        if not going:
            break
        # Dropping rows copies the cache, so it waits until an eighth of them are done.
        if len(rows) - len(going) >= max(1, len(rows) // 8):
            kept = torch.tensor(going, device=hidden.device)
            decoding.keep(kept)
            chosen, rows = chosen[kept], [rows[line] for line in going]
        positions = decoding.advance()
        out = loaded.model.get_decoder()(
            input_ids=chosen[None], position_ids=positions, use_cache=False, packing=decoding
        )
        hidden = out.last_hidden_state[0]
    return [thought for thought in thoughts if thought is not None]
