"""``limrank rerank``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.cli.passages import passages
from limrank_ir.errors import InputError
from limrank_ir.formats.output import STDOUT, check_places, output_name, save_run, write_json
from limrank_ir.formats.words import duration
from limrank_ir.models import DEFAULT

if TYPE_CHECKING:
    from limrank_ir.reranker import LimRank
    from limrank_ir.verdict import Verdict


def rerank(
    run: o.RunFile,
    topics: o.TopicsFile,
    output: o.OutputFile,
    corpus: o.OptionalCorpusFile = None,
    index: o.IndexFolder = None,
    model: o.ModelName = DEFAULT,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormatName = None,
    think: o.ThinkMode = None,
    think_top: o.ThinkTop = None,
    think_margin: o.ThinkMargin = None,
    budget: o.Budget = 8192,
    k: o.Depth = 100,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="BRIGHT task whose prompt is wrapped around each query.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSONL to write: score, probability, reasoning per document.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File that keeps verdicts, so they are computed only once.")
    ] = None,
    exclude: o.ExcludeFile = None,
    window: o.Window = None,
    stride: o.Stride = None,
    fuse: o.Fuse = False,
    fuse_weight: o.FuseWeight = None,
    fuse_with: o.FuseWith = None,
    fuse_weights: o.FuseWeights = None,
    engine: o.Engine = None,
    engine_option: o.EngineOption = None,
    device: o.Device = None,
    dtype: o.DtypeName = None,
    max_length: o.MaxLength = None,
    batch_size: o.BatchSize = None,
    allow_mismatch: o.AllowMismatch = False,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: local (this machine), auto, or host:6379.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Ray: engines.  [default: one per GPU, or per machine]")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0.0, metavar="X", help="Ray: GPUs of each engine; 0.5 shares one.")
    ] = None,
    tag: o.Tag = "limrank",
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    r"""Rerank a TREC run: a run, topics and a corpus in, a better run out.

    The model reads the best k documents of each query and ranks them by its verdicts; the others are left out.
    With --window, long documents are read to the end, and each is as relevant as its best window.
    With --fuse, documents are ranked by w z(log-odds) + (1 - w) z(run score), with z-scores over the k documents;
    --fuse-with adds other runs, or MiniLM's scores of the passages. A document that a run lacks has its lowest score.

    For example:

        limrank rerank --run bm25.txt --topics topics.tsv --corpus corpus.jsonl \
            --store verdicts.db -o reranked.txt

    With --store, repeat the command after an interruption: it continues where it stopped, and the result is the same
    as without the interruption.
    """
    from limrank_ir.cli.fusing import read_fusing
    from limrank_ir.formats.trec import check_writable
    from limrank_ir.ranking import candidates
    from limrank_ir.ranking.fusion import weights_text
    from limrank_ir.ranking.windows import windows
    from limrank_ir.reranker import LimRank

    check_writable("--tag", "tag", tag)
    split = windows(window, stride)
    make = LimRank if ray is None else _on_ray(ray, workers, gpus_per_worker)
    if ray is None and (workers is not None or gpus_per_worker is not None):
        raise InputError("--workers and --gpus-per-worker have no effect without --ray; give --ray local")
    limrank = make(
        model,
        adapter=adapter,
        prompt_format=prompt_format,
        think=think,
        think_top=think_top,
        think_margin=think_margin,
        budget=budget,
        task=task,
        store=store,
        engine=engine,
        engine_options=o.engine_options(engine_option),
        device=device,
        dtype=dtype,
        max_length=max_length,
        batch_size=batch_size,
        allow_mismatch=allow_mismatch or None,
    )
    if fuse_weight is not None and fuse_weights is not None:
        raise InputError("--fuse-weight and --fuse-weights: give one of them")
    others = fuse_with or []
    check_places(
        {"-o": output, "--explain": explain, "--store": store, "--json": STDOUT if as_json else None},
        {"--run": run, "--topics": topics, "--corpus": corpus, "--exclude": exclude}
        | {f"--fuse-with {name}": Path(name) for name in others},
    )
    option = fuse if fuse_weight is None else fuse_weight
    fusing = read_fusing(run, others, option, fuse_weights, limrank.model, device)
    found = candidates.read_candidates(run, topics, passages(corpus, index), k=k, exclude=exclude, windows=split)
    other_scores = fusing.scores(found)
    ranking = found.ranking(_judged(limrank, found.pairs()), fusing.weights, other_scores)
    if explain is not None:
        candidates.write_explanations(explain, ranking)
    save_run(output, candidates.scores(ranking), tag)
    done = limrank.stats
    documents = sum(map(len, ranking.values()))
    in_windows = "" if split is None else f" in {done.pairs} windows"
    weights = fusing.named(run)
    fused = "" if weights is None else f", fused ({weights_text(weights)}),"
    console.log.info(
        f"{documents} documents{in_windows} of {len(ranking)} queries reranked by {limrank.model.name}{fused} "
        f"in {duration(done.seconds)} ({done.judged} judged, {done.stored} from the store), "
        f"written to {output_name(output)}"
    )
    if as_json:
        summary = {"run": str(output), "model": limrank.model.name, "think": limrank.think, "fuse": weights}
        write_json({**summary, "queries": len(ranking), **done.figures()})


def _on_ray(address: str, count: int | None, gpus: float | None) -> Callable[..., LimRank]:
    """What makes a reranker that runs on Ray."""
    from limrank_ir.ray import Workers, on_ray

    return partial(on_ray, address=address, workers=Workers(count, gpus))


def _judged(limrank: LimRank, pairs: Sequence[tuple[str, str, str | None]]) -> list[Verdict]:
    """Judge with a progress bar; after Ctrl-C, the error says what was kept."""
    done = 0

    def count_and_advance(count: int) -> None:
        nonlocal done
        done += count
        advance(count)

    store = limrank.store  # opened now, so that an unusable store is reported before the model loads
    try:
        with console.progress(limrank.model.name, len(pairs), "pairs", _tokens_per_second(limrank)) as advance:
            return limrank.judge(pairs, progress=count_and_advance)
    except KeyboardInterrupt:
        kept = "nothing was kept; use --store FILE to make a run resumable"
        if store is not None:
            kept = f"{done} verdicts are in {store.path}; run the same command again to continue"
        raise KeyboardInterrupt(f"interrupted after {done} of {len(pairs)} pairs; {kept}") from None


def _tokens_per_second(limrank: LimRank) -> Callable[[], str]:
    """What says how fast tokens are read and generated, also while no thought is finished."""
    started = time.monotonic()

    def rate() -> str:
        tokens = limrank.tokens / (time.monotonic() - started)
        return f"{tokens:,.0f} tokens/s" if tokens else ""

    return rate
