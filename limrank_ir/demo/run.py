"""``limrank demo``: BM25, reranked and fused with it, on Python's own documentation; measured, shown, written down."""

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
from limrank_ir.demo.report import QueryReport, Report, Row, render
from limrank_ir.errors import InputError
from limrank_ir.formats.files import replacing
from limrank_ir.formats.output import check_folder
from limrank_ir.formats.trec import write_run
from limrank_ir.formats.words import few
from limrank_ir.models import DEFAULT, Think, resolve
from limrank_ir.pyterrier import LimRankReranker
from limrank_ir.reranker import LimRank

QUERIES, DEPTH, MAX_LENGTH = 60, 10, 224  # what two cores read in about two minutes
SHOWN_QUERIES, SHOWN_ROWS, REPORT_ROWS = 3, 5, 10
MEASURES = {"nDCG@10": nDCG @ 10, "RR@10": RR @ 10}

Rankings = dict[str, list[tuple[str, float]]]
"""qid to (docno, score), best first."""


@dataclass(frozen=True)
class Outcome:
    """What the experiment gave.

    Attributes:
        names: of the pipelines: the first stage, the reranker behind it, both fused.
        rankings: by pipeline.
        measures: pipeline to measure to qid to value; the qid ``"all"`` is the mean.
        seconds: wall-clock seconds of each pipeline; fusing uses the reranker's verdicts and judges nothing.
        pairs: pairs that the model read.
    """

    names: tuple[str, str, str]
    rankings: dict[str, Rankings]
    measures: dict[str, dict[str, dict[str, float]]]
    seconds: dict[str, float]
    pairs: int


def run_demo(
    out: Path,
    *,
    k: int = DEPTH,
    count: int = QUERIES,
    model: str = DEFAULT,
    think: Think | None = None,
    max_length: int = MAX_LENGTH,
    quiet: bool = False,
) -> Outcome:
    """Run the demonstration: print its figures, write its runs and its report.

    Args:
        out: folder for the runs and the report; made when it is not there.
        k: passages of BM25 that are reranked for each query.
        count: how many of the queries to run, from the first on.
        model: the model.
        think: its think mode; None: its default.
        max_length: the most tokens of a prompt; longer passages are cut.
        quiet: no progress bars and no notes.

    Returns:
        The rankings and figures.

    Raises:
        InputError: an option is impossible, or the folder cannot be written.
    """
    if k < 1 or count < 1:
        raise InputError(f"k is {k} and the number of queries {count}; both must be at least 1")
    check_folder(f"--out {out}", out)
    resolve(model)  # a name that nobody knows is an error now, not after the indexing
    notes = Console(stderr=True, quiet=quiet, highlight=False)
    notes.print("Collecting the documentation of Python's standard library ...")
    texts = {passage.docno: passage.text for passage in passages()}
    asked = dict(queries()[:count])
    notes.print(f"{len(texts):,} passages, {len(asked)} queries. Indexing with PISA, then reranking the top {k} ...")
    with tempfile.TemporaryDirectory() as folder:
        # The store lets the fused pipeline use what the reranker judged.
        limrank = LimRank(model, think=think, max_length=max_length, store=Path(folder) / "verdicts.sqlite")
        outcome = experiment(texts, asked, limrank, k, Path(folder) / "index.pisa", verbose=not quiet)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    _print_figures(console, outcome, len(asked))
    _print_examples(console, outcome, asked, texts)
    for name, ranking in outcome.rankings.items():
        write_run(out / f"{_file_name(name)}.run", ranking, tag=_file_name(name))
    with replacing(out / "report.html") as file:
        file.write(render(_report(outcome, asked, texts, limrank, k, max_length)))
    console.print(Text(f"Report: {out / 'report.html'}\nRuns:   {out}/*.run", no_wrap=True), soft_wrap=True)
    return outcome


def experiment(
    texts: dict[str, str], asked: dict[str, str], limrank: LimRank, k: int, index_place: Path, *, verbose: bool
) -> Outcome:
    """Index the passages and compare BM25, BM25 >> LimRank and their fusion in ``pt.Experiment``.

    Args:
        texts: docno to passage.
        asked: qid to query.
        limrank: the reranker.
        k: passages of BM25 that are reranked for each query.
        index_place: where to put the index.
        verbose: draw progress bars.

    Returns:
        Rankings, measures and times.
    """
    with _silenced():  # PISA reports its progress on both standard streams
        index = PisaIndex(str(index_place), stemmer="porter2", text_field="text", overwrite=True)
        index.index({"docno": docno, "text": text} for docno, text in texts.items())
        index.bm25(num_results=k).search("python")  # the first query writes the files of its weighting model
    kept: dict[str, pd.DataFrame] = {}
    # PISA's tokenizer wants words; the reranker reads the question as it was asked.
    bm25 = pt.apply.query(lambda row: _words(row["query"])) >> index.bm25(num_results=k) >> pt.rewrite.reset()
    candidates = bm25 >> pt.apply.text(lambda row: texts[row["docno"]])
    reranker, fused = LimRankReranker(limrank, verbose=verbose), LimRankReranker(limrank, fuse=True)
    names = ("BM25", f"BM25 >> {limrank.model.name}", f"BM25 + {limrank.model.name}")
    systems = {
        names[0]: bm25 >> _keep(kept, names[0]),
        names[1]: candidates >> reranker >> _keep(kept, names[1]),
        names[2]: candidates >> fused >> _keep(kept, names[2]),
    }
    topics = pd.DataFrame({"qid": list(asked), "query": list(asked.values())})
    judged = pd.DataFrame(
        [(qid, docno, grade) for qid, row in qrels().items() if qid in asked for docno, grade in row.items()],
        columns=["qid", "docno", "label"],
    )
    limrank.judge([(next(iter(asked.values())), "")])  # loads (and the first time converts) the weights: not timed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTerrier proposes to share stages; here each pipeline is timed on its own
        table = pt.Experiment(systems, topics, judged, [*MEASURES.values(), "mrt"], validate="error").set_index("name")
    measures = {
        name: {m: {"all": float(table.loc[name, m]), **_by_query(kept[name], judged, m)} for m in MEASURES}
        for name in names
    }
    seconds = {name: float(table.loc[name, "mrt"]) / 1000 * len(asked) for name in names}
    rankings = {name: _rankings(kept[name]) for name in names}
    return Outcome(names, rankings, measures, seconds, sum(len(rows) for rows in rankings[names[1]].values()))


def _keep(kept: dict[str, pd.DataFrame], name: str) -> pt.Transformer:
    """A transformer that remembers what passes through it."""

    def remember(frame: pd.DataFrame) -> pd.DataFrame:
        kept[name] = frame
        return frame

    return pt.apply.generic(remember)


def _by_query(run: pd.DataFrame, judged: pd.DataFrame, measure: str) -> dict[str, float]:
    run = run.rename(columns={"qid": "query_id", "docno": "doc_id"})
    judged = judged.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    return {row.query_id: row.value for row in ir_measures.iter_calc([MEASURES[measure]], judged, run)}


def _rankings(frame: pd.DataFrame) -> Rankings:
    ordered = frame.sort_values(["qid", "rank"])
    return {
        str(qid): list(zip(rows["docno"], rows["score"].astype(float), strict=True))
        for qid, rows in ordered.groupby("qid")
    }


def _words(query: str) -> str:
    return " ".join("".join(mark if mark.isalnum() else " " for mark in query).split())


def _print_figures(console: Console, outcome: Outcome, queries: int) -> None:
    table = Table(title="Questions to Python's documentation", title_justify="left")
    table.add_column("")
    for column in (*MEASURES, "seconds", "pairs/s"):
        table.add_column(column, justify="right")
    for name in outcome.names:
        values = [f"{outcome.measures[name][measure]['all']:.3f}" for measure in MEASURES]
        seconds = outcome.seconds[name]
        rate = f"{outcome.pairs / seconds:.1f}" if name == outcome.names[1] else ""
        table.add_row(name, *values, f"{seconds:.1f}" if name != outcome.names[2] else "", rate)
    console.print(table)
    before, alone, fused = (outcome.measures[name]["nDCG@10"]["all"] for name in outcome.names)
    over = "1 query" if queries == 1 else f"{queries} queries"
    console.print(
        f"nDCG@10 over {over}, against BM25's: reranked {_compared(alone, before)}, fused with BM25's scores (+) "
        f"{_compared(fused, before)}. {few(queries)}".rstrip()
        + "\n"
    )


def _compared(after: float, before: float) -> str:
    change = f"{(after - before) / before:+.0%}" if before else "undefined"
    return f"{'better' if after > before else 'worse' if after < before else 'the same'} ({change})"


def _print_examples(console: Console, outcome: Outcome, asked: dict[str, str], texts: dict[str, str]) -> None:
    """The first queries, whatever became of them: not the ones that look best."""
    judged = qrels()
    for qid in list(asked)[:SHOWN_QUERIES]:
        console.print(Text(f"{qid}  {asked[qid]}", style="bold"))
        table = Table(box=None, pad_edge=False)
        table.add_column("rank", justify="right")
        for name in outcome.names:
            table.add_column(name, overflow="fold")
        columns = [outcome.rankings[name].get(qid, [])[:SHOWN_ROWS] for name in outcome.names]
        for rank in range(max(map(len, columns), default=0)):
            cells = [column[rank][0] if rank < len(column) else "" for column in columns]
            table.add_row(str(rank + 1), *(_marked(docno, judged[qid].get(docno, 0)) for docno in cells))
        console.print(table)
        console.print()
    console.print("** answers the question, * helps\n", style="dim")


def _marked(docno: str, grade: int) -> Text:
    return Text(f"{docno} {'*' * grade}".rstrip(), style="green" if grade else "")


def _report(
    outcome: Outcome, asked: dict[str, str], texts: dict[str, str], limrank: LimRank, k: int, max_length: int
) -> Report:
    judged = qrels()

    first, second, fused = outcome.names

    def both(measure: str, qid: str) -> tuple[float, float]:
        before, after = (outcome.measures[name][measure].get(qid, 0.0) for name in (first, fused))
        return before, after

    def rows(name: str, qid: str) -> list[Row]:
        ranking = outcome.rankings[name].get(qid, [])[:REPORT_ROWS]
        # In the fused order the page shows the model's own verdicts.
        scores = dict(outcome.rankings[second if name == fused else first].get(qid, []))
        # A passage begins with a signature; what the thing does should be in the line that the page shows.
        return [
            Row(docno, texts[docno].replace("\n\n", "  ", 1), scores[docno], judged[qid].get(docno, 0))
            for docno, _ in ranking
        ]

    return Report(
        title="LimRank-IR: a demonstration",
        first_stage=first,
        reranker=fused,
        collection=f"{len(texts):,} documentation strings of Python {platform.python_version()}'s standard library",
        measures={measure: both(measure, "all") for measure in MEASURES},
        seconds=(outcome.seconds[first], outcome.seconds[second]),
        pairs=outcome.pairs,
        queries=[
            QueryReport(qid, query, rows(first, qid), rows(fused, qid), {m: both(m, qid) for m in MEASURES})
            for qid, query in asked.items()
        ],
        environment={
            "command": shlex.join(["limrank", *sys.argv[1:]]),
            "reranked": f"top {k} of BM25 (PISA, porter2), passages cut where a prompt exceeds {max_length} tokens",
            "model": repr(limrank),
            "order": f"{limrank.model.fuse:g} of the model's z-score and {1 - limrank.model.fuse:g} of BM25's",
            "reranker alone": ", ".join(f"{m} {outcome.measures[second][m]['all']:.3f}" for m in MEASURES),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "date": time.strftime("%Y-%m-%d"),
            **{name: version(name) for name in ("limrank-ir", "torch", "transformers", "pyterrier", "pyterrier-pisa")},
        },
    )


def _file_name(name: str) -> str:
    return name.lower().replace(" >> ", "-").replace("/", "-").replace(" ", "-").replace("-+-", "+")


@contextmanager
def _silenced() -> Iterator[None]:
    """Send both standard streams to nowhere, for libraries that write past Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for stream, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)
