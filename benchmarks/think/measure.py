"""What thinking costs and gains: never, where a place in the top is uncertain, or always."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import read_passages
from limrank_ir.formats.files import replacing
from limrank_ir.formats.trec import read_run, write_qrels, write_run
from limrank_ir.models import ENGINE_OPTIONS, ModelOptions
from limrank_ir.ranking.candidates import Candidates
from limrank_ir.ranking.evaluate import evaluate, parse_measures
from limrank_ir.ranking.uncertain import TOP, mixed, uncertain
from limrank_ir.reranker import LimRank
from limrank_ir.verdict import Verdict

from ..environment import environment
from ..markdown import markdown as markdown_table
from ..suite.collection import Collection, read_collections
from ..suite.first_stage import first_stage

MEASURE = "nDCG@10"
MARGINS = (0.1, 0.25, 0.5, 1.0)
NEVER, ALWAYS = 0.0, math.inf


@dataclass(frozen=True)
class ThinkPoint:
    """One think mode on one collection.

    Attributes:
        collection: its name.
        margin: see `limrank_ir.ranking.uncertain`; 0 is never, infinity always.
        ndcg: nDCG@10.
        pairs: (query, passage) pairs.
        thoughts: pairs that were thought about.
        tokens: tokens of prompts and thoughts.
        seconds: time without loading the model: measured for never and always, else that of never and the thoughts'
            share, by tokens, of that of always. None if verdicts of an earlier call were used.
    """

    collection: str
    margin: float
    ndcg: float
    pairs: int
    thoughts: int
    tokens: int
    seconds: float | None

    @property
    def mode(self) -> str:
        """The think mode, with its margin."""
        return {NEVER: "never", ALWAYS: "always"}.get(self.margin, f"auto, {self.margin:g}")


@dataclass(frozen=True)
class _Judged:
    """A collection's candidates with both kinds of verdict."""

    documents: dict[str, list[str]]
    never: dict[str, list[Verdict]]
    always: dict[str, list[Verdict]]
    seconds: tuple[float, float] | None


def measure_think(
    model: str,
    folders: Sequence[Path],
    output: Path,
    options: ModelOptions,
    *,
    margins: Sequence[float] = MARGINS,
    k: int = 20,
    queries: int | None = None,
    seed: int = 0,
    command: str = "",
) -> list[ThinkPoint]:
    """Measure the think modes of a model, and write results.json and results.md.

    The model judges all candidates in both ways; the verdicts are kept in the output folder, so that a second call
    resumes. The figures of ``auto`` come from the same verdicts, by the rule that `LimRank` uses.

    Args:
        model: the model's name.
        folders: collections, or folders that contain collections.
        output: folder for the results.
        options: how to run the model; its ``think`` and ``store`` have no effect.
        margins: the margins of ``auto``.
        k: documents to rerank for each topic.
        queries: how many judged topics to sample from each collection; None: all of them.
        seed: seed of the sample.
        command: the command line, for the report.

    Returns:
        One point for each collection and mode.

    Raises:
        InputError: the input is malformed, or the model cannot think.
    """
    need("bench think", "bench", "ir_measures")
    chosen = options.copy()
    chosen["store"] = output / "work" / "verdicts.sqlite"
    chosen["think"] = "never"
    never = LimRank(model, **chosen)
    of_the_engine = {name for names in ENGINE_OPTIONS.values() for name in names}  # which it has already
    chosen = cast(ModelOptions, {name: value for name, value in chosen.items() if name not in of_the_engine})
    chosen["think"] = "always"
    chosen["engine"] = never.engine
    always = LimRank(model, **chosen)
    points: list[ThinkPoint] = []
    for collection in read_collections(folders, queries=queries, seed=seed):
        judged = _judge(collection, k, never, always)
        points += _points(collection, judged, margins)
    if not points:
        raise InputError("bench think: no collection")
    with replacing(output / ".gitignore") as file:
        file.write("work/\n")
    settings: dict[str, object] = {
        "model": model,
        "identity": never.engine.identity,
        "adapter": options.get("adapter"),
        "k": k,
        "queries": queries,
        "seed": seed,
        "budget": always.budget,
        "top": TOP,
    }
    facts = environment(command, options.get("device"))
    with replacing(output / "results.json") as file:
        records = [{"mode": point.mode, **_finite(dataclasses.asdict(point))} for point in points]
        json.dump({"settings": settings, "environment": facts, "points": records}, file, indent=1)
    with replacing(output / "results.md") as file:
        file.write(markdown(points, settings, facts))
    return points


def _finite(record: dict[str, object]) -> dict[str, object]:
    """JSON has no infinity."""
    return {**record, "margin": None if record["margin"] == ALWAYS else record["margin"]}


def _judge(collection: Collection, k: int, never: LimRank, always: LimRank) -> _Judged:
    """Both kinds of verdict on a collection's candidates."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "first.run"
        write_run(run, first_stage(collection, k), tag="first")
        entries = read_run(run)
    wanted = dict.fromkeys(entry.docno for documents in entries.values() for entry in documents)
    pairs = Candidates(entries, collection.topics, read_passages(collection.folder, wanted)).pairs()
    documents = {qid: [entry.docno for entry in found] for qid, found in entries.items()}
    verdicts, seconds, measured = [], [], True
    for limrank in (never, always):
        limrank.load()  # not timed
        with console.progress(f"{collection.name}, {limrank.think}", len(pairs), "pairs") as advance:
            remaining = iter(limrank.judge(pairs, progress=advance))
        verdicts.append({qid: [next(remaining) for _ in docnos] for qid, docnos in documents.items()})
        seconds.append(limrank.stats.seconds)
        measured = measured and not limrank.stats.stored
    return _Judged(documents, verdicts[0], verdicts[1], (seconds[0], seconds[1]) if measured else None)


def _points(collection: Collection, judged: _Judged, margins: Sequence[float]) -> Iterator[ThinkPoint]:
    """The modes' figures."""
    pairs = sum(map(len, judged.documents.values()))
    tokens = _tokens(verdict for verdicts in judged.never.values() for verdict in verdicts)
    of_all_thoughts = _tokens(verdict for verdicts in judged.always.values() for verdict in verdicts)
    of_never, of_always = judged.seconds or (math.nan, math.nan)

    def point(margin: float, thoughts: int, tokens: int, seconds: float) -> ThinkPoint:
        known = seconds if judged.seconds else None
        return ThinkPoint(collection.name, margin, _ndcg(collection, judged, margin), pairs, thoughts, tokens, known)

    yield point(NEVER, 0, tokens, of_never)
    for margin in margins:
        wanted = [judged.always[qid][place] for qid, places in _thoughts(judged, margin).items() for place in places]
        of_thoughts = _tokens(wanted)
        seconds = of_never + of_always * of_thoughts / of_all_thoughts
        yield point(margin, len(wanted), tokens + of_thoughts, seconds)
    yield point(ALWAYS, pairs, of_all_thoughts, of_always)


def _tokens(verdicts: Iterable[Verdict]) -> int:
    return sum(verdict.prompt_tokens + verdict.reasoning_tokens for verdict in verdicts)


def _thoughts(judged: _Judged, margin: float) -> dict[str, list[int]]:
    """The places of the passages that are thought about, by query."""
    return {
        qid: uncertain([verdict.log_odds for verdict in verdicts], margin=margin)
        for qid, verdicts in judged.never.items()
    }


def _ndcg(collection: Collection, judged: _Judged, margin: float) -> float:
    """nDCG@10 of a mode's ranking."""
    ranking = {}
    thoughts = _thoughts(judged, margin) if margin not in (NEVER, ALWAYS) else {}
    for qid, docnos in judged.documents.items():
        scores = [verdict.log_odds for verdict in (judged.always if margin == ALWAYS else judged.never)[qid]]
        if qid in thoughts:
            scores = mixed(scores, {place: judged.always[qid][place].log_odds for place in thoughts[qid]})
        ranking[qid] = list(zip(docnos, scores, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        run, qrels = Path(folder) / "mode.run", Path(folder) / "qrels.txt"
        write_run(run, ranking, tag="mode")
        write_qrels(qrels, collection.qrels)
        return evaluate(qrels, [run], parse_measures(MEASURE))[0].mean[MEASURE]


def table(points: Sequence[ThinkPoint]) -> tuple[list[str], list[list[str]]]:
    """The modes' means over the collections: header and rows."""
    rows = []
    for margin in dict.fromkeys(point.margin for point in points):
        same = [point for point in points if point.margin == margin]
        seconds = [point.seconds for point in same]
        pairs, thoughts = sum(point.pairs for point in same), sum(point.thoughts for point in same)
        rows.append(
            [
                same[0].mode,
                f"{math.fsum(point.ndcg for point in same) / len(same):.3f}",
                f"{thoughts / max(1, pairs):.0%}",
                f"{sum(point.tokens for point in same):,}",
                "" if None in seconds else f"{math.fsum(number or 0 for number in seconds):,.0f}",
            ]
        )
    return ["think", MEASURE, "thoughts", "tokens", "seconds"], rows


def markdown(points: Sequence[ThinkPoint], settings: dict[str, object], facts: dict[str, str]) -> str:
    """The report: means, each collection, and where the figures come from."""
    header, rows = table(points)
    names = list(dict.fromkeys(point.collection for point in points))
    margins = list(dict.fromkeys(point.margin for point in points))
    found = {(point.collection, point.margin): point for point in points}
    lines = [
        f"# Thinking never, where it can matter, or always: {settings['model']}",
        "",
        f"The first stage's top {settings['k']} documents; thoughts of at most {settings['budget']} tokens. With auto, "
        f"the model thinks about passages whose place in the top {settings['top']} is uncertain; the number is the "
        "margin in standard deviations of a query's scores. Seconds are measured for never and always; those of auto "
        "are never's and the thoughts' share, by tokens, of always's.",
        "",
        markdown_table((header, rows)),
        "",
        f"## {MEASURE}",
        "",
        markdown_table(
            (
                ["", *(found[names[0], margin].mode for margin in margins)],
                [[name, *(f"{found[name, margin].ndcg:.3f}" for margin in margins)] for name in names],
            )
        ),
        "",
        "## Where the figures come from",
        "",
        *(f"- {name}: {value}" for name, value in {**settings, **facts}.items()),
        "",
    ]
    return "\n".join(lines)
