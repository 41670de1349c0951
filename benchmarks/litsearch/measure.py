"""``limrank bench litsearch``: rerank a first stage's papers, and measure recall the official way and mteb's."""

from __future__ import annotations

import dataclasses
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.trec import RunEntry, trec_order, write_qrels, write_run
from limrank_ir.formats.words import some
from limrank_ir.models import ModelOptions
from limrank_ir.ranking.evaluate import evaluate, parse_measures
from limrank_ir.retrieval.bm25 import Bm25Settings, build, search

from ..bright.first_stage import read_scores
from ..card import content_hashes, run_card, write_card
from ..energy import measured
from ..folder import claim, write_json
from ..mteb_results import check_models, write_mteb_results
from ..systems.by_name import read_systems
from ..systems.rerank import rerank
from ..systems.system import FIRST_STAGE, ScoredRun, Work
from ..tags import run_tag
from .data import LitSearch, iter_papers, read_litsearch, read_papers
from .report import write_report
from .results import MEASURES, LitSearchResult, recalls

log = logging.getLogger("limrank_ir")

BM25 = Bm25Settings()
GIVEN = "first-stage"  # the label of the user's run


@dataclass(frozen=True)
class LitSearchSettings:
    """How to measure.

    Attributes:
        data: a local copy of the data set, or None for the hub.
        first_stage: ``bm25``, or the file of a run.
        k: papers to rerank for each question.
        mteb: whether to write mteb's own result files, too.
        models: how to run the models.
    """

    data: Path | None = None
    first_stage: str = FIRST_STAGE
    k: int = 100
    mteb: bool = False
    models: ModelOptions = dataclasses.field(default_factory=ModelOptions)


def run_litsearch(models: Sequence[str], output: Path, settings: LitSearchSettings) -> list[LitSearchResult]:
    """Measure systems on LitSearch, and write results.json, results.md, card.json, and the runs.

    Args:
        models: names, as `limrank_ir.benchmarks.systems.by_name.read_systems` takes them.
        output: folder for the results.
        settings: how to measure.

    Returns:
        The first stage, each system alone and fused with it, and the ceiling: the candidates in the best order.

    Raises:
        InputError: the input is malformed or incomplete (checked before anything runs), the output folder has results
            of other settings, or a model fails.
    """
    need("bench litsearch", "bench", "ir_measures", "pyarrow")
    bm25 = settings.first_stage == FIRST_STAGE
    if bm25:
        need("bench litsearch --first-stage bm25", "bench", "pyterrier_pisa")
    measures = parse_measures(" ".join(MEASURES))
    work = output / "work"
    systems = read_systems(models, settings.models, work / "verdicts.sqlite")
    if settings.mteb:
        check_models([system.name for system in systems])
    given = None if bm25 else read_scores(Path(settings.first_stage).expanduser())
    with console.progress("reading LitSearch", None, "papers"):
        data = read_litsearch(settings.data)
    if given is not None:
        given = _checked(settings.first_stage, given, data)
    protocol = {
        "-k": settings.k,
        "--first-stage": settings.first_stage,
        "--max-length": settings.models.get("max_length"),
    }
    claim(output, protocol)
    if settings.k < 20:
        log.warning("-k %d: Recall@20 of the rankings is a recall of at most %d papers", settings.k, settings.k)
    found = _bm25(data, settings.k) if given is None else given
    stage = {qid: trec_order(found[qid])[: settings.k] for qid in data.topics if found.get(qid)}
    if without := len(data.topics) - len(stage):
        log.warning("%d of %d questions have no candidates and count as 0", without, len(data.topics))
    papers = read_papers(data, {docno for documents in stage.values() for docno, _ in documents})
    qrels = work / "qrels.txt"
    write_qrels(qrels, {qid: dict.fromkeys(docnos, 1) for qid, docnos in data.relevant.items()})
    name = FIRST_STAGE if bm25 else GIVEN

    def measure(run: ScoredRun, system: str, variant: str, done: Work | None = None) -> LitSearchResult:
        label = system if variant == "alone" else f"{system}-{variant}"
        file = (work if variant == "ceiling" else output) / "runs" / f"{label}.run.gz"
        write_run(file, run, tag=run_tag(label))
        (evaluation,) = evaluate(qrels, [file], measures)
        return LitSearchResult(system, variant, recalls(evaluation.per_query, data), evaluation.per_query, done)

    results = [measure(stage, name, "alone"), measure(_best_order(stage, data), name, "ceiling")]
    entries = {
        qid: [RunEntry(qid, docno, rank, score, name) for rank, (docno, score) in enumerate(documents, 1)]
        for qid, documents in stage.items()
    }
    with measured() as usage:
        try:
            for system in systems:
                reranked = rerank(system, system.start(), entries, data.topics, papers, label="LitSearch")
                results.append(measure(reranked.alone, system.file_name, "alone", reranked.work))
                results.append(measure(reranked.fused, system.file_name, "fused", reranked.work))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; the verdicts so far are saved in {work}; run the same command again to resume"
            ) from None
    if settings.mteb:
        for system in systems:
            task = _mteb_task(data, stage, papers)
            write_mteb_results(system.name, settings.models, work / "verdicts.sqlite", [task], output / "mteb")
    facts = _facts(data, stage, settings.first_stage)
    records = [{**dataclasses.asdict(result), "work": result.work and result.work.totals} for result in results]
    write_json(output / "results.json", {"settings": protocol, "data": facts, "results": records})
    hashes = {data.source: "pinned"} if settings.data is None else content_hashes(data.files)
    if not bm25:
        hashes |= content_hashes([Path(settings.first_stage).expanduser()])
    card = run_card(settings=protocol, data=hashes, systems=systems, device=settings.models.get("device"), usage=usage)
    write_card(output, card)
    write_report(output, results, facts, settings.k, card)
    return results


def _checked(file: str, run: ScoredRun, data: LitSearch) -> ScoredRun:
    """The run, with mteb's ids; a corpusid without its ``d`` is accepted."""
    if unknown := [qid for qid in run if qid not in data.topics]:
        raise InputError(
            f"{file}: {len(unknown)} of {len(run)} queries are not LitSearch's ({some(unknown)}); q1 to "
            f"q{len(data.topics)} are its questions in the order of the data set, as in mteb"
        )
    return {
        qid: [(f"d{docno}" if docno.isdigit() else docno, score) for docno, score in documents]
        for qid, documents in run.items()
    }


def _bm25(data: LitSearch, k: int) -> ScoredRun:
    """Our BM25 on title and abstract (PISA, k1 0.9, b 0.4). LitSearch's own is rank_bm25 with other words."""
    with tempfile.TemporaryDirectory(prefix="limrank-index-") as folder:
        with console.progress("indexing LitSearch", data.count, "papers") as advance:
            build(iter_papers(data), Path(folder), BM25, advance, source=data.source)
        with console.progress("searching LitSearch", len(data.topics), "questions") as advance:
            found = {}
            for qid, documents in search(Path(folder), data.topics.values(), BM25, k=k):
                found[qid] = documents
                advance(1)
    return found


def _best_order(stage: ScoredRun, data: LitSearch) -> ScoredRun:
    """The candidates with the relevant ones first: what a reranker of them can reach at most."""
    return {
        qid: [(docno, float(docno in data.relevant[qid])) for docno, _ in documents] for qid, documents in stage.items()
    }


def _facts(data: LitSearch, stage: ScoredRun, name: str) -> dict[str, Any]:
    return {
        "source": data.source,
        "questions": len(data.topics),
        "broad": len(data.broad),
        "papers": data.count,
        "relevant": sum(map(len, data.relevant.values())),
        "first_stage": name,
        "pairs": sum(map(len, stage.values())),
        "candidates_recall": math.fsum(
            len({docno for docno, _ in stage.get(qid, ())}.intersection(docnos)) / len(docnos)
            for qid, docnos in data.relevant.items()
        )
        / len(data.relevant),
    }


def _mteb_task(data: LitSearch, stage: ScoredRun, papers: Mapping[str, Passage]) -> Any:
    """LitSearchRetrieval of mteb as a reranking task, with the data that it would load itself.

    Its judgments are graded 1, 2, ... by the position in the data set (mteb/tasks/retrieval/eng/
    lit_search_retrieval.py), so that its nDCG depends on an order that means nothing; its recall does not.
    """
    import mteb

    task = mteb.get_task("LitSearchRetrieval")
    task.queries = {"test": {qid: topic.query for qid, topic in data.topics.items()}}
    task.corpus = {"test": {docno: {"title": "", "text": paper.text} for docno, paper in papers.items()}}
    task.relevant_docs = {
        "test": {qid: {docno: grade for grade, docno in enumerate(docnos, 1)} for qid, docnos in data.relevant.items()}
    }
    task.top_ranked = {"test": {qid: [docno for docno, _ in documents] for qid, documents in stage.items()}}
    task.data_loaded = True
    return task
