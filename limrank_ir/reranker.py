"""LimRank: pairs in, verdicts out. Every adapter in this package is built on this class."""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from limrank_ir.engines import Engine
from limrank_ir.engines.choice import choose_engine
from limrank_ir.engines.formats import model_format
from limrank_ir.errors import EngineError, InputError
from limrank_ir.formats.pairs import CheckedPair, Pair, as_iterable, as_list, checked_pair, chunks
from limrank_ir.models import (
    BUDGET,
    DEFAULT,
    MODELS,
    THINK_MODES,
    ModelOptions,
    Think,
    resolve,
    set_options,
)
from limrank_ir.prompts import SETS, Prompt, PromptFormat, task_query
from limrank_ir.ranking import fusion
from limrank_ir.ranking.uncertain import MARGIN, TOP, mixed, uncertain
from limrank_ir.stats import JudgeStats
from limrank_ir.store import VerdictStore, key
from limrank_ir.verdict import Ranked, Verdict

log = logging.getLogger("limrank_ir")

LOW_MASS = 0.05  # of both labels; below it, the model would say something else at their place
RULES = "1"  # part of the store's keys; change it when the same prompt and settings give another verdict

Batch: TypeAlias = Sequence[tuple[int, Verdict]]
"""Verdicts with the indices of their prompts."""


class LimRank:
    """A pointwise reranker: a language model reads a query and a passage, may think, and answers true or false.

    Example:
        >>> limrank = LimRank()  # doctest: +SKIP
        >>> limrank.rank("how do I copy a file?", ["shutil.copy(src, dst)", "os.remove(path)"])  # doctest: +SKIP
    """

    def __init__(self, model: str = DEFAULT, **options: Unpack[ModelOptions]) -> None:
        """Choose a model. Its weights load with the first pair.

        Args:
            model: a name (``limrank models`` lists them), a local folder, or a hub id.
            options: how to run the model: ``adapter``, ``think``, ``store``, ``engine``, and the other options of
                `limrank_ir.models.ModelOptions`.

        Raises:
            InputError: an option is unknown or invalid, or the chosen engine does not have it.
        """
        chosen = set_options(options)
        self.model = resolve(model, adapter=chosen.get("adapter"), prompt_format=chosen.get("prompt_format"))
        self.think: Think = chosen.get("think", self.model.think)
        if self.think not in THINK_MODES:
            raise InputError(f"think is {self.think!r}; choose one of: {', '.join(THINK_MODES)}")
        self.budget: int = chosen.get("budget", BUDGET)
        if self.budget < 1:
            raise InputError(f"budget is {self.budget}; it must be at least 1")
        self.think_top: int = chosen.get("think_top", TOP)
        self.think_margin: float = chosen.get("think_margin", MARGIN)
        if self.think_top < 1:
            raise InputError(f"think_top is {self.think_top}; it must be at least 1")
        if not self.think_margin >= 0:
            raise InputError(f"think_margin is {self.think_margin}; it must be at least 0")
        self.task: str | None = chosen.get("task")
        self.stats = JudgeStats()
        self._store = chosen.get("store")
        self.prompt("", "", None, think=self.think != "never")  # raises if the task is unknown or it cannot think
        self.engine: Engine = choose_engine(chosen.get("engine", "local"), self.model, chosen)

    def __repr__(self) -> str:
        """The model's name, and its think mode if it is not the default."""
        think = "" if self.think == self.model.think else f", think={self.think!r}"
        return f"LimRank({self.model.name!r}{think})"

    @cached_property
    def _format(self) -> PromptFormat:
        return model_format(self.model)

    @cached_property
    def store(self) -> VerdictStore | None:
        """The store, opened on first use."""
        if self._store is None or isinstance(self._store, VerdictStore):
            return self._store
        return VerdictStore(self._store)

    @property
    def tokens(self) -> int:
        """How many tokens were read and generated so far, for progress; it grows while thoughts run."""
        return getattr(self.engine, "tokens", self.stats.tokens)

    def load(self) -> None:
        """Load the weights now rather than with the first pair, so that errors in them appear early.

        Raises:
            LimRankError: the model cannot be loaded.
        """
        prompt = self._format.render("warm-up", "warm-up")
        for _ in self.engine.read_labels([prompt], self._format.labels, think=False, budget=1):
            pass

    def need_verdicts(self) -> None:
        """Check that the model can judge passages, before it is loaded.

        Raises:
            InputError: it is asked about sets of passages only.
        """
        if self._format.name == SETS.name:
            ranker = self.model.ranker or "setwise"
            raise InputError(f"{self.model.name}: judges no single passages; give it a ranker, such as {ranker!r}")

    def judge(
        self,
        pairs: Iterable[Pair],
        *,
        progress: Callable[[int], None] | None = None,
        show_progress_bar: bool = False,
        remarks: bool = True,
    ) -> list[Verdict]:
        """Judge pairs. Repeated pairs are judged once, and pairs whose verdicts are in the store are not judged again.

        Args:
            pairs: (query, passage) or (query, passage, instruction).
            progress: called with the number of pairs finished since its last call.
            show_progress_bar: draw a progress bar on stderr. `progress` is then not called.
            remarks: log what was cut, removed, or forced; False for a caller that says it at the end of many calls.

        Returns:
            One verdict for each pair, in order. `stats` holds the statistics of this call.

        Raises:
            LimRankError: a pair is not text, a query is empty, or the model or the store cannot be used.
        """
        self.need_verdicts()
        started = time.perf_counter()
        stats = self.stats = JudgeStats()
        asked = map(checked_pair, itertools.count(), as_iterable("pairs", pairs))
        total = len(pairs) if isinstance(pairs, Sized) else None
        bar = _progress_bar(self.model.name, total) if show_progress_bar else nullcontext(progress)
        with bar as advance:
            if self.think == "auto":
                verdicts = self._think_where_uncertain(list(asked), stats, advance or _ignore)
            else:
                verdicts = self._judge(asked, stats, advance or _ignore, think=self.think == "always")
        stats.seconds = time.perf_counter() - started
        for remark in stats.remarks() if remarks else ():
            log.warning("%s", remark)
        if remarks and self.model.name not in MODELS and stats.label_mass is not None and stats.label_mass < LOW_MASS:
            log.info(
                "the labels have %.2g of the probability on average: usual for a model trained on the labels alone; "
                "for others, check that %r is their prompt format",
                stats.label_mass,
                self._format.name,
            )
        return verdicts

    def _think_where_uncertain(
        self, asked: list[CheckedPair], stats: JudgeStats, advance: Callable[[int], None]
    ) -> list[Verdict]:
        """The verdicts of ``think="auto"`` (`limrank_ir.ranking.uncertain`)."""
        first = dict(zip(asked, self._judge(asked, stats, _ignore, think=False), strict=True))
        queries: dict[tuple[str, str | None], list[CheckedPair]] = {}
        for pair in first:
            queries.setdefault((pair[0], pair[2]), []).append(pair)
        wanted = {}  # the positions of the uncertain passages among those of their query
        for query, group in queries.items():
            scores = [first[pair].log_odds for pair in group]
            wanted[query] = uncertain(scores, top=self.think_top, margin=self.think_margin)
        again = [queries[query][position] for query, positions in wanted.items() for position in positions]
        advance(len(asked) - len(again))
        log.info("thinking about %d of %d passages, whose places are uncertain", len(again), len(first))
        second = dict(zip(again, self._judge(again, thinking := JudgeStats(), advance, think=True), strict=True))
        stats.add_thoughts(thinking)
        for query, group in queries.items():
            thoughts = {position: second[group[position]].log_odds for position in wanted[query]}
            scores = mixed([first[pair].log_odds for pair in group], thoughts)
            for position in thoughts:
                first[group[position]] = replace(second[group[position]], log_odds=scores[position])
        return [first[pair] for pair in asked]

    def _judge(
        self, asked: Iterable[CheckedPair], stats: JudgeStats, advance: Callable[[int], None], *, think: bool
    ) -> list[Verdict]:
        """Judge pairs chunk by chunk, so that the texts of a long run need not be in memory together."""
        verdicts: list[Verdict] = []
        known: dict[bytes, Verdict] = {}
        for chunk in chunks(asked):
            names = [key(*(part for part in pair if part is not None)) for pair in chunk]
            copies = Counter(names)
            if repeated := sum(count for name, count in copies.items() if name in known):
                advance(repeated)
            new = {name: pair for name, pair in zip(names, chunk, strict=True) if name not in known}
            order = list(new)
            prompts = [self.prompt(*pair, think=think) for pair in new.values()]
            for batch, from_store in self._verdicts(prompts, think):
                for index, verdict in batch:
                    known[order[index]] = verdict
                    stats.count(verdict, prompts[index], stored=from_store)
                advance(sum(copies[order[index]] for index, _ in batch))
            if missing := sum(name not in known for name in order):
                raise EngineError(f"{self.engine!r} gave no verdict for {missing} of {len(order)} pairs")
            verdicts += [known[name] for name in names]
            stats.pairs += len(chunk)
            stats.unique += len(order)
        return verdicts

    def _verdicts(self, prompts: Sequence[Prompt], think: bool) -> Iterator[tuple[Batch, bool]]:
        """Batches of verdicts on unique prompts, and whether they come from the store.

        New verdicts are saved before they are passed on, so that none is lost if the caller stops.
        """
        if not prompts:
            return
        known: Batch = []
        keys: list[bytes] = []
        if self.store is not None:
            keys = self.keys(prompts, think=think)
            stored = self.store.get(keys)
            known = [(index, stored[prompt_key]) for index, prompt_key in enumerate(keys) if prompt_key in stored]
            yield known, True
        if len(known) == len(prompts):
            return
        done = frozenset(index for index, _ in known)
        readings = self.engine.read_labels(prompts, self._format.labels, think=think, budget=self.budget, done=done)
        for part in readings:
            batch = [(index, Verdict.of(reading, self._format.grades)) for index, reading in part]
            if self.store is not None:
                self.store.put((keys[index], verdict) for index, verdict in batch)
            yield batch, False

    def predict(self, pairs: Iterable[Pair], *, show_progress_bar: bool = False) -> npt.NDArray[np.float64]:
        """Score pairs. For the full interface of a CrossEncoder, see `limrank_ir.sentence_transformers`.

        Args:
            pairs: (query, passage) or (query, passage, instruction).
            show_progress_bar: draw a progress bar on stderr.

        Returns:
            float64 log-odds of shape ``[pairs]``.

        Raises:
            LimRankError: see `judge`.
        """
        verdicts = self.judge(pairs, show_progress_bar=show_progress_bar)
        return np.array([verdict.log_odds for verdict in verdicts], dtype=np.float64)

    def rank(
        self,
        query: str,
        passages: Iterable[str],
        *,
        top_k: int | None = None,
        instruction: str | None = None,
        first_stage_scores: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
        fuse: fusion.Fuse = False,
        show_progress_bar: bool = False,
    ) -> list[Ranked]:
        """Rank passages for a query.

        Args:
            query: the query.
            passages: the texts of the passages.
            top_k: how many to return; None: all. All passages are judged in any case.
            instruction: what counts as relevant, in the user's words.
            first_stage_scores: the first stage's score for each passage, or those of several systems by name; only
                used by `fuse`.
            fuse: rank by the model's and the first stage's scores together (`limrank_ir.fuse`): True for the model's
                default weights (`Model.fuse`), a weight from 0 (first stage only) to 1 (model only), or the weight of
                each name, where the model is ``"limrank"``.
            show_progress_bar: draw a progress bar on stderr.

        Returns:
            The passages, best first. Passages with equal scores keep their order.

        Raises:
            LimRankError: as for `judge`; or `top_k` is below 1, or `fuse` or `first_stage_scores` is invalid.

        Example:
            >>> LimRank().rank("capital of France", ["Paris", "Rome"], top_k=1)[0].text  # doctest: +SKIP
            'Paris'
            >>> LimRank().rank("a file", ["cp", "mv"], first_stage_scores=[7.5, 7.1], fuse=True)  # doctest: +SKIP
            >>> both = {"bm25": [7.5, 7.1], "minilm": [0.2, 0.3]}
            >>> weights = {"bm25": 1, "minilm": 1, "limrank": 2}
            >>> LimRank().rank("a file", ["cp", "mv"], first_stage_scores=both, fuse=weights)  # doctest: +SKIP
        """
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; it must be at least 1")
        others = {} if first_stage_scores is None else first_stage_scores
        if not isinstance(others, Mapping):
            others = {fusion.FIRST_STAGE: others}
        if not others and fuse is not False:
            raise InputError("fuse needs the first stage's scores; give first_stage_scores=[one for each passage]")
        weights = fusion.fusion_weights(fuse, list(others), self.model) if others else None
        if weights is None and others:
            raise InputError("first_stage_scores has no effect without fuse; add fuse=True, or leave it out")
        passages = as_list("passages", passages)
        found = {name: fusion.checked_scores(name, given, len(passages)) for name, given in others.items()}
        pairs = [(query, passage, instruction) for passage in passages]
        verdicts = self.judge(pairs, show_progress_bar=show_progress_bar)
        scores = [verdict.log_odds for verdict in verdicts]
        if weights is not None:
            scores = fusion.fuse({**found, fusion.MODEL: scores}, weights).tolist()
        ranked = [
            Ranked(index, passage, score, verdict.probability, verdict.reasoning)
            for index, (passage, score, verdict) in enumerate(zip(passages, scores, verdicts, strict=True))
        ]
        return sorted(ranked, key=lambda passage: -passage.score)[:top_k]

    def prompt(self, query: str, passage: str, instruction: str | None = None, *, think: bool | None = None) -> Prompt:
        """The prompt that the model reads for a pair, before a long passage is cut.

        Args:
            query: the query.
            passage: the passage.
            instruction: what counts as relevant, in the user's words.
            think: whether the model thinks first; None: if it always does.
        """
        query = task_query(query, self.task)
        return self._format.render(
            query, passage, instruction, think=self.think == "always" if think is None else think
        )

    def response(self, verdict: Verdict) -> str:
        """The model's answer as text: its thought, if there is one, and the label that it prefers."""
        thought = "" if verdict.reasoning is None else verdict.reasoning + self._format.end_of_thought
        return f"{thought}{self._format.label(verdict.probability)}"

    def keys(self, prompts: Sequence[Prompt], *, think: bool | None = None) -> list[bytes]:
        """Keys for the store, from everything that can change a verdict. The query and passage are in the prompt.

        Args:
            prompts: prompts made by `prompt`.
            think: whether the model thinks first; None: if it always does.

        Returns:
            The key of each.
        """
        thinks = self.think == "always" if think is None else think
        mode, budget = ("always", self.budget) if thinks else ("never", 0)
        settings = (RULES, self.engine.identity, self._format.key, mode, str(budget))
        return [key(*settings, prompt.prefix, prompt.passage, prompt.suffix) for prompt in prompts]


def as_limrank(model: str | LimRank, options: ModelOptions) -> LimRank:
    """The reranker for an adapter, which accepts a model's name or a `LimRank`.

    Args:
        model: a name, folder, or hub id; or a `LimRank`, which may be shared.
        options: how to run a model that is given by name.

    Returns:
        The reranker.

    Raises:
        InputError: an option is unknown or invalid, or is given together with a `LimRank`, which has its own.
    """
    if not isinstance(model, LimRank):
        return LimRank(model, **options)
    if extra := set_options(options):
        raise InputError(f"{', '.join(extra)}: set these on the LimRank itself")
    return model


def _ignore(count: int) -> None:
    """What to call when nobody wants to know the progress."""


@contextmanager
def _progress_bar(name: str, pairs: int | None) -> Iterator[Callable[[int], Any]]:
    """A progress bar on stderr; yields the function that advances it."""
    from tqdm.auto import tqdm

    with tqdm(total=pairs, desc=name, unit="pair") as bar:
        yield bar.update
