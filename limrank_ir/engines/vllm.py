"""vLLM in this process: many prompts at once on a GPU, with paged keys and values and cached prefixes.

Prompts are token ids, so a prompt is the same as the local engine's, to the token. vLLM forms its own batches from
whatever is in flight, so that a score may differ in its last digits from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from limrank_ir.engines.batching import waves
from limrank_ir.engines.context import context_limit
from limrank_ir.engines.formats import model_format
from limrank_ir.engines.thoughts import answer_limits, thought_limits
from limrank_ir.engines.vllm_options import changes, check_options, quiet
from limrank_ir.engines.vllm_requests import Request, ended, label_params, reading, refusals, text_params, written
from limrank_ir.errors import EngineError, InputError
from limrank_ir.extras import need
from limrank_ir.models import Model
from limrank_ir.prompts import Prompt
from limrank_ir.verdict import Reading, Written
from limrank_ir.weights import identity

if TYPE_CHECKING:
    from limrank_ir.engines import Label
    from limrank_ir.engines.vllm_start import Started

T = TypeVar("T")

IN_FLIGHT = 2048  # prompts: more than vLLM runs at the same time, so that none waits for one to be encoded
FIRST = -1  # the priority of forced ends of thoughts, while the keys of their prompts are cached


class VllmEngine:
    """Runs one model with vLLM. It starts with the first prompt.

    Attributes:
        tokens: how many tokens it has read and generated so far, which grows while thoughts run.
    """

    def __init__(
        self,
        model: Model,
        *,
        dtype: str | None = None,
        max_length: int | None = None,
        allow_mismatch: bool = False,
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Choose a model and how to run it.

        Args:
            model: the model (`limrank_ir.models.resolve`).
            dtype: ``"float32"``, ``"bfloat16"``, or ``"float16"``; None or ``"auto"``: float32 on a CPU, bfloat16 on
                a GPU.
            max_length: the maximum number of tokens in a prompt; None: the model's own limit. Longer passages are cut.
            allow_mismatch: load the model even if its adapter names another base model, or if the files hold tensors
                that the model does not use.
            engine_options: options of vLLM by its own names (``tensor_parallel_size``, ``gpu_memory_utilization``,
                ``quantization``, ``enforce_eager``, ...: the fields of its ``EngineArgs``). ``data_parallel_size`` is
                not one of them: in one process, vLLM refuses it (``vllm.LLM``), so start servers for replicas, and give
                their URLs as the engine. Our own ``merge_adapter`` merges the adapter into a copy of the weights in the
                cache (True, the default on a CPU), or leaves it beside them (False, the default on a GPU), which needs
                no copy and is slower. Adapters that vLLM cannot load are always merged.

        Raises:
            InputError: vLLM is not installed, or an option is unknown or has an invalid value.
        """
        need("engine='vllm'", "vllm", "vllm")
        quiet()
        if dtype not in (None, "auto", "float32", "bfloat16", "float16"):
            raise InputError(f"unknown dtype {dtype!r}; vLLM has auto, float32, bfloat16, and float16")
        if max_length is not None and max_length < 1:
            raise InputError(f"max_length is {max_length}; it must be at least 1")
        self.model = model
        self._max_length = max_length
        self._dtype = None if dtype == "auto" else dtype
        self._allow_mismatch = allow_mismatch
        self._options = dict(engine_options or {})
        self._numbers = count()
        self._arrived: dict[str, Any] = {}
        self._counted: dict[str, int] = {}
        self.tokens = 0
        check_options(self._options)

    @cached_property
    def dtype(self) -> str:
        """The precision of the weights and activations."""
        if self._dtype is not None:
            return self._dtype
        from vllm.platforms import current_platform

        if current_platform.is_cpu():
            return "float32"
        return str(current_platform.supported_dtypes[0]).removeprefix("torch.")

    @cached_property
    def max_length(self) -> int:
        """The maximum number of tokens in a prompt with its thought."""
        return context_limit(self.model, self._max_length)

    @cached_property
    def identity(self) -> str:
        """Weights, adapter, vLLM's version, precision, length limit, and vLLM's options, for the store's keys."""
        from vllm.version import __version__

        parts = [identity(self.model.weights)]
        if self.model.adapter is not None:
            parts.append(identity(self.model.adapter))
        parts += [f"vllm={__version__}", self.dtype, f"max_length={self.max_length}", changes(self._options)]
        return " ".join(filter(None, parts))

    @cached_property
    def _started(self) -> Started:
        from limrank_ir.engines.vllm_start import start

        return start(
            self.model,
            model_format(self.model),
            dtype=self.dtype,
            max_length=self.max_length,
            allow_mismatch=self._allow_mismatch,
            options=self._options,
        )

    def read_labels(
        self,
        prompts: Sequence[Prompt],
        labels: Sequence[Label],
        *,
        think: bool,
        budget: int,
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Reading]]]:
        """Read labels, each as soon as vLLM has it (see `limrank_ir.engines.Engine.read_labels`).

        Raises:
            InputError: the model cannot be loaded, a query leaves no room for a passage, two labels begin with the same
                token, or vLLM does not accept a prompt.
            EngineError: vLLM fails, memory runs out, or the model yields NaN.
        """
        if all(index in done for index in range(len(prompts))):
            return
        started = self._started
        fmt, tokenizer = started.fmt, started.tokenizer
        label_ids = tokenizer.label_tokens(labels, fmt.end_of_thought if think else prompts[0].ending)
        ask = read = label_params(label_ids)
        limit = self.max_length
        stops: Sequence[str] = ()
        if think:
            limit, budget = thought_limits(limit, budget)
            stops = fmt.stops(labels)
            ask = text_params(stops, budget, label_ids)

        def take(asked: dict[str, Request], request: Request, output: Any) -> Reading | None:
            if think and request.thought is None:
                thought = ended(output, stops, tokenizer)
                request = replace(request, thought=thought)
                if thought.finish != "verdict":
                    forced = fmt.forced(request.tokens.shown(prompts[request.index]), thought.text)
                    (tokens,) = tokenizer.encode([forced], self.max_length)
                    self._ask(asked, replace(request, tokens=tokens, cut=request.tokens.cut), read, FIRST)
                    return None
            return reading(request, output, label_ids, raw=started.raw)

        yield from self._work(prompts, done, limit, ask, take)

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        budget: int,
        stop: Sequence[str] = (),
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Written]]]:
        """Continue prompts, each as soon as vLLM has its end (see `limrank_ir.engines.Writer.write`).

        Raises:
            InputError: the model cannot be loaded, a query leaves no room for its passages, or vLLM does not accept a
                prompt.
            EngineError: vLLM fails, or memory runs out.
        """
        if all(index in done for index in range(len(prompts))):
            return
        limit, budget = answer_limits(self.max_length, budget)
        tokenizer = self._started.tokenizer

        def take(asked: dict[str, Request], request: Request, output: Any) -> Written:
            return written(request, output, stop, tokenizer)

        yield from self._work(prompts, done, limit, text_params(stop, budget), take)

    def _work(
        self,
        prompts: Sequence[Prompt],
        done: Set[int],
        limit: int,
        params: Any,
        take: Callable[[dict[str, Request], Request, Any], T | None],
    ) -> Iterator[list[tuple[int, T]]]:
        """Hand prompts to vLLM as it has room for them.

        Args:
            prompts: the prompts.
            done: indices to skip.
            limit: the maximum number of tokens in a prompt.
            params: the sampling parameters.
            take: turns an answer into a result, or hands vLLM another request and returns None.

        Yields:
            Batches of (index of the prompt, its result).
        """
        waiting = waves(dict(enumerate(prompts)))
        asked: dict[str, Request] = {}
        try:
            while True:
                while len(asked) < IN_FLIGHT and (wave := next(waiting, None)) is not None:
                    chosen = [index for group in wave for index in group if index not in done]
                    encoded = self._started.tokenizer.encode([prompts[index] for index in chosen], limit)
                    for index, tokens in zip(chosen, encoded, strict=True):
                        self._ask(asked, Request(index, tokens), params)
                if not asked:
                    return
                results = []
                for name, output in self._answers(asked):
                    request = asked.pop(name)
                    if (result := take(asked, request, output)) is not None:
                        results.append((request.index, result))
                if results:
                    yield results
        finally:
            self._abandon(asked)

    def _ask(self, asked: dict[str, Request], request: Request, params: Any, priority: int = 0) -> None:
        """Hand a request to vLLM, and remember it.

        Raises:
            InputError: vLLM does not accept it.
        """
        name = str(next(self._numbers))
        started = self._started
        prompt = {"prompt_token_ids": request.tokens.ids.tolist()}
        try:
            started.engine.add_request(name, prompt, params, lora_request=started.adapter, priority=priority)
        except refusals() as error:
            raise InputError(f"vLLM does not accept a prompt of {len(request.tokens.ids)} tokens ({error})") from error
        asked[name] = request

    def _answers(self, asked: Mapping[str, Request]) -> list[tuple[str, Any]]:
        """Wait for answers to some of these requests. Those to the requests of another call are kept for it.

        Raises:
            EngineError: vLLM failed. It is started again with the next call.
        """
        while not (ready := [name for name in self._arrived if name in asked]):
            try:
                outputs = self._started.engine.step()
            except BaseException as error:  # what it was doing, no one knows, even if it was the user who stopped it
                self._stop()
                if not isinstance(error, Exception):
                    raise
                why = " ".join(str(error).split())[:200] or type(error).__name__
                raise EngineError(f"{self.model.name}: vLLM failed ({why}); run it again to continue") from error
            for output in outputs:
                self._count(output)
                if output.finished:
                    self._arrived[output.request_id] = output
        return [(name, self._arrived.pop(name)) for name in ready]

    def _count(self, output: Any) -> None:
        """Count the tokens of an answer, which grows while a thought runs."""
        name = output.request_id
        tokens = len(output.prompt_token_ids) + len(output.outputs[0].token_ids)
        self.tokens += tokens - self._counted.pop(name, 0)
        if not output.finished:
            self._counted[name] = tokens

    def _abandon(self, asked: Mapping[str, Request]) -> None:
        """Drop requests that no one waits for any more."""
        for name in asked:
            self._arrived.pop(name, None)
            self._counted.pop(name, None)
        if asked and "_started" in self.__dict__:
            self._started.engine.abort_request(list(asked))

    def _stop(self) -> None:
        """Forget a vLLM that failed."""
        self._arrived.clear()
        self._counted.clear()
        started = self.__dict__.pop("_started")
        with suppress(Exception):
            started.engine.engine_core.shutdown()
