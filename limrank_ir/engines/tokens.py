"""Turn prompts into token ids. Text from users is always read as plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from limrank_ir.engines.cutting import shares
from limrank_ir.errors import InputError
from limrank_ir.prompts import Label, Prompt, PromptFormat
from limrank_ir.prompts.format import Span

NEAR = 16  # characters before a label, which decide how it is tokenized


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token ids of one prompt.

    Attributes:
        ids: int32 array.
        cut: the number of tokens cut from the ends of passages; 0 if they are complete.
        kept: the number of characters of each passage that were kept, or None: all.
    """

    ids: np.ndarray
    cut: int
    kept: tuple[int, ...] | None = None

    def shown(self, prompt: Prompt) -> Prompt:
        """The prompt as it was encoded, without what was cut: what follows a thought must not see more than it did."""
        return prompt if self.kept is None else prompt.cut(self.kept)


class PromptTokenizer:
    """Encodes prompts of one format with one model's tokenizer.

    As in the released code, the ids are those of the whole text tokenized at once, with one difference: control tokens
    (``<|im_end|>``, and ``<think>`` if it is a token) are recognized only in the text that comes from the format. In a
    query or a passage, the same characters are plain text.
    """

    def __init__(self, tokenizer: Any, fmt: PromptFormat) -> None:
        """Prepare a tokenizer.

        Args:
            tokenizer: a fast tokenizer from transformers.
            fmt: the prompt format.

        Raises:
            InputError: the tokenizer is not a fast one, or both labels begin with the same token.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError("this model has no fast tokenizer (tokenizer.json); convert it with transformers first")
        self._controls = {token.content: number for number, token in backend.get_added_tokens_decoder().items()}
        # The same tokenizer without its added tokens, which reads "<|im_end|>" as ten ordinary characters.
        self._plain = Tokenizer(backend.model)
        for part in ("normalizer", "pre_tokenizer", "decoder"):
            if getattr(backend, part) is not None:
                setattr(self._plain, part, getattr(backend, part))
        found = "|".join(re.escape(token) for token in sorted(self._controls, key=len, reverse=True))
        self._control = re.compile(f"({found})" if found else r"(?!)()")
        self._start = start_ids(tokenizer) if fmt.start else []
        self._format = fmt
        labels = fmt.labels if fmt.two_reads is None else fmt.two_reads.first
        self.label_ids = self.label_tokens(labels, fmt.render("query", "passage").ending)

    def first_tokens(self, labels: Sequence[Label], before: str) -> list[int]:
        """The tokens with which a model begins labels.

        A label is tokenized behind the text that it follows: alone, a SentencePiece tokenizer would put a space before
        it, as at the beginning of a text. If the tokenizer joins the two, the label follows a line break, which none
        joins with letters or digits.

        Args:
            labels: their texts, of which the first token counts, or token ids.
            before: the end of the prompt, from the format.

        Returns:
            One token id for each.
        """
        near = self._control.split(before)[-1][-NEAR:]
        return [label if isinstance(label, int) else self._first_token(label, near) for label in labels]

    def _first_token(self, label: str, near: str) -> int:
        for before in (near, "\n") if near else ():
            number = next_token(self._plain_ids(before), self._plain_ids(before + label))
            if number is not None:
                return number
        return self._plain_ids(label)[0]

    def _plain_ids(self, text: str) -> list[int]:
        return self._plain.encode(text, add_special_tokens=False).ids

    def label_tokens(self, labels: Sequence[Label], before: str = "") -> list[int]:
        """The token of each label.

        Args:
            labels: their texts, such as ``" true"``, of which the first token counts, or token ids.
            before: the end of the prompt, from the format (`limrank_ir.prompts.Prompt.ending`), or of the thought; "":
                a label begins a text of its own.

        Returns:
            One token id for each, all different.

        Raises:
            InputError: two labels begin with the same token.
        """
        first = self.first_tokens(labels, before)
        if len(set(first)) < len(first):
            raise InputError(
                f"two of the labels {tuple(labels)} begin with the same token; is {self._format.name!r} the right "
                "prompt format?"
            )
        return first

    def encode(self, prompts: list[Prompt], limit: int) -> list[Tokens]:
        """Encode prompts. Passages that are too long are cut.

        Args:
            prompts: the prompts.
            limit: the maximum number of tokens in a prompt. A longer one loses the end of its passage, or of its
                longest ones if there are several.

        Returns:
            The ids of each prompt, in order.

        Raises:
            InputError: a prompt is longer than the limit even without its passage.
        """
        for prompt in {prompt.prefix: prompt for prompt in prompts if len(prompt.prefix) > limit}.values():
            # Find a query that is too long before it is encoded once for each of its passages.
            if len(self._plain.encode(prompt.prefix, add_special_tokens=False).ids) > limit:
                raise no_room(prompt, limit)
        heads = {prompt.prefix: self._head(prompt) for prompt in prompts}
        pieces = [
            self._pieces(
                [
                    *_parts(prompt.passage, prompt.passages),
                    *self._seamed(_parts(prompt.suffix, prompt.suffix_spans)),
                ],
                heads[prompt.prefix],
            )
            for prompt in prompts
        ]
        texts = [piece for row in pieces for piece in row if isinstance(piece, str)]
        encoded = iter(self._plain.encode_batch(texts, add_special_tokens=False))
        tokens = []
        for prompt, row in zip(prompts, pieces, strict=True):
            encodings = [next(encoded) if isinstance(piece, str) else piece for piece in row]
            ids = self._join(encodings)
            if len(ids) > limit and prompt.passage_spans is not None:
                tokens.append(self._cut_several(prompt, len(ids), limit))
            elif len(ids) > limit:
                tokens.append(self._cut(prompt, row, encodings, len(ids), limit))
            else:
                tokens.append(Tokens(np.array(ids, dtype=np.int32), 0))
        return tokens

    def decode(self, ids: list[int]) -> str:
        """Turn generated ids into text. Control tokens appear by name."""
        names = {number: token for token, number in self._controls.items()}
        parts: list[str] = []
        plain: list[int] = []
        for number in ids:
            if number in names:
                parts += [self._plain.decode(plain, skip_special_tokens=False), names[number]]
                plain = []
            else:
                plain.append(number)
        return "".join([*parts, self._plain.decode(plain, skip_special_tokens=False)])

    def encode_text(self, text: str, end: str = "", *, start: bool = False) -> np.ndarray:
        """Encode text that is not a prompt of the format, such as the answer that a model is trained to give.

        Args:
            text: plain text, in which control tokens are not recognized.
            end: the text after it, in which they are: the end of a thought.
            start: begin with the tokens that this tokenizer puts before every text.

        Returns:
            int32 ids.
        """
        row = self._pieces([(text, False), (end, True)], self._start if start else [])
        encodings = [
            self._plain.encode(piece, add_special_tokens=False) if isinstance(piece, str) else piece for piece in row
        ]
        return np.array(self._join(encodings), dtype=np.int32)

    def locate(self, prompt: Prompt) -> tuple[np.ndarray, list[Span]]:
        """Encode a prompt as it is, and say where in its text each token stands.

        Args:
            prompt: the prompt. It is not cut, and a seam is not tokenized on its own.

        Returns:
            int32 ids, and for each of them its characters in `Prompt.text`; none for tokens that are put before a text.
        """
        names = {number: token for token, number in self._controls.items()}
        texts = [
            *_parts(prompt.prefix, prompt.prefix_spans),
            *_parts(prompt.passage, prompt.passages),
            *_parts(prompt.suffix, prompt.suffix_spans),
        ]
        ids, spans, place = [*self._start], [(0, 0)] * len(self._start), 0
        for piece in self._pieces(texts):
            if isinstance(piece, int):
                ids.append(piece)
                spans.append((place, place + len(names[piece])))
                place += len(names[piece])
            else:
                encoding = self._plain.encode(piece, add_special_tokens=False)
                ids += encoding.ids
                spans += [(place + first, place + last) for first, last in encoding.offsets]
                place += len(piece)
        return np.array(ids, dtype=np.int32), spans

    def _head(self, prompt: Prompt) -> list[str | int]:
        """The pieces before the passage."""
        return self._pieces(self._seamed(_parts(prompt.prefix, prompt.prefix_spans)), self._start)

    def _seamed(self, parts: list[tuple[str, bool]]) -> list[tuple[str, bool | None]]:
        """Split off the seam with which the last part begins, if the format has one."""
        text, seam = parts[-1][0], self._format.seam
        if not seam or not text.startswith(seam):
            return [*parts]
        return [*parts[:-1], (seam, None), (text[len(seam) :], True)]

    def _pieces(self, texts: Sequence[tuple[str, bool | None]], start: Sequence[str | int] = ()) -> list[str | int]:
        """Split texts into plain text (str) and tokens (int), and join neighboring pieces of plain text.

        Each text comes with a flag: whether control tokens are recognized in it; None: it is tokenized on its own.
        """
        pieces: list[str | int] = [*start]
        for text, with_controls in texts:
            if with_controls is None:
                pieces += self._plain.encode(text, add_special_tokens=False).ids
                continue
            parts = self._control.split(text) if with_controls else [text]
            for part in parts:
                if with_controls and part in self._controls:
                    pieces.append(self._controls[part])
                elif part and pieces and isinstance(pieces[-1], str):
                    pieces[-1] += part
                elif part:
                    pieces.append(part)
        return pieces

    @staticmethod
    def _join(encodings: list[Encoding | int]) -> list[int]:
        ids: list[int] = []
        for encoding in encodings:
            ids += [encoding] if isinstance(encoding, int) else encoding.ids
        return ids

    def _cut(
        self, prompt: Prompt, row: list[str | int], encodings: list[Encoding | int], total: int, limit: int
    ) -> Tokens:
        """Cut the passage at a token boundary so that the prompt has at most `limit` tokens."""
        head = self._head(prompt)
        start = len(head[-1]) if head and isinstance(head[-1], str) else 0  # of the passage in its piece
        encoding = encodings[len(head) - (start > 0)] if prompt.passage else None
        if not isinstance(encoding, Encoding):
            raise no_room(prompt, limit)
        inside = [first for first, last in encoding.offsets if last > start and first < start + len(prompt.passage)]
        excess = total - limit
        while True:
            # Cutting can change how the last word is tokenized, so count again and cut more if necessary.
            if excess > len(inside):
                raise no_room(prompt, limit)
            keep = max(inside[len(inside) - excess], start) - start
            passage = prompt.passage[:keep].rstrip()
            shorter = self.encode([replace(prompt, passage=passage)], total)[0]
            if len(shorter.ids) <= limit:
                return Tokens(shorter.ids, total - len(shorter.ids), (len(passage),))
            excess += len(shorter.ids) - limit

    def _cut_several(self, prompt: Prompt, total: int, limit: int) -> Tokens:
        """Cut the longest passages, each at a token boundary, so that the prompt has at most `limit` tokens."""
        texts = [prompt.passage[start:end] for start, end in prompt.passages]
        encodings = self._plain.encode_batch(texts, add_special_tokens=False)
        lengths = [len(encoding.ids) for encoding in encodings]
        room = sum(lengths) - (total - limit)
        while room >= sum(length > 0 for length in lengths):  # one token for each, so that it is not read as empty
            kept = tuple(
                encoding.offsets[count - 1][1] if count else 0
                for encoding, count in zip(encodings, shares(lengths, room), strict=True)
            )
            shorter = self.encode([prompt.cut(kept)], total)[0]
            if len(shorter.ids) <= limit:
                return Tokens(shorter.ids, total - len(shorter.ids), kept)
            room -= len(shorter.ids) - limit
        raise no_room(prompt, limit)


def no_room(prompt: Prompt, limit: int) -> InputError:
    """The error for a prompt that is longer than the limit without its passages."""
    several = len(prompt.passages) > 1
    return InputError(
        f"the query and its instruction leave no room for {len(prompt.passages) if several else 'a'} "
        f"passage{'s' * several} within {limit} tokens (query ends "
        f"{(prompt.prefix if prompt.prefix_spans else prompt.suffix)[-60:]!r}); "
        f"{'show fewer at a time, or ' * several}raise max_length"
    )


def _parts(text: str, spans: Sequence[Span]) -> list[tuple[str, bool]]:
    """Split a text into what the format wrote, in which control tokens are recognized, and what a user wrote."""
    parts = []
    place = 0
    for start, end in spans:
        parts += [(text[place:start], True), (text[start:end], False)]
        place = end
    return [*parts, (text[place:], True)]


def next_token(before: Sequence[int], both: Sequence[int]) -> int | None:
    """The first token of what follows a text.

    Args:
        before: the ids of the text.
        both: the ids of the text with what follows.

    Returns:
        The id, or None if the tokenizer joins the two, so that the text alone has other tokens.
    """
    place = len(before)
    return both[place] if len(both) > place and [*both[:place]] == [*before] else None


def start_ids(tokenizer: Any) -> list[int]:
    """The ids that the tokenizer puts before every text (a begin-of-sequence token for some families)."""
    with_special, alone = tokenizer("x").input_ids, tokenizer("x", add_special_tokens=False).input_ids
    return with_special[: len(with_special) - len(alone)] if with_special[-len(alone) :] == alone else []
