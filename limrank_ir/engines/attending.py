"""Attention as a signal of relevance: in-context re-ranking (Chen et al., arXiv 2410.02642, section 3).

A prompt shows passages, and then a question about them. A passage's token gets the attention of the question's tokens:
their mean, summed over all layers and heads. Some tokens get much of it whatever is asked, so that what they get from a
query that says nothing (``N/A``) is subtracted. Tokens of a passage that are then more than two standard deviations
below its mean are left out, and the sum of the others is the passage's score.

As in the authors' code (github OSU-NLP-Group/In-Context-Reranking: src/in_context_reranker.py), the question's tokens
are all that follow the passages, from the sentence before the query to the end of the prompt. Other than there, the
identifiers in front of the passages do not count as parts of them.

The passages are read once, for both questions. Only the question's rows of the attention are computed, one layer at a
time, so that memory grows with the prompt and not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from limrank_ir.engines.loading import Loaded
from limrank_ir.engines.packed import KeyValues, Layer, Packing
from limrank_ir.engines.tokens import PromptTokenizer
from limrank_ir.errors import EngineError
from limrank_ir.prompts import Prompt
from limrank_ir.prompts.format import Span
from limrank_ir.verdict import Attended

LOW = 2  # standard deviations below the mean, from where on a token is left out
ROWS = 256  # of a question are looked at together, which bounds the memory of long queries


class Watched(Packing):
    """A batch in which the attention that keys get from each sequence's new tokens is added up.

    Attributes:
        received: for each sequence, what each token of its prefix gets, on average over the new tokens, and summed over
            the heads of the layers so far.
    """

    reads_last = False

    def __init__(self, lengths: list[int], spans: list[Span], prefixes: KeyValues, *, device: torch.device) -> None:
        super().__init__(lengths, spans, prefixes, device=device)
        self.received = [torch.zeros(last - first, dtype=torch.float64, device=device) for first, last in spans]

    def attend(self, layer: Layer) -> torch.Tensor:
        """The attention of one layer, which is also added to `received`."""
        assert self.prefixes is not None
        old = self.prefixes.layers[layer.index][0]
        lengths = self._own.tolist()
        queries, keys = (each[0].transpose(0, 1).split(lengths) for each in (layer.query, layer.key))
        mask = self._mask(layer.window, torch.float32)
        for row, (first, last) in enumerate(self._spans):
            key = torch.cat([old[first:last], keys[row]]).float()
            for start in range(0, lengths[row], ROWS):
                query = queries[row][start : start + ROWS].float().unflatten(1, (key.shape[1], -1))
                scores = torch.einsum("qhgs,khs->hgqk", query, key) * layer.scaling
                scores += mask[row, 0, start : start + len(query), : len(key)]
                share = scores.softmax(-1)[..., : last - first].sum((0, 1, 2)) / lengths[row]
                self.received[row] += share
        return super().attend(layer)


def attended(loaded: Loaded, asked: Prompt, neutral: Prompt, *, limit: int, step: int) -> Attended:
    """Score the passages of a prompt.

    Args:
        loaded: the model.
        asked: the prompt.
        neutral: the same with a query that says nothing.
        limit: the maximum number of tokens in a prompt. Longer passages are cut, in both in the same way.
        step: the number of tokens that are run at once.

    Returns:
        The scores.

    Raises:
        InputError: a query leaves no room for the passages.
        EngineError: a score is not a finite number.
    """
    (asked, neutral), cut = _fitting(loaded.tokenizer, [asked, neutral], limit)
    ids, places = loaded.tokenizer.locate(asked)
    question = _question(asked, places)
    spans = [_tokens(places, span) for span in _passages(asked)]
    neutral_ids, neutral_places = loaded.tokenizer.locate(neutral)
    questions = [ids[question:], neutral_ids[_question(neutral, neutral_places) :]]
    received = attention(loaded, ids[:question], questions, step=step)
    calibrated = received[0] - received[1]
    scores = tuple(_score(calibrated[first:last]) for first, last in spans)
    if not np.isfinite(scores).all():
        raise EngineError(f"the model gave no finite attention for a prompt of {len(ids)} tokens; try dtype='float32'")
    return Attended(scores, question + sum(map(len, questions)), cut)


def attention(loaded: Loaded, context: np.ndarray, questions: Sequence[np.ndarray], *, step: int) -> list[np.ndarray]:
    """The attention that a context gets from questions behind it.

    Args:
        loaded: the model.
        context: the token ids that all questions follow.
        questions: the token ids of each question.
        step: the number of tokens that are run at once.

    Returns:
        For each question, what each token of the context gets: float64 of shape ``[len(context)]``, on average over the
        tokens of the question, and summed over layers and heads.
    """
    read: KeyValues | None = None
    for start in range(0, len(context), step):
        part = context[start : start + step]
        packing = Packing([len(part)], [(0, start)], read, device=loaded.device, keep=True)
        loaded.run([part], packing)
        read = packing.joined()
    assert read is not None
    watched = Watched(
        [len(question) for question in questions],
        [(0, len(context))] * len(questions),
        read,
        device=loaded.device,
    )
    loaded.run(questions, watched)
    return [each.cpu().numpy() for each in watched.received]


def _fitting(tokenizer: PromptTokenizer, prompts: list[Prompt], limit: int) -> tuple[list[Prompt], int]:
    """The prompts with their passages cut as the longest one needs it, and the number of tokens that were cut."""
    encoded = tokenizer.encode(prompts, limit)
    shortest = max(encoded, key=lambda tokens: tokens.cut)
    if shortest.kept is None:
        return prompts, 0
    return [prompt.cut(shortest.kept) for prompt in prompts], shortest.cut


def _question(prompt: Prompt, places: Sequence[Span]) -> int:
    """The first token of the question: behind the passages and the space after them."""
    space = len(prompt.suffix) - len(prompt.suffix.lstrip())
    start = len(prompt.prefix) + len(prompt.passage) + space
    return next(token for token, (_, last) in enumerate(places) if last > start)


def _passages(prompt: Prompt) -> list[Span]:
    """Where in the prompt's text each passage stands."""
    return [(len(prompt.prefix) + first, len(prompt.prefix) + last) for first, last in prompt.passages]


def _tokens(places: Sequence[Span], span: Span) -> Span:
    """The tokens that have characters of a part of the text."""
    start, end = span
    inside = [token for token, (first, last) in enumerate(places) if last > start and first < end]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _score(calibrated: np.ndarray) -> float:
    """The sum of the tokens of a passage, without those that are abnormally low."""
    if len(calibrated) > 1:
        calibrated = calibrated[calibrated >= calibrated.mean() - LOW * calibrated.std(ddof=1)]
    return float(calibrated.sum())
