"""Greedy generation for a batch: thoughts and answers. Each row ends at its own stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from limrank_ir.engines.loading import LabelScores, Loaded
from limrank_ir.engines.packed import Layer, Packing
from limrank_ir.engines.thoughts import up_to_stop
from limrank_ir.verdict import Ending

COLUMNS = 64  # the space for generated tokens grows in steps of this many
TAIL = 16  # the last tokens, in which a stop string is searched, at least: more than any "</think> true" has


@dataclass(frozen=True, slots=True)
class Generated:
    """What one row generated.

    Attributes:
        text: its text, up to the end of the stop string if it has one.
        tokens: the number of generated tokens, with the one that ends a text.
        finish: how it ended.
        scores: what the model says of the labels at the last token of the stop string; None if there is none, or no
            labels were asked for.
    """

    text: str
    tokens: int
    finish: Ending
    scores: LabelScores | None


class _Decoding:
    """The layout of a decoding step: one new token per row, after the row's own keys and values.

    All rows write to the same column. The gaps that this leaves in shorter rows are masked. Positions are already
    applied to the keys.
    """

    def __init__(self, packing: Packing) -> None:
        self._layers = packing.padded()
        self._key_positions = packing.key_positions()  # [rows, columns], -1 where a row has no key
        self._next_position = packing.lengths()  # [rows]
        self._masks: dict[int | None, torch.Tensor] = {}  # by window, for one step

    def advance(self) -> torch.Tensor:
        """Make room for one more token in each row.

        Returns:
            The tokens' positions, ``[1, rows]``.
        """
        positions = self._next_position[None]
        self._key_positions = torch.cat([self._key_positions, self._next_position[:, None]], dim=1)
        self._next_position = self._next_position + 1
        used = self._key_positions.shape[1]
        for layer, (keys, values) in self._layers.items():
            if keys.shape[2] < used:
                rows, heads, _, size = keys.shape
                more = keys.new_zeros(rows, heads, COLUMNS, size)
                self._layers[layer] = torch.cat([keys, more], dim=2), torch.cat([values, more], dim=2)
        self._masks = {}
        return positions

    def attend(self, layer: Layer) -> torch.Tensor:
        """The attention of one layer, as in `Packing.attend`, with one token per row."""
        keys, values = self._layers[layer.index]
        used = self._key_positions.shape[1]
        rows, heads, _, size = keys.shape
        keys[:, :, used - 1] = layer.key[0].transpose(0, 1)
        values[:, :, used - 1] = layer.value[0].transpose(0, 1)
        # Query heads that share a key head become its queries, so that keys and values are not repeated.
        grouped = layer.query[0].transpose(0, 1).reshape(rows, heads, -1, size)
        out = scaled_dot_product_attention(
            grouped,
            keys[:, :, :used],
            values[:, :, :used],
            attn_mask=self._mask(layer.window, layer.query.dtype),
            scale=layer.scaling,
        )
        return out.reshape(1, rows, -1, size)

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """The additive mask of this step, ``[rows, 1, 1, columns]``."""
        if window not in self._masks:
            seen = self._key_positions >= 0
            if window is not None:
                seen &= self._next_position[:, None] - 1 - self._key_positions < window
            mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self._masks[window] = mask.masked_fill_(~seen, float("-inf"))[:, None, None]
        return self._masks[window]

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows except these."""
        self._key_positions = self._key_positions[rows]
        self._next_position = self._next_position[rows]
        for layer, (keys, values) in self._layers.items():
            self._layers[layer] = keys[rows], values[rows]


@torch.inference_mode()
def generate(
    loaded: Loaded,
    hidden: torch.Tensor,
    packing: Packing,
    stops: Sequence[str],
    budget: int,
    count: Callable[[int], None],
    *,
    label_tokens: Sequence[int] = (),
) -> list[Generated]:
    """Continue each prompt of a batch, greedily.

    A row ends when its text contains a stop string (``</think> true``), when the model ends its text, or when the
    budget is used up, as in the released code (rank1.py). The labels' log-probabilities are those of the step that
    completed the stop string.

    Args:
        loaded: the model.
        hidden: the last hidden state of each prompt, ``[rows, hidden size]``.
        packing: the prompts' layout, run with ``keep=True``.
        stops: the strings that end a text.
        budget: the maximum number of tokens of a text.
        count: called with the number of tokens generated since its last call.
        label_tokens: labels to read where a stop string ends.

    Returns:
        One text for each row, in order.
    """
    decoding = _Decoding(packing)
    tokenizer = loaded.tokenizer
    tail = max([TAIL, *(len(stop.encode()) for stop in stops)])  # a token has one byte at least
    done: list[Generated | None] = [None] * len(hidden)
    texts: list[list[int]] = [[] for _ in done]
    rows = list(range(len(done)))  # the rows that are still in the batch; `line` is a place in this list
    for spent in range(1, budget + 1):
        logits = loaded.logits(hidden)
        chosen = logits.argmax(dim=-1)
        for line, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            if done[row] is not None:
                continue
            if token in loaded.ends:
                done[row] = Generated(tokenizer.decode(texts[row]), spent, "eos", None)
                continue
            texts[row].append(token)
            if stops and any(stop in tokenizer.decode(texts[row][-tail:]) for stop in stops):
                text = up_to_stop(tokenizer.decode(texts[row]), stops)
                scores = loaded.read(hidden[line, None], label_tokens, logits[line, None])[0] if label_tokens else None
                done[row] = Generated(text, spent, "stop", scores)
            elif spent == budget:
                done[row] = Generated(tokenizer.decode(texts[row]), spent, "budget", None)
        count(len(rows))
        unfinished = [line for line, row in enumerate(rows) if done[row] is None]
        if not unfinished:
            break
        # Dropping rows copies all keys and values, so wait until an eighth of the rows are finished.
        if len(rows) - len(unfinished) >= max(1, len(rows) // 8):
            kept = torch.tensor(unfinished, device=hidden.device)
            decoding.keep(kept)
            chosen, rows = chosen[kept], [rows[line] for line in unfinished]
        positions = decoding.advance()
        out = loaded.model.get_decoder()(
            input_ids=chosen[None], position_ids=positions, use_cache=False, packing=decoding
        )
        hidden = out.last_hidden_state[0]
    return [generated for generated in done if generated is not None]
