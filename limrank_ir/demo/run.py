"""``limrank demo``: rerank BM25 on Python's own documentation, fuse the two, and measure and show the difference."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import ir_measures
import pandas as pd
import pyterrier as pt
from ir_measures import RR, nDCG
from pyterrier_pisa import PisaIndex
from rich.console import Console
from rich.table import Table
from rich.text import Text

from limrank_ir.demo.collection import passages, qrels, queries
from limrank_ir.demo.report import DemoReport, QueryReport, ReportedPassage, render
from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.formats.output import check_folder
from limrank_ir.formats.trec import write_run
from limrank_ir.formats.words import few
from limrank_ir.models import DEFAULT, Think, resolve
from limrank_ir.pyterrier import LimRankReranker
from limrank_ir.reranker import LimRank

QUERIES = 60
FEWEST_QUERIES = 3
DEPTH = 10
SECONDS = 120  # for reranking, so that the demo ends within three minutes; indexing and loading come on top
MAX_LENGTH = 224

PRINTED_QUERIES = 3
PRINTED_PASSAGES = 5
REPORTED_PASSAGES = 10
MEASURES = {"nDCG@10": nDCG @ 10, "RR@10": RR @ 10}

ScoredRun = dict[str, list[tuple[str, float]]]
"""qid to (docno, score), best first."""


@dataclass(frozen=True)
class DemoResult:
    """The results of the experiment.

    Attributes:
        names: names of the pipelines: the first stage, the reranker after it, and the two fused.
        runs: each pipeline's run.
        measures: pipeline to measure to qid to value; the qid ``"all"`` is the mean.
        seconds: wall-clock seconds of each pipeline. Fusion reuses the reranker's verdicts and judges nothing.
        pairs: pairs that the model read.
    """

    names: tuple[str, str, str]
    runs: dict[str, ScoredRun]
    measures: dict[str, dict[str, dict[str, float]]]
    seconds: dict[str, float]
    pairs: int


def run_demo(
    out: Path,
    *,
    k: int = DEPTH,
    count: int | None = None,
    model: str = DEFAULT,
    think: Think | None = None,
    max_length: int = MAX_LENGTH,
    quiet: bool = False,
) -> DemoResult:
    """Run the demo: print the figures, write the runs and the report.

    Args:
        out: folder for the runs and the report; created if it does not exist.
        k: how many of BM25's passages to rerank for each query.
        count: how many queries to run, starting with the first; None: as many of `QUERIES` as this machine reranks in
            two minutes, by the time that the first one takes.
        model: the model.
        think: its think mode; None: its default.
        max_length: the most tokens of a prompt; longer passages are cut.
        quiet: no progress bars and no notes.

    Returns:
        The runs and figures.

    Raises:
        InputError: an option is out of range, the model is unknown, or the folder cannot be written.
    """
    if k < 1 or (count is not None and count < 1):
        raise InputError(f"k is {k} and the number of queries is {count}; both must be at least 1")
    check_folder(f"--out {out}", out)
    resolve(model)  # fail on an unknown name before indexing
    notes = Console(stderr=True, quiet=quiet, highlight=False)
    notes.print("Collecting the documentation of Python's standard library ...")
    texts = {passage.docno: passage.text for passage in passages()}
    notes.print(f"{len(texts):,} passages. Indexing with PISA, then reranking the top {k} ...")
    with tempfile.TemporaryDirectory() as folder:
        # With a store, the fused pipeline reuses the reranker's verdicts.
        store = Path(folder) / "verdicts.sqlite"
        limrank = LimRank(model, think=think, max_length=max_length, dtype="auto", store=store)
        index = _index(texts, Path(folder) / "index.pisa", k)
        wanted = dict(queries()[: count or QUERIES])
        asked = (
            wanted if count else _in_time(wanted, LimRank(model, think=think, engine=limrank.engine), index, texts, k)
        )
        if len(asked) < len(wanted):
            notes.print(
                f"This machine is slow: {len(asked)} of {len(wanted)} queries, so that the demo ends within three "
                f"minutes. The figures are for these; --queries {len(wanted)} runs all."
            )
        result = experiment(texts, asked, limrank, k, index, verbose=not quiet)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    _print_figures(console, result, len(asked))
    _print_examples(console, result, asked)
    for name, ranking in result.runs.items():
        write_run(out / f"{_file_name(name)}.run", ranking, tag=_file_name(name))
    with replacing(out / "report.html") as file:
        file.write(render(_report(result, asked, texts, limrank, k, max_length)))
    console.print(Text(f"Report: {out / 'report.html'}\nRuns:   {out}/*.run", no_wrap=True), soft_wrap=True)
    return result


def _index(texts: dict[str, str], folder: Path, k: int) -> PisaIndex:
    """Index the passages."""
    with _silenced():  # PISA reports its progress on both standard streams
        index = PisaIndex(str(folder), stemmer="porter2", text_field="text", overwrite=True)
        index.index({"docno": docno, "text": text} for docno, text in texts.items())
        index.bm25(num_results=k).search("python")  # the first query writes the weighting model's files
    return index


def _in_time(
    asked: dict[str, str], limrank: LimRank, index: PisaIndex, texts: dict[str, str], k: int
) -> dict[str, str]:
    """The first queries, as many as can be reranked in `SECONDS`, by the time that the first one takes.

    Args:
        asked: qid to query.
        limrank: the reranker, without a store, so that the experiment judges the first query again.
        index: what finds its candidates.
        texts: docno to passage.
        k: how many candidates.
    """
    first = next(iter(asked.values()))
    found = [(first, texts[docno]) for docno in index.bm25(num_results=k).search(_words(first))["docno"]]
    limrank.judge([(first, "")])  # loads the weights, converting them the first time: not timed
    started = time.perf_counter()
    limrank.judge(found)
    affordable = int(SECONDS / (time.perf_counter() - started))
    return dict(list(asked.items())[: max(FEWEST_QUERIES, affordable)])


def experiment(
    texts: dict[str, str], asked: dict[str, str], limrank: LimRank, k: int, index: PisaIndex, *, verbose: bool
) -> DemoResult:
    """Compare BM25, BM25 >> LimRank, and their fusion with ``pt.Experiment``.

    Args:
        texts: docno to passage.
        asked: qid to query.
        limrank: the reranker.
        k: how many of BM25's passages to rerank for each query.
        index: the passages' index.
        verbose: show progress bars.

    Returns:
        Runs, measures, and times.
    """
    frames: dict[str, pd.DataFrame] = {}
    # PISA's tokenizer wants bare words; the reranker reads the question as it is.
    bm25 = pt.apply.query(lambda row: _words(row["query"])) >> index.bm25(num_results=k) >> pt.rewrite.reset()
    candidates = bm25 >> pt.apply.text(lambda row: texts[row["docno"]])
    reranker, fused = LimRankReranker(limrank, verbose=verbose), LimRankReranker(limrank, fuse=True)
    names = ("BM25", f"BM25 >> {limrank.model.name}", f"BM25 + {limrank.model.name}")
    systems = {
        names[0]: bm25 >> _record(frames, names[0]),
        names[1]: candidates >> reranker >> _record(frames, names[1]),
        names[2]: candidates >> fused >> _record(frames, names[2]),
    }
    topics = pd.DataFrame({"qid": list(asked), "query": list(asked.values())})
    judged = pd.DataFrame(
        [(qid, docno, grade) for qid, row in qrels().items() if qid in asked for docno, grade in row.items()],
        columns=["qid", "docno", "label"],
    )
    limrank.judge([(next(iter(asked.values())), "")])  # loads the weights, converting them the first time: not timed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTerrier suggests sharing stages, but each pipeline is timed separately
        table = pt.Experiment(systems, topics, judged, [*MEASURES.values(), "mrt"], validate="error").set_index("name")
    measures = {
        name: {m: {"all": float(table.loc[name, m]), **_by_query(frames[name], judged, m)} for m in MEASURES}
        for name in names
    }
    seconds = {name: float(table.loc[name, "mrt"]) / 1000 * len(asked) for name in names}
    runs = {name: _scored_run(frames[name]) for name in names}
    pairs = sum(len(documents) for documents in runs[names[1]].values())
    return DemoResult(names, runs, measures, seconds, pairs)


def _record(frames: dict[str, pd.DataFrame], name: str) -> pt.Transformer:
    """A transformer that records what passes through it."""

    def remember(frame: pd.DataFrame) -> pd.DataFrame:
        frames[name] = frame
        return frame

    return pt.apply.generic(remember)


def _by_query(run: pd.DataFrame, judged: pd.DataFrame, measure: str) -> dict[str, float]:
    run = run.rename(columns={"qid": "query_id", "docno": "doc_id"})
    judged = judged.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    return {row.query_id: row.value for row in ir_measures.iter_calc([MEASURES[measure]], judged, run)}


def _scored_run(frame: pd.DataFrame) -> ScoredRun:
    ordered = frame.sort_values(["qid", "rank"])
    return {
        str(qid): list(zip(rows["docno"], rows["score"].astype(float), strict=True))
        for qid, rows in ordered.groupby("qid")
    }


def _words(query: str) -> str:
    letters = (character if character.isalnum() else " " for character in query)
    return " ".join("".join(letters).split())


def _print_figures(console: Console, result: DemoResult, queries: int) -> None:
    table = Table(title="Questions to Python's documentation", title_justify="left")
    table.add_column("")
    for column in (*MEASURES, "seconds", "pairs/s"):
        table.add_column(column, justify="right")
    first, reranked, fused = result.names
    times = {
        first: (f"{result.seconds[first]:.1f}", ""),
        reranked: (f"{result.seconds[reranked]:.1f}", f"{result.pairs / result.seconds[reranked]:.1f}"),
        fused: ("", ""),
    }
    for name in result.names:
        values = [f"{result.measures[name][measure]['all']:.3f}" for measure in MEASURES]
        table.add_row(name, *values, *times[name])
    console.print(table)
    base, alone, both = (result.measures[name]["nDCG@10"]["all"] for name in result.names)
    over = "1 query" if queries == 1 else f"{queries} queries"
    sentence = (
        f"nDCG@10 over {over}, compared to BM25: reranked {_compare(alone, base)}, fused with BM25's scores (+) "
        f"{_compare(both, base)}."
    )
    console.print(f"{sentence} {few(queries)}".rstrip() + "\n")


def _compare(after: float, before: float) -> str:
    change = f"{(after - before) / before:+.0%}" if before else "undefined"
    if after > before:
        return f"better ({change})"
    if after < before:
        return f"worse ({change})"
    return f"the same ({change})"


def _print_examples(console: Console, result: DemoResult, asked: dict[str, str]) -> None:
    """Print the first queries, not the ones that look best."""
    judged = qrels()
    for qid in list(asked)[:PRINTED_QUERIES]:
        console.print(Text(f"{qid}  {asked[qid]}", style="bold"))
        table = Table(box=None, pad_edge=False)
        table.add_column("rank", justify="right")
        for name in result.names:
            table.add_column(name, overflow="fold")
        columns = [result.runs[name].get(qid, [])[:PRINTED_PASSAGES] for name in result.names]
        for rank in range(max(map(len, columns), default=0)):
            docnos = [column[rank][0] if rank < len(column) else "" for column in columns]
            table.add_row(str(rank + 1), *(_with_grade(docno, judged[qid].get(docno, 0)) for docno in docnos))
        console.print(table)
        console.print()
    console.print("** answers the question, * helps\n", style="dim")


def _with_grade(docno: str, grade: int) -> Text:
    return Text(f"{docno} {'*' * grade}".rstrip(), style="green" if grade else "")


def _report(
    result: DemoResult, asked: dict[str, str], texts: dict[str, str], limrank: LimRank, k: int, max_length: int
) -> DemoReport:
    judged = qrels()
    first, alone, fused = result.names

    def values(qid: str) -> dict[str, tuple[float, float]]:
        """Each measure's value (before, after)."""
        before, after = result.measures[first], result.measures[fused]
        return {measure: (before[measure].get(qid, 0.0), after[measure].get(qid, 0.0)) for measure in MEASURES}

    def passages_of(qid: str, order: str, scores: str) -> list[ReportedPassage]:
        """The top of one pipeline's ranking with the scores of another."""
        score = dict(result.runs[scores].get(qid, []))
        top = [docno for docno, _ in result.runs[order].get(qid, [])[:REPORTED_PASSAGES]]
        return [
            # A passage begins with its signature. Join it to the first sentence, so that the page's line shows both.
            ReportedPassage(docno, texts[docno].replace("\n\n", "  ", 1), score[docno], judged[qid].get(docno, 0))
            for docno in top
        ]

    return DemoReport(
        title="LimRank-IR: a demonstration",
        first_stage=first,
        reranker=fused,
        collection=f"{len(texts):,} documentation strings of Python {platform.python_version()}'s standard library",
        measures=values("all"),
        seconds=(result.seconds[first], result.seconds[alone]),
        pairs=result.pairs,
        queries=[
            QueryReport(
                qid=qid,
                query=query,
                before=passages_of(qid, order=first, scores=first),
                after=passages_of(qid, order=fused, scores=alone),
                measures=values(qid),
            )
            for qid, query in asked.items()
        ],
        environment={
            "command": shlex.join(["limrank", *sys.argv[1:]]),
            "reranked": f"top {k} of BM25 (PISA, porter2), passages cut if a prompt exceeds {max_length} tokens",
            "model": f"{limrank!r} in {getattr(limrank.engine, 'precision', 'its own precision')}",
            "order": f"{limrank.model.fuse:g} times the model's z-score plus {1 - limrank.model.fuse:g} times BM25's",
            "reranker alone": ", ".join(f"{m} {result.measures[alone][m]['all']:.3f}" for m in MEASURES),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "date": time.strftime("%Y-%m-%d"),
            **{name: version(name) for name in ("limrank-ir", "torch", "transformers", "pyterrier", "pyterrier-pisa")},
        },
    )


def _file_name(name: str) -> str:
    return name.lower().replace(" >> ", "-").replace("/", "-").replace(" ", "-").replace("-+-", "+")


@contextmanager
def _silenced() -> Iterator[None]:
    """Discard both standard streams, for libraries that write to them without Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 1)
        os.dup2(devnull, 2)
        yield
    finally:
        for stream, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(devnull)
