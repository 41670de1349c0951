"""``limrank cost``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.cli.passages import passages
from limrank_ir.errors import InputError
from limrank_ir.formats.output import write_json, write_stdout
from limrank_ir.models import DEFAULT, PromptFormatName

if TYPE_CHECKING:
    from limrank_ir.cost import Range
    from limrank_ir.reranker import LimRank


def cost(
    run: o.RunFile,
    topics: o.TopicsFile,
    corpus: o.OptionalCorpusFile = None,
    index: o.IndexFolder = None,
    model: o.ModelName = DEFAULT,
    prompt_format: o.PromptFormatName = None,
    k: o.Depth = 100,
    exclude: o.ExcludeFile = None,
    window: o.Window = None,
    stride: o.Stride = None,
    max_length: o.MaxLength = None,
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verdicts with thoughts on some of these pairs: their length.")
    ] = None,
    budget: o.Budget = 8192,
    thought_tokens: Annotated[
        float | None, typer.Option(min=1, metavar="N", help="Tokens of a thought.  [default: the store's, or assumed]")
    ] = None,
    read_rate: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="Your machine: prompt tokens per second.")
    ] = None,
    thought_rate: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="Your machine: generated tokens per second.")
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, metavar="X", help="Price of a machine for an hour, in any currency.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Count with this model's tokenizer: an estimate.")
    ] = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    r"""Say what a run will cost before it starts: tokens, hours, and money.

    Tokens are counted with the model's tokenizer, a query's shared prefix once. Times are for one machine; they are
    ranges, because rates and the length of thoughts are. Nothing is judged.

    For example:

        limrank cost --run bm25.txt --topics topics.tsv --corpus corpus.jsonl -k 100 --price-per-hour 2.50
    """
    from limrank_ir import cost as costs
    from limrank_ir.models import resolve
    from limrank_ir.ranking import candidates
    from limrank_ir.ranking.windows import windows
    from limrank_ir.reranker import LimRank

    if (read_rate is None) != (thought_rate is None):
        raise InputError("--read-rate and --thought-rate belong together; give both, measured on your machine")
    split = windows(window, stride)
    limrank = LimRank(model, prompt_format=prompt_format, think="never")
    found = candidates.read_candidates(run, topics, passages(corpus, index), k=k, exclude=exclude, windows=split)
    pairs = list(dict.fromkeys(found.pairs()))
    encode = costs.tokenizer_of(limrank.model, limrank.model if tokenizer is None else resolve(tokenizer))
    limit = min(max_length or limrank.model.context, limrank.model.context)
    with console.progress("counting", len(pairs), "pairs") as advance:
        work = costs.count([limrank.prompt(*pair) for pair in pairs], encode, limit, advance)
    thinker = _thinker(model, prompt_format, budget)
    modes = costs.MODES if thinker is not None else costs.MODES[:1]
    thought, thought_source = _thought(thinker, pairs, thought_tokens, store)
    size = limrank.model.parameters
    rates = [rate.scaled(size) for rate in costs.known_rates().values() if rate.holds(size)] if size else []
    if read_rate is not None and thought_rate is not None:
        own = costs.Range(read_rate, read_rate), costs.Range(thought_rate, thought_rate)
        rates = [costs.Rate("yours", "", "your machine", size or 0, *own, "--read-rate, --thought-rate")]
    if not rates:
        raise InputError(f"{model}: no rates are known for a model of its size; give --read-rate and --thought-rate")
    times = {rate.name: {mode: costs.seconds(work, mode, rate, thought) for mode in modes} for rate in rates}
    if as_json:
        write_json(
            {
                "model": limrank.model.name,
                **dataclasses.asdict(work),
                "tokenizer": tokenizer or limrank.model.name,
                "thought_tokens": thought,
                "thought_source": thought_source,
                "passages_that_auto_thinks_about": costs.AUTO,
                "rates": [dataclasses.asdict(rate) for rate in rates],
                "hours": _each(times, 1 / 3600),
                "price": None if price_per_hour is None else _each(times, price_per_hour / 3600),
            }
        )
        return
    about = "" if tokenizer is None else f" (an estimate, with the tokenizer of {tokenizer})"
    write_stdout(
        f"{work.pairs:,} pairs of {work.queries:,} queries, {work.prompt_tokens:,} prompt tokens{about}; "
        f"{work.read_tokens:,} are read, as the passages of a query share its prefix; {work.cut:,} passages are cut\n"
        f"a thought has {_span(thought)} tokens ({thought_source}); auto thinks about {_span(costs.AUTO)} passages of "
        "a query (assumed)\n"
    )
    rows = [
        [rate.name, rate.hardware, *(_cell(times[rate.name][mode], price_per_hour) for mode in modes)] for rate in rates
    ]
    console.table([f"{limrank.model.name} on", "hardware", *modes], rows, left=2)
    for rate in rates:
        write_stdout(f"{rate.name}: {rate.source}\n")


def _thinker(model: str, prompt_format: PromptFormatName | None, budget: int) -> LimRank | None:
    """The same model with thoughts, or None if it was not trained to think."""
    from limrank_ir.reranker import LimRank

    try:
        return LimRank(model, prompt_format=prompt_format, think="always", budget=budget)
    except InputError:
        return None


def _thought(
    thinker: LimRank | None, pairs: Sequence[tuple[str, str, str | None]], given: float | None, store: Path | None
) -> tuple[Range, str]:
    """The tokens of a thought, and where they are from."""
    from limrank_ir import cost as costs
    from limrank_ir.store import VerdictStore

    if given is not None:
        return costs.Range(given, given), "--thought-tokens"
    if thinker is None or store is None:
        return costs.THOUGHT, "assumed: --thought-tokens, or --store after a small run, knows better"
    if not store.exists():
        raise InputError(f"--store {store}: no such file; leave it out, or rerank a few of these pairs with it first")
    known = VerdictStore(store).get(thinker.keys([thinker.prompt(*pair) for pair in pairs]))
    if not known:
        raise InputError(
            f"--store {store}: has no thoughts of {thinker.model.name} on these pairs; run some of them first"
        )
    mean = sum(verdict.reasoning_tokens for verdict in known.values()) / len(known)
    return costs.Range(mean, mean), f"mean of {len(known):,} in {store}"


def _each(times: Mapping[str, Mapping[str, Range]], factor: float) -> dict[str, dict[str, list[float]]]:
    """All times in another unit, by rate and mode, with three digits."""
    return {
        name: {mode: [float(f"{value * factor:.3g}") for value in span] for mode, span in row.items()}
        for name, row in times.items()
    }


def _span(span: Range, digits: int = 2) -> str:
    """A range with as many digits as it deserves: ``1.2-2.4``."""
    low, high = (f"{float(f'{value:.{digits}g}'):,.10g}" for value in span)
    return low if low == high else f"{low}-{high}"


def _cell(span: Range, price: float | None) -> str:
    """A time and its price: ``1.2-2.4 h, 3-6``."""
    from limrank_ir.cost import Range

    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    unit = next((unit for unit, size in units.items() if span.high >= 2 * size), "s")
    cell = f"{_span(Range(*(value / units[unit] for value in span)))} {unit}"
    if price is None:
        return cell
    return f"{cell}, {_span(Range(*(value / 3600 * price for value in span)))}"
