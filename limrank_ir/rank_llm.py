"""LimRank in RankLLM: a model coordinator for its ``Reranker``, and our model names in its command line and server.

RankLLM (0.26, https://github.com/castorini/rank_llm) has no plug-in mechanism, but its ``Reranker`` accepts any object
with the four methods of a coordinator.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from limrank_ir.errors import InputError
from limrank_ir.formats.rank_llm import checked
from limrank_ir.formats.rank_llm import document_text as document_text
from limrank_ir.formats.rank_llm import read_requests as read_requests
from limrank_ir.models import DEFAULT, ModelOptions
from limrank_ir.rankers.behind import split_ranker
from limrank_ir.rankers.fit import engine_ask
from limrank_ir.rankers.named import as_ranker
from limrank_ir.rankers.order import Candidates, Ranker
from limrank_ir.rankers.run import rank_candidates
from limrank_ir.ranking.fusion import FIRST_STAGE, MODEL, fusion_weights
from limrank_ir.ranking.fusion import fuse as fuse_scores
from limrank_ir.ranking.partial import reranked, window
from limrank_ir.reranker import LimRank, as_limrank
from limrank_ir.verdict import Verdict

if TYPE_CHECKING:
    from rank_llm.data import InferenceInvocation, Request, Result

PREFIX = "limrank:"


class LimRankCoordinator:
    """Reranks RankLLM's requests: ``Reranker(LimRankCoordinator())``.

    Unlike RankLLM's own pointwise models, it does not change the text (``[1]`` does not become ``(1)``, whitespace is
    kept, and nothing is cut after 300 words), it judges all requests together and repeated pairs once, and it never
    turns a failure into a score. ``rank_start`` and ``rank_end`` work as for listwise models: this window is reranked,
    the other candidates keep their places, and scores strictly decrease (`limrank_ir.ranking.partial`).

    Example:
        >>> from rank_llm.rerank import Reranker  # doctest: +SKIP
        >>> Reranker(LimRankCoordinator("limrank-smol")).rerank_batch(requests)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | LimRank = DEFAULT,
        *,
        instruction: str | None = None,
        fuse: bool | float = False,
        ranker: str | Ranker | None = None,
        set_formats: Sequence[str] = (),
        verbose: bool = False,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Choose a model. Its weights load with the first request.

        Args:
            model: a name, folder, or hub id; or a `LimRank`.
            instruction: what counts as relevant, for all queries.
            fuse: rank by the model's and the candidates' scores together (`limrank_ir.fuse`), within the window.
            ranker: rank the window by another ranker than the verdicts alone (`limrank_ir.rankers.named.as_ranker`),
                such as ``"listwise"``; its own options, and not RankLLM's arguments, say what it shows at once.
            set_formats: with `ranker`, names of formats for its questions (`limrank_ir.prompts.sets.SET_FORMATS`).
            verbose: draw a progress bar on stderr.
            options: how to run a model that is given by name (`limrank_ir.models.ModelOptions`).

        Raises:
            InputError: an option is unknown or invalid, is given together with a `LimRank`, or does not go with the
                ranker.
        """
        self.limrank = as_limrank(model, options)
        self._weights = fusion_weights(fuse, [FIRST_STAGE], self.limrank.model)
        self._ranker = None if ranker is None else as_ranker(ranker)
        self._set_formats = set_formats
        if self._ranker is None and set_formats:
            raise InputError("set_formats has no effect without ranker; add ranker='setwise', or leave it out")
        if self._ranker is not None:
            if self._weights is not None:
                raise InputError(
                    f"fuse={fuse!r} does not go with ranker={ranker!r}, which gives an order; leave out fuse"
                )
            engine_ask(self.limrank, self._ranker, set_formats)  # what does not go together is an error now
        self._instruction = instruction
        self._verbose = verbose
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LimRankCoordinator({self.limrank!r})"

    def rerank_batch(
        self,
        requests: Iterable[Request],
        rank_start: int = 0,
        rank_end: int = 100,
        shuffle_candidates: bool = False,
        logging: bool = False,
        **kwargs: Any,
    ) -> list[Result]:
        """Rerank requests.

        Args:
            requests: RankLLM's requests. They are not modified. A repeated candidate (same docid and same doc) counts
                once, in its first place.
            rank_start: the first place to rerank, from 0.
            rank_end: the place after the last one to rerank.
            shuffle_candidates: has no effect, because a verdict does not depend on the other candidates.
            logging: has no effect; see `verbose`.
            kwargs: ``populate_invocations_history`` (of verdicts; with `ranker`, the history stays empty) and
                ``top_k_retrieve`` work as in RankLLM. All other arguments are for other models; RankLLM passes them to
                every coordinator, and they have no effect.

        Returns:
            One result for each request, in order, with all unique candidates of the request.

        Raises:
            InputError: a query is empty, the candidates are not a list, or a candidate has no text.
            LimRankError: as for `limrank_ir.LimRank.judge`.
        """
        requests = checked(requests)
        limit = kwargs.get("top_k_retrieve")
        end = rank_end if limit is None else min(rank_end, limit)
        windows = [window(len(request.candidates), rank_start, end) for request in requests]
        if self._ranker is not None:
            with self._lock:
                orders = self._orders(self._ranker, requests, windows)
            return [
                _result(request, places, scores, [])
                for request, places, scores in zip(requests, windows, orders, strict=True)
            ]
        pairs = [
            (request.query.text, document_text(request, place), self._instruction)
            for request, places in zip(requests, windows, strict=True)
            for place in places
        ]
        with self._lock:
            verdicts = iter(self.limrank.judge(pairs, show_progress_bar=self._verbose))
        history = bool(kwargs.get("populate_invocations_history"))
        return [
            self._judged(request, places, [next(verdicts) for _ in places], history)
            for request, places in zip(requests, windows, strict=True)
        ]

    def rerank(self, request: Request, *args: Any, **kwargs: Any) -> Result:
        """Rerank one request; see `rerank_batch`."""
        return self.rerank_batch([request], *args, **kwargs)[0]

    async def rerank_batch_async(self, requests: Iterable[Request], *args: Any, **kwargs: Any) -> list[Result]:
        """Run `rerank_batch` in a thread. Calls at the same time wait for each other."""
        return await asyncio.to_thread(self.rerank_batch, requests, *args, **kwargs)

    async def rerank_async(self, request: Request, *args: Any, **kwargs: Any) -> Result:
        """Rerank one request; see `rerank_batch_async`."""
        return (await self.rerank_batch_async([request], *args, **kwargs))[0]

    def get_output_filename(
        self, top_k_candidates: int, dataset_name: str | None, shuffle_candidates: bool, **kwargs: Any
    ) -> str:
        """The start of the file names that ``Reranker.write_rerank_results`` uses: model, cutoff, and data set."""
        model = self.limrank.model.name.rstrip("/").rsplit("/", 1)[-1]
        return "_".join(part for part in (model, str(top_k_candidates), dataset_name) if part)

    def get_name(self) -> str:
        """The model's name."""
        return self.limrank.model.name

    def _orders(self, ranker: Ranker, requests: Sequence[Request], windows: Sequence[range]) -> list[list[float]]:
        """The scores of a ranker's orders, for each request and place in its window."""
        queries = [
            Candidates(
                query=request.query.text,
                texts=[document_text(request, place) for place in places],
                scores=[float(request.candidates[place].score) for place in places],
                instruction=self._instruction,
            )
            for request, places in zip(requests, windows, strict=True)
        ]
        found: list[list[float]] = [[0.0] * len(places) for places in windows]
        ask = engine_ask(self.limrank, ranker, self._set_formats)
        for number, order in rank_candidates(ask, ranker, queries, show_progress_bar=self._verbose):
            for index, score in zip(order.indices, order.scores, strict=True):
                found[number][index] = score
        return found

    def _judged(self, request: Request, places: range, verdicts: list[Verdict], history: bool) -> Result:
        scores = [verdict.log_odds for verdict in verdicts]
        if self._weights is not None and scores:
            own = [float(request.candidates[place].score) for place in places]
            scores = fuse_scores({FIRST_STAGE: own, MODEL: scores}, self._weights).tolist()
        invocations = []
        if history:
            invocations = [
                self._invocation(request, place, verdict) for place, verdict in zip(places, verdicts, strict=True)
            ]
        return _result(request, places, scores, invocations)

    def _invocation(self, request: Request, place: int, verdict: Verdict) -> InferenceInvocation:
        from rank_llm.data import InferenceInvocation

        prompt = self.limrank.prompt(request.query.text, document_text(request, place), self._instruction)
        return InferenceInvocation(
            prompt=prompt.text,
            response=self.limrank.response(verdict),
            input_token_count=verdict.prompt_tokens,
            output_token_count=verdict.reasoning_tokens + 1,
            reasoning=verdict.reasoning,
            token_usage={"log_odds": verdict.log_odds, "cut_tokens": verdict.cut_tokens, "finish": verdict.finish},
        )


def _result(request: Request, places: range, scores: Sequence[float], invocations: list[InferenceInvocation]) -> Result:
    """A request with the candidates of its window in the order of their new scores."""
    from rank_llm.data import Candidate, Result

    candidates = request.candidates
    return Result(
        query=deepcopy(request.query),
        candidates=[
            Candidate(docid=candidates[place].docid, score=score, doc=deepcopy(candidates[place].doc))
            for place, score in reranked(len(candidates), places, scores)
        ],
        invocations_history=invocations,
    )


def coordinator(name: str, *, think: bool = False, budget: int | None = None) -> LimRankCoordinator | None:
    """The coordinator for a model path of RankLLM.

    Args:
        name: ``limrank-smol`` or another of our names that begin with ``limrank-``; or ``limrank:NAME``, with any name
            that ``limrank models`` lists. ``NAME+ADAPTER`` adds an adapter, ``NAME@RANKER`` a ranker
            (``limrank-smol@setwise:top=10``), ``NAME@RANKER@FORMAT`` also a format of its questions.
        think: let the model reason first, if `budget` is given; otherwise the model's default applies.
        budget: the maximum number of tokens of a thought.

    Returns:
        The coordinator, or None if the path is not one of our names.

    Raises:
        InputError: the model or the ranker is unknown.
    """
    if name.startswith(PREFIX):
        name = name.removeprefix(PREFIX)
    elif not name.startswith("limrank-") or Path(name).exists():
        return None
    name, behind = split_ranker(name)
    ranker, *formats = behind or [""]
    model, _, adapter = name.partition("+")
    options: dict[str, Any] = {"think": "always", "budget": budget} if think and budget else {}
    return LimRankCoordinator(
        model, adapter=adapter or None, ranker=ranker or None, set_formats=formats, verbose=True, **options
    )


_original: Callable[..., Any] | None = None


def register() -> None:
    """Make our model names known to RankLLM: its command line, server, and ``Reranker.create_model_coordinator``.

    ``is_thinking`` and ``reasoning_token_budget`` are respected. Further calls have no effect. `unregister` undoes it.
    """
    global _original
    from rank_llm.rerank import Reranker

    if _original is not None:
        return
    original = Reranker.create_model_coordinator
    _original = original

    def create(model_path: str, default_model_coordinator: Any, interactive: bool, **kwargs: Any) -> Any:
        if not (interactive and default_model_coordinator is not None):
            budget = kwargs.get("reasoning_token_budget")
            ours = coordinator(model_path, think=bool(kwargs.get("is_thinking")), budget=budget)
            if ours is not None:
                return ours
        return original(model_path, default_model_coordinator, interactive, **kwargs)

    Reranker.create_model_coordinator = create


def unregister() -> None:
    """Undo `register`."""
    global _original
    from rank_llm.rerank import Reranker

    if _original is not None:
        Reranker.create_model_coordinator = _original
        _original = None


def main(arguments: Sequence[str]) -> int:
    """Run RankLLM's command line with our models: ``limrank rank-llm rerank --model-path limrank-smol ...``.

    Args:
        arguments: the arguments of RankLLM's command line.

    Returns:
        The exit status.

    Raises:
        InputError: RankLLM is not installed.
    """
    try:
        from rank_llm.cli.main import main as rank_llm_main
    except ImportError as error:
        raise InputError(f'RankLLM is not installed ({error}); run: pip install "limrank-ir[rank-llm]"') from error
    register()
    sys.argv[0] = str(Path(sys.argv[0]).with_name("rank-llm"))
    return int(rank_llm_main(list(arguments)) or 0)
