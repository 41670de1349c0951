"""Does leaving early pay? Candidates that leave after a layer, and models that end there, against the whole model."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limrank_ir.cli import console
from limrank_ir.errors import InputError
from limrank_ir.extras import need
from limrank_ir.formats.corpus import read_passages
from limrank_ir.formats.files import replacing
from limrank_ir.formats.trec import RunEntry
from limrank_ir.ranking.candidates import Candidates

from ..environment import environment
from ..markdown import markdown as markdown_table
from ..suite.collection import Collection, read_collections
from ..suite.first_stage import first_stage
from .verdicts import LayerVerdicts

SHARES = (0.3, 0.5, 1.0)
TAU, LOSS = 0.98, 0.002  # what a faster way may change, as for int8 (docs/speed.md)


@dataclass(frozen=True)
class LayerPoint:
    """What happens if a share of each query's candidates leaves after a layer.

    Attributes:
        collection: its name.
        layer: the number of layers that the leaving ones pass, from 1.
        share: the share that leaves, those with the lowest log-odds there; 1: all, as if the model ended there.
        saved: the share of the layers' computation that is saved.
        tau: Kendall's tau between the ranking and that of the whole model, in the mean over queries.
        ndcg: nDCG@10 of the ranking.
        change: the same, minus that of the whole model.
    """

    collection: str
    layer: int
    share: float
    saved: float
    tau: float
    ndcg: float
    change: float


def early_ranking(early: np.ndarray, final: np.ndarray, share: float) -> list[int]:
    """Rank candidates of which some have left early.

    Args:
        early: the candidates' log-odds where some leave.
        final: those of the whole model.
        share: the share that leaves, rounded down. They follow behind the others, in the order that they left in.

    Returns:
        The candidates' numbers, the best one first. Of equal ones, the first.

    Example:
        >>> early_ranking(np.array([0.0, 3.0, 1.0, 2.0]), np.array([9.0, 1.0, 2.0, 3.0]), 0.25)
        [3, 2, 1, 0]
    """
    order = np.argsort(-early, kind="stable")
    stay = len(order) - math.floor(len(order) * share)
    staying = np.sort(order[:stay])
    return [*staying[np.argsort(-final[staying], kind="stable")].tolist(), *order[stay:].tolist()]


def measure_layers(
    model: str,
    folders: Sequence[Path],
    output: Path,
    *,
    adapter: str | None = None,
    prompt_format: str | None = None,
    shares: Sequence[float] = SHARES,
    k: int = 20,
    queries: int | None = None,
    seed: int = 0,
    command: str = "",
) -> list[LayerPoint]:
    """Measure early exits of a model on a CPU in float32, and write results.json and results.md.

    Args:
        model: the model's name.
        folders: collections, or folders that contain collections.
        output: folder for the results.
        adapter: the folder of another adapter, or None.
        prompt_format: how a folder or hub id is read that does not say it.
        shares: the shares of the candidates that leave.
        k: documents to rerank for each topic.
        queries: how many judged topics to sample from each collection; None: all of them.
        seed: seed of the sample.
        command: the command line, for the report.

    Returns:
        One point for each collection, layer before the last, and share.

    Raises:
        InputError: the input is malformed, or the model does not say true or false.
    """
    need("bench layers", "bench", "ir_measures")
    collections = read_collections(folders, queries=queries, seed=seed)
    verdicts = LayerVerdicts(model, adapter, prompt_format)
    points = [point for each in collections for point in _points(each, verdicts, shares, k)]
    if not points:
        raise InputError("bench layers: no query has two candidates")
    settings = {"model": model, "adapter": adapter, "dtype": "float32", "k": k, "queries": queries, "seed": seed}
    facts = environment(command, "cpu")
    with replacing(output / "results.json") as file:
        records = [dataclasses.asdict(point) for point in points]
        json.dump({"settings": settings, "environment": facts, "points": records}, file, indent=1)
    with replacing(output / "results.md") as file:
        file.write(markdown(points, {**settings, **facts}))
    return points


def _points(collection: Collection, verdicts: LayerVerdicts, shares: Sequence[float], k: int) -> list[LayerPoint]:
    found = first_stage(collection, k)
    passages = read_passages(collection.folder, dict.fromkeys(docno for docs in found.values() for docno, _ in docs))
    layers: dict[str, np.ndarray] = {}
    with console.progress(f"{collection.name}, all layers", len(found), "queries") as advance:
        for qid, docs in found.items():
            entries = {qid: [RunEntry(qid, docno, rank, score, "") for rank, (docno, score) in enumerate(docs, 1)]}
            pairs = Candidates(entries, collection.topics, passages).pairs()
            layers[qid] = verdicts.log_odds([verdicts.fmt.render(*pair) for pair in pairs])
            advance(1)
    docnos = {qid: [docno for docno, _ in docs] for qid, docs in found.items()}
    return exits(collection.name, layers, docnos, collection.qrels, shares)


def exits(
    name: str,
    layers: Mapping[str, np.ndarray],
    docnos: Mapping[str, Sequence[str]],
    qrels: Mapping[str, Mapping[str, int]],
    shares: Sequence[float],
) -> list[LayerPoint]:
    """The points of one collection.

    Args:
        name: the collection.
        layers: qid to log-odds ``[layers, candidates]``.
        docnos: qid to the candidates.
        qrels: qid to docno to grade.
        shares: the shares that leave.

    Returns:
        The points, layer by layer, without the last layer.
    """
    import ir_measures
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    measure = ir_measures.parse_measure("nDCG@10")
    depth = next(iter(layers.values())).shape[0]

    def ndcg(rankings: Mapping[str, Sequence[int]]) -> float:
        run = {
            qid: {docnos[qid][candidate]: float(-rank) for rank, candidate in enumerate(ranking)}
            for qid, ranking in rankings.items()
        }
        return float(ir_measures.calc_aggregate([measure], qrels, run)[measure])

    whole = {qid: early_ranking(each[-1], each[-1], 0) for qid, each in layers.items()}
    best, points = ndcg(whole), []
    for layer in range(1, depth):
        for share in shares:
            rankings = {qid: early_ranking(each[layer - 1], each[-1], share) for qid, each in layers.items()}
            taus = [
                kendalltau(np.argsort(whole[qid]), np.argsort(ranking)).statistic
                for qid, ranking in rankings.items()
                if len(ranking) > 1
            ]
            if taus:
                here = ndcg(rankings)
                saved = share * (1 - layer / depth)
                points.append(LayerPoint(name, layer, share, saved, float(np.mean(taus)), here, here - best))
    return points


def paying(points: Sequence[LayerPoint]) -> list[tuple[int, float, float]]:
    """The exits that change little on every collection.

    Args:
        points: all points.

    Returns:
        (layer, share, saved), the one that saves most first.
    """
    groups: dict[tuple[int, float, float], list[LayerPoint]] = {}
    for point in points:
        groups.setdefault((point.layer, point.share, point.saved), []).append(point)
    good = [key for key, same in groups.items() if all(each.tau >= TAU and each.change >= -LOSS for each in same)]
    return sorted(good, key=lambda key: -key[2])


def table(points: Sequence[LayerPoint]) -> tuple[list[str], list[list[str]]]:
    """One row for each layer and share: what is saved, and the worst of the collections."""
    rows = []
    for layer, share in dict.fromkeys((point.layer, point.share) for point in points):
        same = [point for point in points if (point.layer, point.share) == (layer, share)]
        tau, change = min(each.tau for each in same), min(each.change for each in same)
        rows.append([f"{layer}", f"{share:.0%}", f"{same[0].saved:.0%}", f"{tau:.3f}", f"{change:+.3f}"])
    return ["layer", "leave", "saved", "lowest tau", "lowest change of nDCG@10"], rows


def markdown(points: Sequence[LayerPoint], facts: Mapping[str, object]) -> str:
    """The report: the worst case of each exit, each collection, and where the figures come from."""
    found = paying(points)
    best = (
        f"The one that saves most leaves {found[0][1]:.0%} after layer {found[0][0]}: {found[0][2]:.0%}."
        if found
        else ""
    )
    names = list(dict.fromkeys(point.collection for point in points))
    lines = [
        f"# Do candidates that leave early pay? {facts['model']}",
        "",
        f"Each query's candidates with the lowest log-odds after a layer leave there, behind the others. What is saved "
        f"is their share of the layers' computation. {len(found)} of the exits keep Kendall's tau with the whole model "
        f"at {TAU} or more and lose at most {LOSS} of nDCG@10 on every collection. {best}".rstrip(),
        "",
        markdown_table(table(points)),
        *(line for name in names for line in _collection(name, points)),
        "",
        "## Where the figures come from",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
    ]
    return "\n".join(lines)


def _collection(name: str, points: Sequence[LayerPoint]) -> list[str]:
    rows = [
        [f"{each.layer}", f"{each.share:.0%}", f"{each.tau:.3f}", f"{each.ndcg:.3f}", f"{each.change:+.3f}"]
        for each in points
        if each.collection == name
    ]
    return ["", f"## {name}", "", markdown_table((["layer", "leave", "tau", "nDCG@10", "change"], rows))]
