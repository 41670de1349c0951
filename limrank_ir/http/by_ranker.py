"""Requests that a ranker answers: which one, whether the model can do it, and how much it may ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.pairs import CheckedPair
from limrank_ir.http.requests import Rerank
from limrank_ir.prompts.sets import set_format
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.rankers.fit import engine_ask, once, windows
from limrank_ir.rankers.named import as_ranker, spec
from limrank_ir.rankers.order import Candidates, Ranker
from limrank_ir.reranker import LimRank

HIGHEST = 10_000  # an option's value: some rankers do as many rounds, also if they ask nothing in them
KEPT = 8  # choices of rankers and formats that keep their tokenizer, their prompts, and what was answered


@dataclass(frozen=True, slots=True)
class Ranking:
    """A request's ranker, which can be run.

    Attributes:
        ranker: the ranker.
        ask: answers its questions; requests with the same ranker, but for repeats and seeds, and formats share one.
        candidates: the request's documents.
    """

    ranker: Ranker
    ask: EngineAsk
    candidates: Candidates


class Rankers:
    """The ranker of each request: the server's, or its own."""

    def __init__(
        self, limrank: LimRank, ranker: str | Ranker | None, formats: Sequence[str], *, questions: int, splits: bool
    ) -> None:
        """Choose what goes for requests that do not say.

        Args:
            limrank: the model, its engine, and the store.
            ranker: the ranker, or None: verdicts.
            formats: names of formats for it.
            questions: the most questions that a request may ask.
            splits: whether the server splits documents into windows, which rankers do not.

        Raises:
            InputError: the ranker or a format is unknown or invalid, or the model or its engine cannot do it.
        """
        self._limrank = limrank
        self._questions = questions
        self._splits = splits
        self._fit: Any = lru_cache(KEPT)(self._fitted)  # rankers are hashable, which their protocol does not say
        self._default: tuple[Ranker, tuple[str, ...]] | None = None
        own = limrank.model.set_format
        self._thinks = limrank.think == "always" or (own is not None and set_format(own).thinks)
        if ranker is None:
            if formats:
                raise InputError("set formats have no effect without a ranker; `limrank rankers` lists both")
        elif splits:
            raise InputError("windows split documents, which rankers do not do; leave out one of them")
        else:
            self._default = as_ranker(ranker), tuple(formats)
            _, thinks = self._fitted(*self._default)
            self._thinks = self._thinks or thinks

    def of(self, request: Rerank, documents: Sequence[Sequence[CheckedPair]]) -> Ranking | None:
        """What a request's ranker ranks. Nothing is asked.

        Args:
            request: the request.
            documents: for each document the pairs to judge.

        Returns:
            The ranking, or None for verdicts.

        Raises:
            InputError: the ranker or a format is unknown or invalid, the model or its engine cannot do it, or it would
                ask too much.
        """
        chosen = self._chosen(request)
        if chosen is None:
            return None
        ranker, formats = chosen
        texts = [text for ((_, text, _),) in documents]
        most = ranker.calls(max(2, len(texts)))  # 2, so that `repeats` is bounded with one document, too
        if most > self._questions:
            raise InputError(
                f"{spec(ranker)} may ask {most} questions about {len(texts)} documents, more than {self._questions}; "
                "send fewer documents, or give it lower options, such as repeats, top, or depth"
            )
        ask, thinks = self._fit(once(ranker), formats)  # a new seed is nothing that has to be tried again
        if thinks and not self._thinks:
            raise InputError(
                f"{spec(ranker)} writes thoughts here, which this server does not do at a request; choose another "
                "ranker or format, or start the server with a ranker that thinks"
            )
        return Ranking(ranker, ask, Candidates(request.query, texts, instruction=request.instruction))

    def _chosen(self, request: Rerank) -> tuple[Ranker, tuple[str, ...]] | None:
        """A request's ranker and formats, which are the server's if it names none."""
        formats = tuple(request.set_formats or ())
        if request.ranker is not None:
            if self._splits:
                raise InputError("this server splits documents into windows, which rankers do not do; leave out ranker")
            ranker = as_ranker(request.ranker)
            _check_options(ranker)
            return ranker, formats
        if self._default is not None:
            ranker, own = self._default
            return ranker, formats or own
        if formats:
            raise InputError("set_formats has no effect without a ranker; add one, such as setwise")
        return None

    def _fitted(self, ranker: Ranker, formats: tuple[str, ...]) -> tuple[EngineAsk, bool]:
        """What answers a ranker's questions, and whether thoughts are written before answers."""
        shown = windows(ranker)
        ask = engine_ask(self._limrank, ranker, formats, shown=shown)
        written = [(task, passages) for (task, writes), passages in shown.items() if writes]
        formats_used = [ask.check(task, passages, writes=True) for task, passages in written]
        return ask, any(fmt is not None and fmt.thinks for fmt in formats_used)


def _check_options(ranker: Any) -> None:
    """Check that no option asks for endless work, before anything is tried with it."""
    for field in fields(ranker):
        value = getattr(ranker, field.name)
        if hasattr(value, "steps"):
            _check_options(value)
        elif isinstance(value, int) and value > HIGHEST and field.name != "seed":
            raise InputError(f"{spec(ranker)}: {field.name} is above {HIGHEST}; lower it")
