"""``limrank rerank --ranker``: the order of a ranker, instead of the verdicts'."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limrank_ir.cli import console
from limrank_ir.cli.asking import NOTHING_KEPT, tokens_per_second
from limrank_ir.errors import InputError
from limrank_ir.formats.output import output_name, save_run, write_json
from limrank_ir.formats.words import duration

if TYPE_CHECKING:
    from limrank_ir.formats.trec import Run
    from limrank_ir.rankers.by_engine import EngineAsk
    from limrank_ir.rankers.order import Candidates as OfQuery
    from limrank_ir.rankers.order import Counts, Ranker
    from limrank_ir.ranking.candidates import Candidates

# What to do instead of giving an option together with --ranker.
_INSTEAD = {
    "--fuse": "write the run, and combine it with others by `limrank fuse`",
    "--fuse-weight": "write the run, and combine it with others by `limrank fuse`",
    "--fuse-with": "write the run, and combine it with others by `limrank fuse`",
    "--fuse-weights": "write the run, and combine it with others by `limrank fuse`",
    "--explain": "leave it out: there is no verdict on each document",
    "--window": "it splits documents; for how many are shown at once, give --ranker NAME:window=N",
    "--stride": "it splits documents; for sliding windows of several, give --ranker NAME:stride=N",
    "--ray": "leave it out: each question of a ranker depends on answers before it",
}


def read_ranker(text: str | None, formats: Sequence[str] | None, given: Mapping[str, object]) -> Ranker | None:
    """The ranker that the options ask for.

    Args:
        text: the value of ``--ranker``.
        formats: the values of ``--set-format``.
        given: other options with their values, which go without a ranker only; those not given are None or False.

    Returns:
        The ranker, or None if none is asked for.

    Raises:
        InputError: the ranker is unknown or invalid, or an option does not go with it.
    """
    if text is None:
        if formats:
            raise InputError("--set-format has no effect without --ranker; `limrank rankers` lists both")
        return None
    from limrank_ir.rankers.named import as_ranker

    ranker = as_ranker(text)
    for option, value in given.items():
        if value is not None and value is not False:
            raise InputError(f"{option} does not go with --ranker; {_INSTEAD[option]}")
    return ranker


def rerank_by(ask: EngineAsk, ranker: Ranker, candidates: Candidates, output: Path, *, tag: str, as_json: bool) -> None:
    """Rank candidates by a ranker, write the run with the scores of its orders, and report.

    Args:
        ask: answers the ranker's questions.
        ranker: the ranker.
        candidates: the candidates, without windows.
        output: the run to write.
        tag: its tag.
        as_json: whether to print a summary.
    """
    from limrank_ir.rankers.named import spec

    started = time.perf_counter()
    run, counts = _ranked(ask, ranker, candidates)
    seconds = time.perf_counter() - started
    save_run(output, run, tag)
    model, stats = ask.limrank.model.name, ask.stats
    console.log.info(
        f"{sum(map(len, run.values()))} documents of {len(run)} queries reranked by {model} with {spec(ranker)} "
        f"in {duration(seconds)} ({counts.questions} questions, {counts.tokens} tokens, {counts.repaired} answers "
        f"repaired, {counts.failed} failed; {stats.calls} asked, {stats.stored} from the store), "
        f"written to {output_name(output)}"
    )
    if as_json:
        summary = {"run": str(output), "model": model, "think": ask.limrank.think, "ranker": spec(ranker)}
        figures = {"queries": len(run), **dataclasses.asdict(counts), "seconds": seconds, "asked": stats.figures()}
        write_json({**summary, **figures})


def _ranked(ask: EngineAsk, ranker: Ranker, candidates: Candidates) -> tuple[Run, Counts]:
    from limrank_ir.rankers.order import Counts
    from limrank_ir.rankers.run import most_questions, rank_candidates

    limrank = ask.limrank
    store = limrank.store  # opened now, so that an unusable store is reported before the model loads
    qids = list(candidates.documents)
    run: dict[str, list[tuple[str, float]]] = {
        qid: [] for qid in qids
    }  # in the order of the first stage, whichever query is done first
    counts = Counts()
    done = 0
    speed = tokens_per_second(limrank)

    def note() -> str:
        return ", ".join(filter(None, (f"{done} of {len(qids)} queries", speed())))

    most = most_questions(ranker, map(len, candidates.documents.values()))
    try:
        with console.progress(limrank.model.name, most, "questions", note) as advance:
            for number, order in rank_candidates(ask, ranker, _queries(candidates), progress=advance):
                entries = candidates.documents[qids[number]]
                docnos = [entries[index].docno for index in order.indices]
                run[qids[number]] = list(zip(docnos, order.scores, strict=True))
                counts += order.counts
                done += 1
    except KeyboardInterrupt:
        kept = NOTHING_KEPT
        if store is not None:
            kept = f"the answers so far are in {store.path}; run the same command again to continue"
        raise KeyboardInterrupt(f"interrupted after {done} of {len(qids)} queries; {kept}") from None
    return run, counts


def _queries(candidates: Candidates) -> Iterator[OfQuery]:
    from limrank_ir.rankers.order import Candidates as OfQuery

    for qid, entries in candidates.documents.items():
        topic = candidates.topics[qid]
        texts = [candidates.passages[entry.docno].reader_text for entry in entries]
        scores = [entry.score for entry in entries]
        yield OfQuery(topic.query, texts, scores, instruction=topic.instruction)
