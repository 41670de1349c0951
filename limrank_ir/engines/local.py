"""The local engine: a transformers model on this machine's CPU or GPU.

It is fast because the query and its instruction are run once, and all passages share their keys and values; passages
are sorted by length, batched by tokens, and packed without padding; and the vocabulary is looked at once, where the
label stands. A passage's score does not depend on the other passages in its batch (`packed`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from limrank_ir.engines.batching import batches, run_or_halve, shared_length, waves
from limrank_ir.engines.context import context_limit
from limrank_ir.engines.formats import model_format
from limrank_ir.engines.room import free_memory, tokens_that_fit
from limrank_ir.engines.rows import BatchRow, reading_of
from limrank_ir.engines.thoughts import answer_limits, before_stop, thought_limits
from limrank_ir.errors import EngineError, InputError
from limrank_ir.models import PRECISIONS, Model
from limrank_ir.prompts import Prompt
from limrank_ir.verdict import Attended, Finish, Reading, Written
from limrank_ir.weights import identity, locate

if TYPE_CHECKING:
    import torch

    from limrank_ir.engines import Label
    from limrank_ir.engines.loading import LabelScores, Loaded
    from limrank_ir.engines.packed import KeyValues, Packing
    from limrank_ir.engines.thinking import Generated

log = logging.getLogger("limrank_ir")
T = TypeVar("T")

# On a CPU, small batches keep the activations in cache (`limrank bench speed --batch-tokens`).
TOKENS_PER_BATCH = 768
CPU_KEY_VALUE_BYTES = 4 << 30  # for the thoughts that are generated at the same time


class LocalEngine:
    """Runs one model with transformers. The weights load with the first prompt.

    Attributes:
        tokens: how many tokens it has read and generated so far, which grows while thoughts run.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str | None = None,
        dtype: str | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        allow_mismatch: bool = False,
    ) -> None:
        """Choose a model and how to run it.

        Args:
            model: the model (`limrank_ir.models.resolve`).
            device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; None: a GPU if there is one.
            dtype: one of `limrank_ir.models.PRECISIONS` (`limrank_ir.engines.precision`); None: float32 on a CPU,
                bfloat16 on a GPU.
            max_length: the maximum number of tokens in a prompt; None: the model's own limit. Longer passages are cut.
            batch_size: the maximum number of passages in a batch; None: as many as `batch_tokens` allows.
            batch_tokens: the maximum number of tokens in a batch; None: 768 on a CPU, what fits into the free memory of
                a GPU. It is halved when memory runs out.
            allow_mismatch: load the model even if its adapter names another base model, or if the files hold tensors
                that the model does not use.

        Raises:
            InputError: an option has an invalid value.
        """
        if dtype is not None and dtype not in PRECISIONS:
            raise InputError(f"unknown dtype {dtype!r}; choose {', '.join(PRECISIONS)}")
        for name, value in (("max_length", max_length), ("batch_size", batch_size), ("batch_tokens", batch_tokens)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        self.model = model
        self._max_length = max_length
        self._device = device
        self._dtype = dtype
        self._batch_size = batch_size
        self._batch_tokens = batch_tokens
        self._allow_mismatch = allow_mismatch
        self.tokens = 0

    @cached_property
    def device(self) -> torch.device:
        """The device that the model runs on."""
        import torch

        if self._device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self._device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"device {self._device!r} cannot be used ({reason}); try device='cpu'") from error
        return device

    @cached_property
    def precision(self) -> str:
        """``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"int8"``."""
        from limrank_ir.engines.precision import chosen_precision

        return chosen_precision(self._dtype, self.device, locate(self.model.weights))

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights and activations, except for what runs in 8 bits."""
        import torch

        return torch.float32 if self.precision == "int8" else getattr(torch, self.precision)

    @cached_property
    def max_length(self) -> int:
        """The maximum number of tokens in a prompt with its thought."""
        return context_limit(self.model, self._max_length)

    @cached_property
    def identity(self) -> str:
        """Weights, adapter, precision, and length limit, for the store's keys."""
        parts = [identity(self.model.weights)]
        if self.model.adapter is not None:
            parts.append(identity(self.model.adapter))
        return " ".join([*parts, self._precision_here, f"max_length={self.max_length}"])

    @property
    def _precision_here(self) -> str:
        """The precision, and what changes it on this machine."""
        if self.precision != "int8":
            return self.precision
        from limrank_ir.engines.int8 import overflows

        return "int8-without-vnni" if overflows() else "int8"

    @cached_property
    def _loaded(self) -> Loaded:
        from limrank_ir.engines.loading import load

        log.debug("loading %s on %s as %s", self.model.name, self.device, self.precision)
        return load(
            locate(self.model.weights),
            None if self.model.adapter is None else locate(self.model.adapter),
            model_format(self.model),
            self.device,
            self.dtype,
            int8=self.precision == "int8",
            base=self.model.base,
            identity=identity(self.model.weights),
            allow_mismatch=self._allow_mismatch,
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
        """Read labels batch by batch (see `limrank_ir.engines.Engine.read_labels`).

        Raises:
            InputError: the model cannot be loaded, a query leaves no room for a passage, or two labels begin with the
                same token.
            EngineError: memory runs out even for a single passage, or the model yields NaN.
        """
        for wave in waves(dict(enumerate(prompts))):
            if all(index in done for group in wave for index in group):
                continue
            if think:
                yield from self._think(prompts, wave, labels, budget, done)
            else:
                reader = self._reader(labels, prompts[wave[0][0]].ending)
                for rows, scores in self._forward(prompts, wave, done, self.max_length, reader):
                    yield [
                        (row.index, reading_of(values, None, row, 0, "verdict"))
                        for row, values in zip(rows, scores, strict=True)
                    ]

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        budget: int,
        stop: Sequence[str] = (),
        done: Set[int] = frozenset(),
    ) -> Iterator[list[tuple[int, Written]]]:
        """Continue prompts batch by batch (see `limrank_ir.engines.Writer.write`).

        Raises:
            InputError: the model cannot be loaded, or a query leaves no room for its passages.
            EngineError: memory runs out even for a single prompt.
        """
        limit, budget = answer_limits(self.max_length, budget)
        for wave in waves(dict(enumerate(prompts))):
            if all(index in done for group in wave for index in group):
                continue
            generator = self._generator(stop, budget)
            for rows, generated in self._forward(prompts, wave, done, limit, generator, growth=budget):
                yield [
                    (row.index, Written(made.text, len(row.tokens.ids), made.tokens, made.finish, row.tokens.cut))
                    for row, made in zip(rows, generated, strict=True)
                ]

    def attend(
        self, pairs: Sequence[tuple[Prompt, Prompt]], *, done: Set[int] = frozenset()
    ) -> Iterator[list[tuple[int, Attended]]]:
        """Score passages by attention, prompt by prompt (see `limrank_ir.engines.Attender.attend`).

        Raises:
            InputError: the model cannot be loaded, or a query leaves no room for its passages.
            EngineError: memory runs out, or the model yields NaN.
        """
        from limrank_ir.engines.attending import attended
        from limrank_ir.engines.out_of_memory import within_memory

        for index, (asked, neutral) in enumerate(pairs):
            if index in done:
                continue
            with within_memory(f"attention on {self.device}", "show fewer passages at a time, or lower max_length"):
                found = attended(self._loaded, asked, neutral, limit=self.max_length, step=self._tokens_per_batch)
            self._count(found.prompt_tokens)
            yield [(index, found)]

    def _count(self, tokens: int) -> None:
        self.tokens += tokens

    def _generator(
        self, stops: Sequence[str], budget: int, label_tokens: Sequence[int] = ()
    ) -> Callable[[torch.Tensor, Packing], list[Generated]]:
        """What continues prompts from their last hidden states."""
        from limrank_ir.engines.thinking import generate

        def run(hidden: torch.Tensor, packing: Packing) -> list[Generated]:
            return generate(self._loaded, hidden, packing, stops, budget, self._count, label_tokens=label_tokens)

        return run

    def _reader(self, labels: Sequence[Label], before: str) -> Callable[[torch.Tensor, Packing], list[LabelScores]]:
        """What reads labels from the last hidden states of prompts that end at the label position."""
        loaded = self._loaded
        tokens = loaded.tokenizer.label_tokens(labels, before)
        return lambda hidden, packing: loaded.read(hidden, tokens)

    def _think(
        self, prompts: Sequence[Prompt], wave: list[list[int]], labels: Sequence[Label], budget: int, done: Set[int]
    ) -> Iterator[list[tuple[int, Reading]]]:
        """Let the model think about the prompts of a wave, and force a label where it gives none."""
        limit, budget = thought_limits(self.max_length, budget)
        stops, before = self._loaded.fmt.stops(labels), self._loaded.fmt.end_of_thought
        label_tokens = self._loaded.tokenizer.label_tokens(labels, before)
        think = self._generator(stops, budget, label_tokens)
        for rows, generated in self._forward(prompts, wave, done, limit, think, growth=budget):
            readings: list[tuple[int, Reading]] = []
            unfinished: dict[int, tuple[BatchRow, str, int, Finish]] = {}
            for row, made in zip(rows, generated, strict=True):
                if made.scores is None:
                    finish: Finish = "budget" if made.finish == "budget" else "eos"
                    unfinished[row.index] = (row, made.text.strip(), made.tokens, finish)
                else:
                    reading = reading_of(made.scores, before_stop(made.text, stops), row, made.tokens, "verdict")
                    readings.append((row.index, reading))
            forced = {
                index: self._loaded.fmt.forced(row.tokens.shown(prompts[index]), thought)
                for index, (row, thought, *_) in unfinished.items()
            }
            for forced_wave in waves(forced):
                for ends, scores in self._forward(
                    forced, forced_wave, frozenset(), self.max_length, self._reader(labels, before)
                ):
                    for end, values in zip(ends, scores, strict=True):
                        row, thought, tokens, finish = unfinished[end.index]
                        readings.append((end.index, reading_of(values, thought, end, tokens, finish, row.tokens.cut)))
            yield readings

    def _forward(
        self,
        prompts: Mapping[int, Prompt] | Sequence[Prompt],
        wave: list[list[int]],
        done: Set[int],
        limit: int,
        then: Callable[[torch.Tensor, Packing], list[T]],
        *,
        growth: int = 0,
    ) -> Iterator[tuple[list[BatchRow], list[T]]]:
        """Run a wave: the shared prefixes once, then the rest of each prompt, batch by batch.

        Args:
            prompts: the prompts by index.
            wave: the groups of indices to run.
            done: indices to skip.
            limit: the maximum number of tokens in a prompt.
            then: turns the last hidden states of a batch and its layout into one result per row. If it runs out of
                memory, the batch is halved.
            growth: the number of tokens that `then` may generate for each row. If it is not 0, layouts keep their
                keys and values, and batches leave enough memory for those of the generated tokens.

        Yields:
            (rows, their results).
        """
        from limrank_ir.engines.packed import Packing

        loaded = self._loaded
        rows, prefixes = self._share_prefixes(prompts, wave, limit)

        def run(part: list[int]) -> tuple[list[BatchRow], list[T]]:
            chosen = [rows[position] for position in part]
            ids, spans = [row.tokens.ids[-row.own :] for row in chosen], [row.span for row in chosen]
            if loaded.int8 is not None and not growth and min(map(len, ids)) > 1:
                hidden, packing = loaded.run_int8(ids, spans, prefixes)
            else:
                packing = Packing(list(map(len, ids)), spans, prefixes, device=loaded.device, keep=growth > 0)
                hidden = loaded.run(ids, packing)
            self._count(sum(row.own for row in chosen))
            return chosen, then(hidden, packing)

        most = self._batch_size or len(rows)
        if growth:
            most = min(most, self._rows_that_fit(max(len(row.tokens.ids) for row in rows) + growth))
        # Form the batches from all rows and drop those in `done` afterwards: a resumed run then has the same batches.
        for batch in batches([row.own for row in rows], self._tokens_per_batch, most):
            if wanted := [position for position in batch if rows[position].index not in done]:
                yield from self._halved(wanted, run)

    def _share_prefixes(
        self, prompts: Mapping[int, Prompt] | Sequence[Prompt], wave: list[list[int]], limit: int
    ) -> tuple[list[BatchRow], KeyValues | None]:
        """Encode the prompts of a wave, and run the prefix that the prompts of each query share."""
        from limrank_ir.engines.packed import KeyValues, Packing

        loaded = self._loaded
        rows: list[BatchRow] = []
        heads = []
        offset = 0
        for group in wave:
            encoded = loaded.tokenizer.encode([prompts[index] for index in group], limit)
            shared = shared_length([tokens.ids for tokens in encoded])
            if shared:
                heads.append(encoded[0].ids[:shared])
            rows += [
                BatchRow(index, tokens, (offset, offset + shared)) for index, tokens in zip(group, encoded, strict=True)
            ]
            offset += shared
        if not heads:
            return rows, None
        parts: list[KeyValues] = []

        def run(part: list[int]) -> KeyValues:
            packing = Packing([len(heads[position]) for position in part], device=loaded.device, keep=True)
            loaded.run([heads[position] for position in part], packing)
            self._count(sum(len(heads[position]) for position in part))
            assert packing.kept is not None
            return packing.kept

        step = max(1, self._tokens_per_batch // max(map(len, heads)))
        for start in range(0, len(heads), step):
            batch = list(range(start, min(start + step, len(heads))))
            parts += self._halved(batch, run)
        return rows, KeyValues.join(parts)

    @property
    def _tokens_per_batch(self) -> int:
        if self._batch_tokens is None:
            model, free = self._loaded.model, free_memory(self.device)
            fit = TOKENS_PER_BATCH if free is None else tokens_that_fit(free, model.config, model.dtype.itemsize)
            self._batch_tokens = fit
        return self._batch_tokens

    def _halved(self, batch: list[int], run: Callable[[list[int]], T]) -> Iterator[T]:
        """Run a batch, in halves if memory runs out. The batches that follow are then smaller, too."""
        from limrank_ir.engines.out_of_memory import out_of_memory

        def shrink(error: Exception) -> bool:
            if not out_of_memory(error):
                return False
            self._batch_tokens = max(1, self._tokens_per_batch // 2)
            log.warning("out of memory on %s: continuing with batches of %d tokens", self.device, self._batch_tokens)
            return True

        try:
            yield from run_or_halve(batch, run, shrink)
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise EngineError(
                f"out of memory on {self.device} even for a single passage; lower max_length (now {self.max_length})"
            ) from error

    def _rows_that_fit(self, tokens: int) -> int:
        """How many thoughts may be generated at the same time: on a GPU, they get half of the free memory."""
        free = free_memory(self.device)
        room = CPU_KEY_VALUE_BYTES if free is None else free // 2
        return max(1, room // (tokens * self._loaded.key_value_bytes()))
