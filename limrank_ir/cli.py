"""The command line: ``limrank``. What the commands do is in the modules that they call."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from limrank_ir import __version__, console
from limrank_ir import options as o
from limrank_ir.errors import LimRankError
from limrank_ir.model_table import hardware, model_table
from limrank_ir.models import DEFAULT, MODELS
from limrank_ir.output import STDOUT, check_places, named, save_run, some, write_json, write_stdout

if TYPE_CHECKING:
    from limrank_ir.candidates import Texts
    from limrank_ir.reranker import LimRank
    from limrank_ir.verdict import Verdict

app = typer.Typer(
    cls=console.Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        write_stdout(f"limrank-ir {__version__}\n")
        raise typer.Exit


@app.callback()
def _limrank(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Rerank passages with a language model that reads, may reason, and says how relevant each one is.

    The usual way is `retrieve`, `rerank`, `eval`. To see it work at once: `limrank demo`.

    Results go to stdout or to files, notes and progress to stderr.

    Exit status: 0 success; 2 wrong usage or input; 1 any other failure; 130 Ctrl-C.
    """


@app.command()
def rerank(
    run: o.Run,
    topics: o.Topics,
    output: o.Out,
    corpus: o.CorpusOrIndex = None,
    index: o.Index = None,
    model: o.ModelName = DEFAULT,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormat = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    k: o.Depth = 100,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="BRIGHT task whose query prompt is put around every query.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSONL with score, probability and reasoning of each document.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps verdicts: what is in it is not computed again.")
    ] = None,
    exclude: o.Exclude = None,
    fuse: o.Fuse = False,
    fuse_weight: o.FuseWeight = None,
    device: o.Device = None,
    dtype: o.Dtype = None,
    max_length: o.MaxLength = None,
    batch_size: o.BatchSize = None,
    tag: o.Tag = "limrank",
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    r"""Rerank a TREC run: a run, topics and a corpus in, a better run out.

    The best k documents of each query are read by the model and ranked by its verdicts; the others are left out.
    With --fuse they are ranked by w z(log-odds) + (1 - w) z(score in the run), z-scores over the k documents.

    For example:

        limrank rerank --run bm25.txt --topics topics.tsv --corpus corpus.jsonl \
            --store verdicts.db -o reranked.txt

    With --store, a run that was stopped goes on where it was when the same command is given again, and its result is
    that of a run that was never stopped.
    """
    from limrank_ir import candidates
    from limrank_ir.fusion import fusion_weight
    from limrank_ir.reranker import LimRank
    from limrank_ir.trec import check_writable

    check_writable("--tag", "tag", tag)
    limrank = LimRank(
        model,
        adapter=adapter,
        prompt_format=prompt_format,
        think=think,
        budget=budget,
        task=task,
        store=store,
        device=device,
        dtype=dtype,
        max_length=max_length,
        batch_size=batch_size,
    )
    weight = fusion_weight(fuse if fuse_weight is None else fuse_weight, limrank.model.fuse)
    check_places(
        {"-o": output, "--explain": explain, "--store": store, "--json": STDOUT if as_json else None},
        {"--run": run, "--topics": topics, "--corpus": corpus, "--exclude": exclude},
    )
    found = candidates.read_candidates(run, topics, _texts(corpus, index), k=k, exclude=exclude)
    ranking = found.ranking(_judged(limrank, found.pairs()), weight)
    if explain is not None:
        candidates.write_explanations(explain, ranking)
    save_run(output, candidates.scores(ranking), tag)
    done = limrank.last_run
    fused = "" if weight is None else f", fused with the run's scores (weight {weight:g}),"
    console.log.info(
        "%d documents of %d queries reranked by %s%s in %s (%d judged, %d from the store), written to %s",
        *(done.pairs, len(ranking), limrank.model.name, fused),
        *(console.duration(done.seconds), done.judged, done.stored, named(output)),
    )
    if as_json:
        summary = {"run": str(output), "model": limrank.model.name, "think": limrank.think, "fuse": weight}
        write_json({**summary, "queries": len(ranking), **dataclasses.asdict(done)})


def _texts(corpus: Path | None, index: Path | None) -> Texts:
    """Where the passages come from: the one of the two that is given."""
    if index is not None and corpus is None:
        from limrank_ir.pyserini import index_texts

        return index_texts(index)
    if corpus is None or index is not None:
        raise LimRankError("where are the passages? Give one of --corpus and --index")
    from limrank_ir.corpus import read_passages

    return functools.partial(read_passages, corpus)


def _judged(limrank: LimRank, pairs: Sequence[tuple[str, str, str | None]]) -> list[Verdict]:
    """Judge with a bar; what Ctrl-C leaves is said in its error."""
    done = 0

    def arrived(count: int) -> None:
        nonlocal done
        done += count
        advance(count)

    opened = limrank.store  # now: a store that cannot be used shall be known before the model loads
    try:
        with console.progress(limrank.model.name, len(pairs), "pairs") as advance:
            return limrank.judge(pairs, progress=arrived)
    except KeyboardInterrupt:
        kept = "nothing was kept; with --store FILE a second run would go on from here"
        if opened is not None:
            kept = f"{done} verdicts are in {opened.path}; give the same command again to go on"
        raise KeyboardInterrupt(f"interrupted after {done} of {len(pairs)} pairs; {kept}") from None


@app.command()
def retrieve(
    context: typer.Context,
    corpus: o.Corpus,
    topics: o.Topics,
    output: o.Out,
    k: o.Depth = 100,
    method: Annotated[
        Literal["bm25", "dense", "hybrid"], typer.Option(help="By words, by embeddings, or both fused by their ranks.")
    ] = "bm25",
    index: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the index here, and use it when it is there.")
    ] = None,
    stemmer: Annotated[Literal["porter2", "none"], typer.Option(help="BM25: how words are cut to stems.")] = "porter2",
    k1: Annotated[
        float, typer.Option(min=0.0, metavar="X", help="BM25: how soon repeating a word stops counting.")
    ] = 0.9,
    b: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="X", help="BM25: how much length counts against a passage.")
    ] = 0.4,
    encoder: Annotated[
        str, typer.Option(metavar="NAME", help="Dense: minilm, or a sentence-transformers folder or hub id.")
    ] = "minilm",
    hnsw: Annotated[bool, typer.Option("--hnsw", help="Dense: search an HNSW graph; faster, approximate.")] = False,
    device: o.Device = None,
    tag: Annotated[
        str | None, typer.Option(metavar="NAME", help="The run's last column.  [default: the method]")
    ] = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Find candidates with BM25 or embeddings: a corpus and topics in, a TREC run out.

    BM25 is PISA's, without Java; it knows Latin letters and digits, accents are taken off, other scripts are not
    found. Dense is pyterrier_dr's index with Faiss. Hybrid is reciprocal rank fusion of the two.

    For example:

        limrank retrieve --corpus corpus.jsonl --topics topics.tsv -o bm25.txt
    """
    from limrank_ir.dense import Dense
    from limrank_ir.first_stage import check, first_stage
    from limrank_ir.retrieve import Bm25
    from limrank_ir.trec import check_writable, read_topics

    others = {"bm25": ("encoder", "hnsw", "device"), "dense": ("stemmer", "k1", "b")}.get(method, ())
    for name in others:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise LimRankError(f"--{name} has no meaning for --method {method}; leave it out, or choose another method")
    check(method)
    tag = method if tag is None else tag
    check_writable("--tag", "tag", tag)
    check_places({"-o": output, "--json": STDOUT if as_json else None}, {"--corpus": corpus, "--topics": topics})
    known = read_topics(topics)
    for qid in known:
        check_writable(topics, "qid", qid)
    settings = Bm25(stemmer, k1, b), Dense(encoder, hnsw, device)
    run = first_stage(corpus, list(known.values()), method, *settings, k=k, index=index)
    if empty := [qid for qid, found in run.items() if not found]:
        if len(empty) == len(run):
            raise LimRankError(
                f"{topics}: no query shares a word with a passage of {corpus}; are they of one language?"
            )
        console.log.warning("%d of %d queries match nothing and have no lines (%s)", len(empty), len(run), some(empty))
    save_run(output, run, tag)
    count = sum(map(len, run.values()))
    console.log.info("%d documents of %d queries written to %s", count, len(run) - len(empty), named(output))
    if as_json:
        write_json({"run": str(output), "queries": len(run), "documents": count, "without_match": empty})


@app.command("eval")
def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="TREC runs; the first is the baseline.")],
    qrels: Annotated[
        Path, typer.Option("--qrels", metavar="FILE", help="Judgments: qid 0 docno grade, or a BEIR folder.")
    ],
    measures: Annotated[
        str, typer.Option("--measures", "-m", metavar="NAMES", help="Measures as ir_measures names them.")
    ] = "nDCG@10 RR@10 R@100",
    per_query: Annotated[bool, typer.Option("--per-query", help="Also print the value of every query.")] = False,
    significance: Annotated[
        bool, typer.Option("--significance", help="p-values against the first run: paired t-tests, Holm's correction.")
    ] = False,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Score runs against judgments.

    A query of the judgments that a run does not have counts as 0. Grades below 0 take a document out of the ranking.
    Equal scores are ranked as trec_eval does it.

    For example:

        limrank eval --qrels qrels.txt bm25.txt reranked.txt --significance
    """
    from limrank_ir import evaluate as scoring

    if significance and len(runs) < 2:
        raise LimRankError("--significance compares runs with the first one; give at least two")
    found = scoring.evaluate(qrels, runs, scoring.parse_measures(measures))
    p_values = scoring.significance(found) if significance else []
    if as_json:
        write_json(scoring.as_json(found, p_values, per_query=per_query))
        return
    if per_query:
        console.table(*scoring.query_table(found), left=2)
        write_stdout("\n")
    console.table(*scoring.mean_table(found, p_values))


@app.command()
def judge(
    query: Annotated[str, typer.Argument(help="The query.")],
    passage: Annotated[str, typer.Argument(help="The passage; - reads it from stdin.")],
    instruction: Annotated[
        str | None, typer.Option("--instruction", "-i", metavar="TEXT", help="What counts as relevant, in your words.")
    ] = None,
    model: o.ModelName = DEFAULT,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormat = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    device: o.Device = None,
    dtype: o.Dtype = None,
    max_length: o.MaxLength = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    r"""Judge one passage: is it relevant to the query, how surely, and why.

    For example:

        limrank judge "how do I copy a file?" \
            "shutil.copy(src, dst) copies the file src." --think always
    """
    from limrank_ir.candidates import explained
    from limrank_ir.reranker import LimRank

    passage = _passage(passage)
    limrank = LimRank(
        model,
        adapter=adapter,
        prompt_format=prompt_format,
        think=think,
        budget=budget,
        device=device,
        dtype=dtype,
        max_length=max_length,
    )
    with console.progress(limrank.model.name, 1, "pairs") as advance:
        (verdict,) = limrank.judge([(query, passage, instruction)], progress=advance)
    label = "true" if verdict.log_odds > 0 else "false"
    if as_json:
        write_json({"verdict": label, "model": limrank.model.name, **explained(verdict)})
        return
    if verdict.reasoning:
        write_stdout(f"{verdict.reasoning.strip()}\n\n")
    write_stdout(f"{label}  (probability of true {verdict.probability:.4f}, log-odds {verdict.log_odds:+.4f})\n")


def _passage(text: str) -> str:
    """The passage that is meant: ``-`` is stdin."""
    if text == "-":
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise LimRankError(f"stdin: not UTF-8 (byte {error.object[error.start]:#04x}); convert it first") from error
    if not text.strip():
        raise LimRankError("the passage is empty; give its text, or - and the text on stdin")
    return text


@app.command("models")
def list_models(as_json: o.Json = False) -> None:
    """List the models that are known by name; folders and hub ids work, too.

    For example:

        limrank models
    """
    if as_json:
        write_json([{**dataclasses.asdict(model), "hardware": hardware(model)} for model in MODELS.values()])
    else:
        console.table(*model_table(), left=6)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the runs and the report go.")
    ] = Path("limrank-demo"),
    k: o.Depth = 10,
    queries: Annotated[int, typer.Option(min=1, metavar="N", help="How many of the 100 queries.")] = 60,
    model: o.ModelName = DEFAULT,
    think: o.ThinkMode = None,
    quiet: o.Quiet = False,
) -> None:
    """Search Python's own documentation, rerank what was found, and show what that changed.

    Needs no data and no GPU, and takes some minutes.

    For example:

        limrank demo
    """
    from limrank_ir.retrieve import check_pisa

    check_pisa("demo")
    from limrank_ir.demo.run import run_demo

    run_demo(out, k=k, count=queries, model=model, think=think, quiet=quiet)


class _Bench(console.Lazy):
    module = "limrank_ir.benchmarks.cli"


app.add_typer(typer.Typer(cls=_Bench, no_args_is_help=True), name="bench", help="Measure quality and speed.")


class _Synth(console.Lazy):
    module = "limrank_ir.synth.cli"


app.add_typer(
    typer.Typer(cls=_Synth, no_args_is_help=True), name="synth", help="Make training data with a language model."
)


class _Train(console.LazyCommand):
    module = "limrank_ir.train.cli"


for _name, _help in {
    "train": "Train an adapter on your own or published rows.",
    "export": "Make a trained adapter into something to publish or to convert.",
    "push": "Upload an export to the Hugging Face hub.",
}.items():
    app.command(_name, cls=_Train, help=_help)(lambda: None)


@app.command()
def requests(
    run: o.Run,
    topics: o.Topics,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where they go; - is stdout, .gz is compressed.")
    ],
    corpus: o.CorpusOrIndex = None,
    index: o.Index = None,
    k: o.Depth = 100,
    exclude: o.Exclude = None,
    quiet: o.Quiet = False,
) -> None:
    r"""Write a run as requests for RankLLM: each query with its documents' texts, JSONL.

    For example:

        limrank requests --run bm25.txt --topics topics.tsv --index indexes/cacm -o requests.jsonl
        limrank rank-llm rerank --model-path limrank-smol --requests-file requests.jsonl --output-trec-file out.txt
    """
    from limrank_ir import candidates

    check_places({"-o": output}, {"--run": run, "--topics": topics, "--corpus": corpus, "--exclude": exclude})
    found = candidates.read_candidates(run, topics, _texts(corpus, index), k=k, exclude=exclude)
    candidates.write_requests(output, found)
    pairs = sum(map(len, found.documents.values()))
    console.log.info("%d queries with %d documents written to %s", len(found.documents), pairs, named(output))


@app.command(
    "rank-llm",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def rank_llm(context: typer.Context) -> None:
    """RankLLM's own command line, which then knows limrank-* models.

    For example:

        limrank rank-llm rerank --model-path limrank-smol --stdin --output json < request.json
    """
    from limrank_ir.rank_llm import main as theirs

    raise typer.Exit(theirs(context.args))


@app.command()
def serve(
    model: o.ModelName = DEFAULT,
    host: Annotated[str, typer.Option(metavar="NAME", help="Address; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port.")] = 8787,
    token: Annotated[
        str | None,
        typer.Option(envvar="LIMRANK_TOKEN", metavar="TEXT", help="What clients must send as a bearer token."),
    ] = None,
    adapter: o.Adapter = None,
    prompt_format: o.PromptFormat = None,
    think: o.ThinkMode = None,
    budget: o.Budget = 8192,
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps verdicts: what is in it is not computed again.")
    ] = None,
    max_documents: Annotated[int, typer.Option(min=1, metavar="N", help="The most documents of a request.")] = 1000,
    max_bytes: Annotated[int, typer.Option(min=1, metavar="N", help="The most bytes of a request.")] = 10_000_000,
    queue: Annotated[
        int, typer.Option(min=1, metavar="N", help="The most pairs that wait; beyond it the answer is 429.")
    ] = 5000,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="The most pairs that are judged together.")] = 256,
    device: o.Device = None,
    dtype: o.Dtype = None,
    max_length: o.MaxLength = None,
    quiet: o.Quiet = False,
) -> None:
    """Serve the reranker over HTTP, for clients of Jina's and Cohere's rerank API.

    For example:

        limrank serve &
        curl localhost:8787/v2/rerank -H "Content-Type: application/json" \
            -d '{"query": "copy a file", "documents": ["cp copies files", "bake a cake"]}'
    """
    try:
        import uvicorn

        from limrank_ir.http import Limits, create_app
    except ImportError as error:
        raise LimRankError(f"serve needs {error.name}; run: pip install 'limrank-ir[serve]'") from error
    from limrank_ir.reranker import LimRank

    limrank = LimRank(
        model,
        adapter=adapter,
        prompt_format=prompt_format,
        think=think,
        budget=budget,
        store=store,
        device=device,
        dtype=dtype,
        max_length=max_length,
    )
    limrank.load()
    limits = Limits(documents=max_documents, bytes=max_bytes, queue=queue, batch=batch)
    console.log.info("%s serves http://%s:%d/v1/rerank and /v2/rerank; Ctrl-C ends it", limrank.model.name, host, port)
    uvicorn.run(create_app(limrank, token=token, limits=limits), host=host, port=port, log_level="warning")


def main() -> None:
    """Run the command line."""
    console.hush()
    app(prog_name=None if sys.argv[0].endswith("__main__.py") else "limrank")
