"""Hard negatives that the current reranker finds, for another round of training (AR2; UniME-V2; NV-Retriever).

The negatives of a source were chosen by BM25, or by whoever published it, and a reranker that has learned from them
knows them. What a first stage finds for a query among all passages of its source is harder, and closer to what the
reranker will see. Some of it answers the query, too: a passage that both the reranker and MiniLM, which saw other data,
put above the query's best positive is left out. What one of them alone puts there stays, as a mistake to learn from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from limrank_ir.errors import InputError
from limrank_ir.models import MODELS, resolve
from limrank_ir.retrieval import minilm
from limrank_ir.weights import locate

from .config import Data, DataSource
from .derived import places, write_source
from .mixture import chosen_rows, first_words
from .rows import Candidate, Group, normalized, read_groups
from .teacher.models import CROSS_ENCODER, teacher_identity
from .teacher.scores import known_scores, save_scores
from .vectors import passage_vectors

log = logging.getLogger("limrank_ir")

Relevant: TypeAlias = dict[str, set[str]]
"""Normalized query to the normalized passages that some row of a source labels as relevant to it."""

_FUSED = 60  # reciprocal rank fusion: 1 / (60 + rank), Cormack et al. 2009


@dataclass(frozen=True)
class Mined:
    """What was mined from one source.

    Attributes:
        name: the source.
        path: the file that was written.
        queries: its queries.
        kept: the negatives that were written.
        passages: the passages that were retrieved among.
        scored: the passages that were retrieved.
        dropped: those left out because both scorers put them above the query's best positive.
        above: those of them that the reranker puts above the query's best positive.
        without: queries for which none is left. They keep their old negatives, so that the configuration still fits.
    """

    name: str
    path: Path
    queries: int
    kept: int
    passages: int = 0
    scored: int = 0
    dropped: int = 0
    above: int = 0
    without: int = 0


def mine(data: Data, seed: int, model: str, cache: Path, output: Path, *, depth: int, keep: int) -> list[Mined]:
    """Mine negatives for the queries that a run draws.

    Each source gets a folder ``output/NAME`` with ``train.jsonl.gz`` (rows of the layout "groups", the reranker's
    highest negatives first) and the README.md of the source, which states its license. Queries and passages are cut
    as the source says, and the share of instructions that it keeps is drawn here, so that the scores can be used again
    when the rows are trained on. Vectors and scores are saved first; a run that was stopped goes on. The rows of a
    source whose negatives no teacher may judge (``teacher: none``), such as minimal pairs, keep those. What another
    row of the source labels as relevant to the same query is no negative.

    Args:
        data: the mixture. Queries that are held out or excluded are not mined for.
        seed: the run's seed.
        model: the current reranker, as in `Data.teacher`.
        cache: the folder of the vectors, and of the scores, which the teachers use, too.
        output: the folder to write.
        depth: how many passages of each query are retrieved and scored.
        keep: how many of them are kept, at most.

    Returns:
        What was mined from each source.

    Raises:
        InputError: a source cannot be used, two sources have the same name, `output` is their folder, or the model is
            not available.
        EngineError: a scorer failed, or the cache is damaged.
    """
    _check(model)
    return [
        _mine(source, data, seed, (model, minilm.NAME), cache, place, depth, keep)
        for source, place in zip(data.sources, places(data, output), strict=True)
    ]


def _check(model: str) -> None:
    """Find out before anything is retrieved that the reranker cannot be had."""
    base, _, adapter = model.partition("+")
    if model.startswith(CROSS_ENCODER):
        return
    if base not in MODELS:
        names = ", ".join(name for name, each in MODELS.items() if each.ranker is None)
        raise InputError(
            f"--model {model}: is not known by name; choose one of {names} (or NAME+ADAPTER), or {CROSS_ENCODER}FOLDER"
        )
    found = resolve(base, adapter=adapter or None)
    for weights in (found.weights, found.adapter):
        if weights is not None:
            locate(weights)


HEADER = ("source", "queries", "passages", "scored", "left out", "kept", "above the positive", "queries without")


def table(mined: Sequence[Mined]) -> list[tuple[str, ...]]:
    """What was mined, in the columns of `HEADER`."""
    return [
        (
            each.name,
            f"{each.queries:,}",
            f"{each.passages:,}",
            f"{each.scored:,}",
            f"{each.dropped:,}",
            f"{each.kept:,}",
            f"{each.above / each.kept:.0%}" if each.kept else "",
            f"{each.without:,}",
        )
        for each in mined
    ]


def _mine(
    source: DataSource,
    data: Data,
    seed: int,
    scorers: tuple[str, str],
    cache: Path,
    place: Path,
    depth: int,
    keep: int,
) -> Mined:
    rows, rng = chosen_rows(source, data, seed)
    rows = [row for row in rows if row.candidates[0].label]  # positives are first
    groups = [_cut(row, source, rng.random() < source.keep_instruction) for row in rows]
    if source.teacher == "none":
        path = write_source(place, map(_row, groups), source)
        return Mined(place.name, path, len(groups), kept=_negatives(groups))
    old, groups = groups, [_positives(group) for group in groups]
    corpus: dict[str, None] = {}
    relevant: Relevant = {}
    for group in read_groups(source.path):
        query = normalized(first_words(group.query, source.query_words))
        for candidate in group.candidates:
            text = first_words(candidate.text, source.passage_words)
            corpus[text] = None
            if candidate.label:
                relevant.setdefault(query, set()).add(normalized(text))
    log.info("%s: retrieving for %s queries among %s passages", place.name, f"{len(groups):,}", f"{len(corpus):,}")
    found = [
        replace(group, candidates=(*group.candidates, *others))
        for group, others in zip(groups, _retrieved(groups, list(corpus), relevant, depth, cache), strict=True)
    ]
    save_scores(scorers, found, cache)
    known = known_scores(scorers, found, cache)
    scores = zip(*(known[name] for name in scorers), strict=True)
    mined = [_filtered(group, ours, theirs, keep) for group, (ours, theirs) in zip(found, scores, strict=True)]
    new = [group for group, _, _ in mined]
    rows = [group if _negatives([group]) else before for group, before in zip(new, old, strict=True)]
    path = write_source(place, map(_row, rows), source)
    return Mined(
        name=place.name,
        path=path,
        queries=len(groups),
        passages=len(corpus),
        scored=_negatives(found),
        dropped=sum(dropped for _, dropped, _ in mined),
        kept=_negatives(new),
        above=sum(above for _, _, above in mined),
        without=sum(not _negatives([group]) for group in new),
    )


def _cut(group: Group, source: DataSource, instructed: bool) -> Group:
    """The row as it would be trained on, with all its passages."""
    texts = {first_words(each.text, source.passage_words): each.label for each in reversed(group.candidates)}
    return replace(
        group,
        query=first_words(group.query, source.query_words),
        instruction=group.instruction if instructed else None,
        candidates=tuple(Candidate(text, label) for text, label in reversed(texts.items())),
    )


def _positives(group: Group) -> Group:
    return replace(group, candidates=tuple(each for each in group.candidates if each.label))


def _retrieved(
    groups: Sequence[Group], corpus: Sequence[str], relevant: Relevant, depth: int, cache: Path
) -> list[list[Candidate]]:
    """The best passages of each query by BM25 and MiniLM, fused by their ranks, without its positives and copies."""
    import bm25s  # type: ignore[import-untyped]
    from sentence_transformers import SentenceTransformer, util

    if not groups:
        return []
    wide = min(len(corpus), 3 * depth)
    tokens = bm25s.tokenize(list(corpus), stopwords="en", show_progress=False)
    queries = [group.query for group in groups]
    rankings: list[list[list[int]]] = []
    if tokens.vocab:
        index = bm25s.BM25()
        index.index(tokens, show_progress=False)
        words = bm25s.tokenize(queries, stopwords="en", return_ids=False, show_progress=False)
        places, scores = index.retrieve(words, k=wide, show_progress=False)
        rankings.append([row[of > 0].tolist() for row, of in zip(places, scores, strict=True)])
    encoder = SentenceTransformer(str(minilm.folder("limrank mine")))
    vectors = passage_vectors(encoder, teacher_identity(minilm.NAME), corpus, cache)
    asked = encoder.encode_query(queries, normalize_embeddings=True, show_progress_bar=False)
    near = util.semantic_search(np.asarray(asked), vectors, top_k=wide)
    rankings.append([[hit["corpus_id"] for hit in hits] for hits in near])
    return [
        _best(relevant[normalized(group.query)], corpus, [ranking[number] for ranking in rankings], depth)
        for number, group in enumerate(groups)
    ]


def _best(positives: Set[str], corpus: Sequence[str], rankings: Sequence[Sequence[int]], depth: int) -> list[Candidate]:
    fused: dict[int, float] = {}
    for ranking in rankings:
        for rank, place in enumerate(ranking, 1):
            fused[place] = fused.get(place, 0.0) + 1 / (_FUSED + rank)
    best = sorted(fused, key=lambda place: (-fused[place], place))
    return [Candidate(corpus[place], False) for place in best if normalized(corpus[place]) not in positives][:depth]


def _filtered(group: Group, ours: Sequence[float], theirs: Sequence[float], keep: int) -> tuple[Group, int, int]:
    """The group with its hardest negatives; how many were left out; and how many the reranker puts above the best."""
    positives = [place for place, each in enumerate(group.candidates) if each.label]
    high, other = (max(scores[place] for place in positives) for scores in (ours, theirs))
    found = [place for place, each in enumerate(group.candidates) if not each.label]
    likely = {place for place in found if ours[place] > high and theirs[place] > other}
    hard = sorted((place for place in found if place not in likely), key=lambda place: (-ours[place], place))[:keep]
    candidates = tuple(group.candidates[place] for place in (*positives, *hard))
    return replace(group, candidates=candidates), len(likely), sum(ours[place] > high for place in hard)


def _negatives(groups: Iterable[Group]) -> int:
    return sum(not candidate.label for group in groups for candidate in group.candidates)


def _row(group: Group) -> dict[str, Any]:
    texts: dict[bool, list[str]] = {True: [], False: []}
    for candidate in group.candidates:
        texts[candidate.label].append(candidate.text)
    optional = {"instruction": group.instruction, "license": group.license}
    return {
        "qid": group.qid,
        "query": group.query,
        "pos": texts[True],
        "neg": texts[False],
        "source": group.source,
        **{name: value for name, value in optional.items() if value},
    }
