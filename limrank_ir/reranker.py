"""LimRank: pairs in, verdicts out. Every adapter in this package is built on this class."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from limrank_ir.engines import Engine
from limrank_ir.engines.choice import choose_engine
from limrank_ir.engines.formats import model_format
from limrank_ir.errors import EngineError, InputError
from limrank_ir.formats.pairs import Pair, as_list, checked_pair
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
from limrank_ir.prompts import Prompt, PromptFormat, task_query
from limrank_ir.ranking import fusion
from limrank_ir.store import VerdictStore, key
from limrank_ir.verdict import Ranked, Verdict

log = logging.getLogger("limrank_ir")

LOW_MASS = 0.05  # of both labels; below it, the model would say something else at their place
RULES = "1"  # part of the store's keys; change it when the same prompt and settings give another verdict

Batch: TypeAlias = Sequence[tuple[int, Verdict]]
"""Verdicts with the indices of their prompts."""


@dataclass(slots=True)
class JudgeStats:
    """Statistics of one call to `LimRank.judge`.

    Attributes:
        pairs: the number of pairs passed in.
        unique: different pairs among them.
        stored: unique pairs whose verdicts were in the store.
        judged: unique pairs that the model judged.
        cut: unique pairs whose passage was cut, now or when their verdict was stored.
        cut_tokens: the number of tokens that were cut.
        cleaned: unique pairs from which reserved strings were removed (`limrank_ir.prompts.clean`).
        forced: unique pairs whose thought ended without a verdict, so that it was forced.
        tokens: prompt and reasoning tokens of the judged pairs.
        seconds: wall-clock time.
        label_mass: mean probability of both labels together (`Verdict.label_mass`), or None if it is not known.
    """

    pairs: int = 0
    unique: int = 0
    stored: int = 0
    judged: int = 0
    cut: int = 0
    cut_tokens: int = 0
    cleaned: int = 0
    forced: int = 0
    tokens: int = 0
    seconds: float = 0.0
    label_mass: float | None = None
    _masses: int = 0

    def count(self, verdict: Verdict, prompt: Prompt, *, stored: bool) -> None:
        """Add a verdict to the statistics."""
        self.stored += stored
        self.judged += not stored
        self.cut += verdict.cut_tokens > 0
        self.cut_tokens += verdict.cut_tokens
        self.cleaned += prompt.cleaned
        self.forced += verdict.finish != "verdict"
        self.tokens += 0 if stored else verdict.prompt_tokens + verdict.reasoning_tokens
        if verdict.label_mass is not None:
            before = self.label_mass or 0.0
            self._masses += 1
            self.label_mass = before + (verdict.label_mass - before) / self._masses

    def remarks(self) -> list[str]:
        """What the user should know about how the text was read, in one sentence each."""
        remarks = []
        if self.cut:
            remarks.append(f"{self.cut} of {self.unique} passages were cut to fit ({self.cut_tokens} tokens in all)")
        if self.cleaned:
            remarks.append(f"reserved strings were removed from {self.cleaned} of {self.unique} pairs")
        if self.forced:
            remarks.append(f"{self.forced} of {self.unique} thoughts ended without a verdict, so it was forced")
        return remarks


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
        self.task: str | None = chosen.get("task")
        self.stats = JudgeStats()
        self._store = chosen.get("store")
        self.prompt("", "", None)  # raises if the task is unknown or the model cannot think
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

    def load(self) -> None:
        """Load the weights now rather than with the first pair, so that errors in them appear early.

        Raises:
            LimRankError: the model cannot be loaded.
        """
        prompt = self._format.render("warm-up", "warm-up")
        for _ in self.engine.read_labels([prompt], self._format.labels, think=False, budget=1):
            pass

    def judge(
        self,
        pairs: Iterable[Pair],
        *,
        progress: Callable[[int], None] | None = None,
        show_progress_bar: bool = False,
    ) -> list[Verdict]:
        """Judge pairs. Repeated pairs are judged once, and pairs whose verdicts are in the store are not judged again.

        Args:
            pairs: (query, passage) or (query, passage, instruction).
            progress: called with the number of pairs finished since its last call.
            show_progress_bar: draw a progress bar on stderr. `progress` is then not called.

        Returns:
            One verdict for each pair, in order. `stats` holds the statistics of this call.

        Raises:
            LimRankError: a pair is not text, a query is empty, or the model or the store cannot be used.
        """
        started = time.perf_counter()
        asked = [checked_pair(number, pair) for number, pair in enumerate(as_list("pairs", pairs))]
        copies = Counter(asked)  # the unique pairs, in order, and how often each one occurs
        prompts = [self.prompt(*pair) for pair in copies]
        counts = list(copies.values())
        stats = self.stats = JudgeStats(pairs=len(asked), unique=len(prompts))
        verdicts: dict[int, Verdict] = {}
        bar = _progress_bar(self.model.name, len(asked)) if show_progress_bar else nullcontext(progress)
        with bar as advance:
            for batch, from_store in self._verdicts(prompts):
                verdicts.update(batch)
                for index, verdict in batch:
                    stats.count(verdict, prompts[index], stored=from_store)
                if advance is not None:
                    advance(sum(counts[index] for index, _ in batch))
        if missing := len(prompts) - len(verdicts):
            raise EngineError(f"{self.engine!r} gave no verdict for {missing} of {len(prompts)} pairs")
        stats.seconds = time.perf_counter() - started
        for remark in stats.remarks():
            log.warning("%s", remark)
        if self.model.name not in MODELS and stats.label_mass is not None and stats.label_mass < LOW_MASS:
            log.info(
                "the labels have %.2g of the probability on average: usual for a model trained on the labels alone; "
                "for others, check that %r is their prompt format",
                stats.label_mass,
                self._format.name,
            )
        index_of = {pair: index for index, pair in enumerate(copies)}
        return [verdicts[index_of[pair]] for pair in asked]

    def _verdicts(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Batch, bool]]:
        """Batches of verdicts on unique prompts, and whether they come from the store.

        New verdicts are saved before they are passed on, so that none is lost if the caller stops.
        """
        if not prompts:
            return
        known: Batch = []
        keys: list[bytes] = []
        if self.store is not None:
            keys = self.keys(prompts)
            stored = self.store.get(keys)
            known = [(index, stored[prompt_key]) for index, prompt_key in enumerate(keys) if prompt_key in stored]
            yield known, True
        if len(known) == len(prompts):
            return
        done = frozenset(index for index, _ in known)
        readings = self.engine.read_labels(
            prompts, self._format.labels, think=self.think == "always", budget=self.budget, done=done
        )
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
        first_stage_scores: Sequence[float] | None = None,
        fuse: bool | float = False,
        show_progress_bar: bool = False,
    ) -> list[Ranked]:
        """Rank passages for a query.

        Args:
            query: the query.
            passages: the texts of the passages.
            top_k: how many to return; None: all. All passages are judged in any case.
            instruction: what counts as relevant, in the user's words.
            first_stage_scores: the first stage's score for each passage; only used by `fuse`.
            fuse: rank by the model's and the first stage's scores together (`limrank_ir.fuse`): True for the model's
                default weight (`Model.fuse`), or a weight from 0 (first stage only) to 1 (model only).
            show_progress_bar: draw a progress bar on stderr.

        Returns:
            The passages, best first. Passages with equal scores keep their order.

        Raises:
            LimRankError: as for `judge`; or `top_k` is below 1, or `fuse` or `first_stage_scores` is invalid.

        Example:
            >>> LimRank().rank("capital of France", ["Paris", "Rome"], top_k=1)[0].text  # doctest: +SKIP
            'Paris'
            >>> LimRank().rank("a file", ["cp", "mv"], first_stage_scores=[7.5, 7.1], fuse=True)  # doctest: +SKIP
        """
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; it must be at least 1")
        weight = fusion.fusion_weight(fuse, self.model.fuse)
        if weight is not None and first_stage_scores is None:
            raise InputError("fuse needs the first stage's scores; give first_stage_scores=[one for each passage]")
        if weight is None and first_stage_scores is not None:
            raise InputError("first_stage_scores has no effect without fuse; add fuse=True, or leave it out")
        passages = as_list("passages", passages)
        found = None if first_stage_scores is None else fusion.checked_scores(first_stage_scores, len(passages))
        pairs = [(query, passage, instruction) for passage in passages]
        verdicts = self.judge(pairs, show_progress_bar=show_progress_bar)
        scores = [verdict.log_odds for verdict in verdicts]
        if weight is not None and found is not None:
            scores = fusion.fuse(scores, found, weight).tolist()
        ranked = [
            Ranked(index, passage, score, verdict.probability, verdict.reasoning)
            for index, (passage, score, verdict) in enumerate(zip(passages, scores, verdicts, strict=True))
        ]
        return sorted(ranked, key=lambda passage: -passage.score)[:top_k]

    def prompt(self, query: str, passage: str, instruction: str | None = None) -> Prompt:
        """The prompt that the model reads for a pair, before a long passage is cut."""
        query = task_query(query, self.task)
        return self._format.render(query, passage, instruction, think=self.think == "always")

    def response(self, verdict: Verdict) -> str:
        """The model's answer as text: its thought, if there is one, and the label that it prefers."""
        thought = "" if verdict.reasoning is None else verdict.reasoning + self._format.end_of_thought
        return f"{thought}{self._format.label(verdict.probability)}"

    def keys(self, prompts: Sequence[Prompt]) -> list[bytes]:
        """Keys for the store, from everything that can change a verdict. The query and passage are in the prompt.

        Args:
            prompts: prompts made by `prompt`.

        Returns:
            The key of each.
        """
        budget = self.budget if self.think == "always" else 0
        settings = (RULES, self.engine.identity, self._format.key, self.think, str(budget))
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


@contextmanager
def _progress_bar(name: str, pairs: int) -> Iterator[Callable[[int], Any]]:
    """A progress bar on stderr; yields the function that advances it."""
    from tqdm.auto import tqdm

    with tqdm(total=pairs, desc=name, unit="pair") as bar:
        yield bar.update
