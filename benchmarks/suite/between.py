"""Two results of the suite, query by query: is the new system better than the old one?

Each page of the suite compares its systems with the first stage. That two of them gain different amounts says little
about the difference between the two; the differences of the queries that both were measured on do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.formats.words import some
from limrank_ir.ranking.statistics import Comparison, compare, correct

from ..markdown import Table
from ..systems.system import FIRST_STAGE
from .results import PRIMARY, Statistics, SuiteReport, SystemResult, weighted_differences
from .tables import COMPARED, compared


@dataclass(frozen=True)
class Difference:
    """A system of the new results compared with one of the old.

    Attributes:
        old: its label in the old results.
        new: its label in the new ones.
        means: means over the collections, of the shared queries: old, new.
        comparison: new minus old, over the shared queries; each collection has the same weight.
    """

    old: str
    new: str
    means: tuple[float, float]
    comparison: Comparison


@dataclass(frozen=True)
class Between:
    """What `between` found.

    Attributes:
        differences: by system.
        collections: collection name to the number of queries that both results have.
        left_out: what only one of the results has, in words.
    """

    differences: list[Difference]
    collections: dict[str, int]
    left_out: list[str]

    def as_json(self) -> dict[str, Any]:
        """Everything, unrounded."""
        return {
            "systems": [
                {"old": each.old, "new": each.new, "means": each.means, **each.comparison.as_json()}
                for each in self.differences
            ],
            "collections": self.collections,
            "left_out": self.left_out,
        }


def between(
    old: SuiteReport,
    new: SuiteReport,
    *,
    measure: str = PRIMARY,
    renamed: Mapping[str, str] | None = None,
    statistics: Statistics | None = None,
) -> Between:
    """Compare systems of two results over the collections and queries that both have.

    Args:
        old: the results to compare with.
        new: the others.
        measure: one of `limrank_ir.benchmarks.suite.results.MEASURES`.
        renamed: names in labels of the old results to the names in the new results; also within fusions. Only systems
            with such a name are compared; without any, all that have the same label.
        statistics: how to compare; the correction is over the systems.

    Returns:
        The differences, in the order of the old results.

    Raises:
        InputError: they share no collection, no query of one, or no system.

    Example:
        >>> between(read_report(Path("first")), read_report(Path("second")), renamed={"limrank-smol": "second"})
    """
    statistics = statistics or Statistics()
    names = [name for name in old.collections if name in new.collections]
    if not names:
        raise InputError(
            f"the results share no collection: {some(list(old.collections))} and {some(list(new.collections))}; "
            "measure the same ones"
        )
    labels = {label: _renamed(label, renamed or {}) for label in old.labels if label != FIRST_STAGE}
    if renamed:  # what has no other name is the same system, and would only count in the correction
        labels = {was: now for was, now in labels.items() if was != now}
    if not labels:
        raise InputError(
            f"no system of the old results is named {some(list(renamed or ()))}; they have {some(old.labels)}"
        )
    if not (shared := {was: now for was, now in labels.items() if now in new.labels}):
        raise InputError(
            f"the results share no system: {some(list(labels.values()))} and {some(new.labels)}; use --rename OLD=NEW"
        )
    pairs = {was: [_shared(old.on(name)[was], new.on(name)[now]) for name in names] for was, now in shared.items()}
    raw = [
        compare(weighted_differences(each, measure), test=statistics.test, margin=statistics.margin)
        for each in pairs.values()
    ]
    found = [
        Difference(was, shared[was], _means(pairs[was], measure), comparison)
        for was, comparison in zip(pairs, correct(raw, statistics.correction), strict=True)
    ]
    first = next(iter(pairs.values()))
    queries = {name: len(one.per_query) for name, (one, _) in zip(names, first, strict=True)}
    return Between(found, queries, _left_out(old, new, labels, queries))


def _renamed(label: str, renamed: Mapping[str, str]) -> str:
    """The label in the new results. Names are replaced as whole words: of fusions, every part."""
    parts = label.split(" + ")
    for place, part in enumerate(parts):
        weight, _, name = part.rpartition(" ") if not part.endswith(", fused") else ("", "", part)
        bare = name.removesuffix(", fused")
        parts[place] = f"{weight} " * bool(weight) + renamed.get(bare, bare) + name.removeprefix(bare)
    return " + ".join(parts)


def _shared(old: SystemResult, new: SystemResult) -> tuple[SystemResult, SystemResult]:
    """Both results, of the queries that both have."""
    qids = [qid for qid in old.per_query if qid in new.per_query]
    if not qids:
        raise InputError(f"{old.collection}: the results share no query; use the same --queries and --seed for both")
    first, second = (replace(each, per_query={qid: each.per_query[qid] for qid in qids}) for each in (old, new))
    return first, second


def _means(pairs: Sequence[tuple[SystemResult, SystemResult]], measure: str) -> tuple[float, float]:
    """The means over the collections."""
    both = [
        [math.fsum(values[measure] for values in each.per_query.values()) / len(each.per_query) for each in pair]
        for pair in pairs
    ]
    first, second = (math.fsum(values) / len(both) for values in zip(*both, strict=True))
    return first, second


def _left_out(old: SuiteReport, new: SuiteReport, labels: Mapping[str, str], queries: Mapping[str, int]) -> list[str]:
    found = []
    for which, report, other in (("old", old, new), ("new", new, old)):
        if alone := [name for name in report.collections if name not in other.collections]:
            found.append(f"collections of the {which} results only: {some(alone)}")
        count = sum(len(report.first_stage(name).per_query) - shared for name, shared in queries.items())
        if count:
            found.append(f"queries of the {which} results only: {count}")
    if alone := [label for label, now in labels.items() if now not in new.labels]:
        found.append(f"systems of the old results only: {some(alone)}")
    return found


def table(found: Between) -> Table:
    """The differences, one row for each system."""
    rows = []
    for each in found.differences:
        label = each.old if each.old == each.new else f"{each.old} \u2192 {each.new}"
        rows.append([label, *(f"{mean:.3f}" for mean in each.means), *compared(each.comparison)])
    return ["", "old", "new", *COMPARED], rows
