"""``limrank rerank``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.cli.asking import judged
from limrank_ir.cli.by_ranker import read_ranker, rerank_by
from limrank_ir.cli.passages import passages
from limrank_ir.errors import InputError
from limrank_ir.formats.output import STDOUT, check_places, output_name, save_run, write_json
from limrank_ir.formats.words import duration
from limrank_ir.models import DEFAULT

if TYPE_CHECKING:
    from limrank_ir.reranker import LimRank


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
    ranker: o.RankerName = None,
    set_format: o.SetFormats = None,
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
    With --ranker, the model is asked in another way, such as which of several documents is the best; the scores in the
    run are then those of that ranker, or keep its order.

    For example:

        limrank rerank --run bm25.txt --topics topics.tsv --corpus corpus.jsonl \
            --store verdicts.db -o reranked.txt

    With --store, repeat the command after an interruption: it continues where it stopped, and the result is the same
    as without the interruption.
    """
    from limrank_ir.cli.fusing import read_fusing
    from limrank_ir.formats.trec import check_writable
    from limrank_ir.rankers.fit import engine_ask
    from limrank_ir.ranking import candidates
    from limrank_ir.ranking.fusion import weights_text
    from limrank_ir.ranking.windows import windows
    from limrank_ir.reranker import LimRank

    check_writable("--tag", "tag", tag)
    chosen = read_ranker(
        ranker,
        set_format,
        {
            "--fuse": fuse,
            "--fuse-weight": fuse_weight,
            "--fuse-with": fuse_with,
            "--fuse-weights": fuse_weights,
            "--explain": explain,
            "--window": window,
            "--stride": stride,
            "--ray": ray,
        },
    )
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
    ask = None if chosen is None else engine_ask(limrank, chosen, set_format or ())
    fusing = read_fusing(run, others, option, fuse_weights, limrank.model, device)
    found = candidates.read_candidates(run, topics, passages(corpus, index), k=k, exclude=exclude, windows=split)
    if chosen is not None and ask is not None:
        rerank_by(ask, chosen, found, output, tag=tag, as_json=as_json)
        return
    other_scores = fusing.scores(found)
    ranking = found.ranking(judged(limrank, found.pairs()), fusing.weights, other_scores)
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
