"""LimRank: pairs in, verdicts out. The class that every adapter of this package stands on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Unpack

import numpy as np

from limrank_ir.engines import Engine
from limrank_ir.errors import EngineError, InputError
from limrank_ir.formats.pairs import Pair, checked_pair, is_pair, several
from limrank_ir.model_options import BUDGET, OF_THE_LOCAL_ENGINE, ModelOptions, given
from limrank_ir.models import DEFAULT, THINK_MODES, Model, Think, resolve
from limrank_ir.prompts import Prompt, task_query
from limrank_ir.prompts import prompt_format as _formats
from limrank_ir.ranking import fusion
from limrank_ir.store import VerdictStore, key
from limrank_ir.verdict import Ranked, Verdict

log = logging.getLogger("limrank_ir")

RULES = "1"  # part of the store's keys: changes when the same prompt and settings would give another verdict


@dataclass(slots=True)
class Run:
    """What happened in one call of `LimRank.judge`.

    Attributes:
        pairs: pairs asked for.
        unique: different pairs among them.
        stored: unique pairs whose verdicts were in the store.
        judged: unique pairs that the model judged.
        cut: unique pairs whose passage was cut, now or when the store got them.
        cut_tokens: tokens that they lost.
        cleaned: unique pairs from which reserved strings were taken out (`limrank_ir.prompts.clean`).
        forced: unique pairs whose thought came to no verdict, so that it was forced.
        tokens: prompt and reasoning tokens of judged pairs.
        seconds: wall-clock time.
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

    def count(self, verdict: Verdict, prompt: Prompt, *, stored: bool) -> None:
        """Take a verdict into the figures."""
        self.stored += stored
        self.judged += not stored
        self.cut += verdict.cut_tokens > 0
        self.cut_tokens += verdict.cut_tokens
        self.cleaned += prompt.cleaned
        self.forced += verdict.finish != "verdict"
        self.tokens += 0 if stored else verdict.prompt_tokens + verdict.reasoning_tokens

    def remarks(self) -> list[str]:
        """What a user should know about how the text was read, a sentence each."""
        said = []
        if self.cut:
            said.append(f"{self.cut} of {self.unique} passages were cut to fit ({self.cut_tokens} tokens in all)")
        if self.cleaned:
            said.append(f"reserved strings were taken out of {self.cleaned} of {self.unique} pairs")
        if self.forced:
            said.append(f"{self.forced} of {self.unique} thoughts came to no verdict, so it was forced")
        return said


class _ModelCard:
    """Where sentence-transformers' evaluators note the metrics that they also return."""

    def set_evaluation_metrics(self, *noted: Any) -> None:
        """Note nothing: the card of a published model is written by ``limrank export``."""


class LimRank:
    """A pointwise reranker by a language model that reads (query, passage), may think, and says true or false.

    Example:
        >>> limrank = LimRank()  # doctest: +SKIP
        >>> limrank.rank("how do I copy a file?", ["shutil.copy(src, dst)", "os.remove(path)"])  # doctest: +SKIP
    """

    model_card_data = _ModelCard()

    def __init__(
        self, model: str = DEFAULT, *, engine: Literal["local"] | Engine = "local", **options: Unpack[ModelOptions]
    ) -> None:
        """Choose a model; its weights load with the first pair.

        Args:
            model: a name (``limrank models`` lists them), a local folder or a hub id.
            engine: ``"local"``, or an object with the methods of `limrank_ir.engines.Engine`.
            options: how it is run: ``adapter``, ``think``, ``store``, ``device`` and others, all described at
                `limrank_ir.model_options.ModelOptions`.

        Raises:
            InputError: an option is unknown or impossible, or describes the local engine beside another one.
        """
        chosen = given(options)
        prompt_format = chosen.get("prompt_format")
        self.model = resolve(model, adapter=chosen.get("adapter"), prompt_format=prompt_format)
        self.think: Think = chosen.get("think", self.model.think)
        if self.think not in THINK_MODES:
            raise InputError(f"think is {self.think!r}; choose one of: {', '.join(THINK_MODES)}")
        self.budget: int = chosen.get("budget", BUDGET)
        if self.budget < 1:
            raise InputError(f"budget is {self.budget}; a thought needs at least 1 token")
        self.task, self.last_run = chosen.get("task"), Run()
        self._format, self._store_place = _formats(self.model.prompt_format), chosen.get("store")
        self.prompt("", "", None)  # finds an unknown task or think mode now, not after the first stage
        local = {name: value for name, value in chosen.items() if name in OF_THE_LOCAL_ENGINE}
        if engine != "local" and local:
            raise InputError(f"{', '.join(local)}: give these to the engine itself, not beside it")
        self.engine = _local(self.model, local) if engine == "local" else engine
        if isinstance(self.engine, str):
            raise InputError(f"unknown engine {engine!r}; choose 'local' or give an engine object")

    def __repr__(self) -> str:
        """The model's name and what differs from its defaults."""
        think = "" if self.think == self.model.think else f", think={self.think!r}"
        return f"LimRank({self.model.name!r}{think})"

    @cached_property
    def store(self) -> VerdictStore | None:
        """The store, opened on first use."""
        place = self._store_place
        return place if place is None or isinstance(place, VerdictStore) else VerdictStore(place)

    def load(self) -> None:
        """Load the weights now and not with the first pair: what is wrong with them is then known before the work.

        Raises:
            LimRankError: the model cannot be used.
        """
        prompt = self._format.render("warm-up", "warm-up")
        for _ in self.engine.judge([prompt], think=False, budget=1, done=frozenset()):
            pass

    def judge(
        self,
        pairs: Iterable[Pair],
        *,
        progress: Callable[[int], None] | None = None,
        show_progress_bar: bool = False,
    ) -> list[Verdict]:
        """Judge pairs. Each different pair is judged once; what the store knows is not judged again.

        Args:
            pairs: (query, passage) or (query, passage, instruction).
            progress: called with the number of pairs done since it was called last.
            show_progress_bar: draw a progress bar on stderr; `progress` is not called then.

        Returns:
            One verdict a pair, in order. `last_run` then holds what happened.

        Raises:
            LimRankError: a pair is not text, a query is empty, or the model or the store cannot be used.
        """
        if show_progress_bar:
            from tqdm.auto import tqdm

            pairs = several("pairs", pairs)
            with tqdm(total=len(pairs), desc=self.model.name, unit="pair") as bar:
                return self.judge(pairs, progress=bar.update)
        started = time.perf_counter()
        asked = [checked_pair(number, pair) for number, pair in enumerate(several("pairs", pairs))]
        places: dict[tuple[str, str, str | None], list[int]] = {}
        for number, pair in enumerate(asked):
            places.setdefault(pair, []).append(number)
        numbers = list(places.values())
        prompts = [self.prompt(*pair) for pair in places]
        run = self.last_run = Run(pairs=len(asked), unique=len(prompts))
        verdicts: dict[int, Verdict] = {}

        def arrived(batch: Sequence[tuple[int, Verdict]], *, stored: bool) -> None:
            verdicts.update(batch)
            for index, verdict in batch:
                run.count(verdict, prompts[index], stored=stored)
            if progress is not None:
                progress(sum(len(numbers[index]) for index, _ in batch))

        keys = self._keys(prompts) if self.store is not None and prompts else []
        if self.store is not None:
            known = self.store.get(keys)
            arrived([(index, known[name]) for index, name in enumerate(keys) if name in known], stored=True)
        if len(verdicts) < len(prompts):
            batches = self.engine.judge(
                prompts, think=self.think == "always", budget=self.budget, done=frozenset(verdicts)
            )
            for batch in batches:
                if self.store is not None:
                    self.store.put((keys[index], verdict) for index, verdict in batch)
                arrived(batch, stored=False)
        if missing := len(prompts) - len(verdicts):
            raise EngineError(f"{self.engine!r} gave no verdict for {missing} of {len(prompts)} pairs")
        run.seconds = time.perf_counter() - started
        for remark in run.remarks():
            log.warning("%s", remark)
        order = {number: index for index, places_of in enumerate(numbers) for number in places_of}
        return [verdicts[order[number]] for number in range(len(asked))]

    def predict(
        self,
        pairs: Any,
        *,
        show_progress_bar: bool | None = False,
        batch_size: int | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        prompt_name: str | None = None,
    ) -> Any:
        """Score pairs, as sentence-transformers' ``CrossEncoder.predict`` does; its evaluators accept a LimRank.

        Args:
            pairs: a list of pairs, or one pair.
            show_progress_bar: draw a progress bar on stderr.
            batch_size: has no effect: give it to `LimRank`.
            convert_to_numpy: has no effect; see `convert_to_tensor`.
            convert_to_tensor: return a torch tensor.
            prompt_name: must be None: LimRank has no named prompts.

        Returns:
            float64 log-odds of shape ``[pairs]``; of one pair a float64 scalar.

        Raises:
            LimRankError: see `judge`; or a prompt name is given.
        """
        if prompt_name is not None:
            raise InputError(
                f"prompt_name is {prompt_name!r}; LimRank has no named prompts: give instructions or a task"
            )
        one = is_pair(pairs)
        verdicts = self.judge([pairs] if one else pairs, show_progress_bar=bool(show_progress_bar))
        scores = np.array([verdict.log_odds for verdict in verdicts], dtype=np.float64)
        if convert_to_tensor:
            import torch

            return torch.from_numpy(scores)[0] if one else torch.from_numpy(scores)
        return scores[0] if one else scores

    def rank(
        self,
        query: str,
        passages: Iterable[str],
        *,
        top_k: int | None = None,
        instruction: str | None = None,
        first_stage: Sequence[float] | None = None,
        fuse: bool | float = False,
        show_progress_bar: bool = False,
    ) -> list[Ranked]:
        """Rank passages for a query.

        Args:
            query: the query.
            passages: the passages' texts.
            top_k: how many to return; None: all. All of them are judged.
            instruction: what counts as relevant, in the user's words.
            first_stage: the scores by which the passages were found, one for each; they are used by `fuse` only.
            fuse: rank by the model's and the first stage's scores together (`limrank_ir.fuse`): True for the model's
                own weight (`Model.fuse`), or a weight from 0 (first stage) to 1 (model).
            show_progress_bar: draw a progress bar on stderr.

        Returns:
            The passages, best first; equal scores keep the given order.

        Raises:
            LimRankError: see `judge`; or `top_k` is below 1, or the scores of the first stage or the weight are unfit.

        Example:
            >>> LimRank().rank("capital of France", ["Paris", "Rome"], top_k=1)[0].text  # doctest: +SKIP
            'Paris'
            >>> LimRank().rank("a file", ["cp", "mv"], first_stage=[7.5, 7.1], fuse=True)  # doctest: +SKIP
        """
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k is {top_k}; it must be at least 1")
        weight = fusion.fusion_weight(fuse, self.model.fuse)
        if weight is not None and first_stage is None:
            raise InputError("fuse needs the first stage's scores; give first_stage=[a score for each passage]")
        if weight is None and first_stage is not None:
            raise InputError("first_stage has no effect without fuse; give fuse=True, too, or leave it out")
        passages = several("passages", passages)
        found = None if first_stage is None else fusion.first_stage_scores(first_stage, len(passages))
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

    def as_pyterrier_transformer(self, **options: Any) -> Any:
        """This reranker in a PyTerrier pipeline; transformers that share it share its weights.

        Args:
            options: those of `limrank_ir.pyterrier.LimRankReranker` that do not describe the model.

        Returns:
            The transformer.

        Example:
            >>> bm25 >> LimRank("limrank-7b").as_pyterrier_transformer(fuse=True)  # doctest: +SKIP
        """
        from limrank_ir.pyterrier import LimRankReranker

        return LimRankReranker(self, **options)

    def prompt(self, query: str, passage: str, instruction: str | None = None) -> Prompt:
        """The prompt that the model reads for a pair, before an over-long passage is cut."""
        query = task_query(query, self.task)
        return self._format.render(query, passage, instruction, think=self.think == "always")

    def response(self, verdict: Verdict) -> str:
        """What the model said, as text: the thought, if there is one, and the label that it prefers."""
        thought = "" if verdict.reasoning is None else verdict.reasoning + self._format.end_of_thought
        return thought + self._format.labels[0 if verdict.log_odds > 0 else 1]

    def _keys(self, prompts: Sequence[Prompt]) -> list[bytes]:
        """Names in the store: everything that changes a verdict. The prompt's text holds format, query and passage."""
        budget = self.budget if self.think == "always" else 0
        settings = (RULES, self.engine.identity, self._format.name, self.think, str(budget))
        return [key(*settings, prompt.prefix, prompt.passage, prompt.suffix) for prompt in prompts]


def as_limrank(model: str | LimRank, options: ModelOptions) -> LimRank:
    """The reranker that an adapter is told to use.

    Args:
        model: a name, folder or hub id; or a `LimRank`, which others may share.
        options: how a model given by name is run.

    Returns:
        The reranker.

    Raises:
        InputError: an option is unknown or impossible, or stands beside a `LimRank`, which has its own.
    """
    if not isinstance(model, LimRank):
        return LimRank(model, **options)
    if beside := given(options):
        raise InputError(f"{', '.join(beside)}: give these to the LimRank itself, not beside it")
    return model


def _local(model: Model, options: Mapping[str, Any]) -> Engine:
    from limrank_ir.engines.local import LocalEngine

    return LocalEngine(model, **options)
