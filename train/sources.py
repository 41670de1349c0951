"""What a run uses of each source: how many queries and pairs, under which license, and where they come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .config import TrainConfig
from .mixture import excluded, mix, near_held_out
from .rankings import excluded_rankings, read_rankings
from .teacher import Agreement, Teaching, teach

# "- source: github owner/name @ commit" in the README.md next to a file of rows
_STATED = re.compile(r"^[-*]\s*(?P<name>source|licen[cs]e)s?\s*:\s*(?P<value>.+)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class SourceFacts:
    """What a run uses of one source.

    Attributes:
        path: its file, relative to its folder.
        queries: the number of queries (prompts, for whole rankings).
        pairs: the number of (query, passage) pairs; 0 for whole rankings.
        positives: the number of relevant pairs.
        licenses: the licenses that the rows state.
        collections: the collections that the rows name.
        origin: where it was published, if a README.md next to the file says so ("- source: ...").
        terms: its license in words, from the same README.md ("- license: ...").
        agreement: how far each teacher, and the fused one, agrees with the labels; only those with saved scores.
        false_negatives: how many negatives were dropped because the teacher puts them too far above the positive.
        lost_groups: how many groups were dropped with them, because no negative was left.
        excluded: how many of its rows are not used because they contain a query of `Data.exclude_topics`.
        excluded_example: the first of them: (training query, benchmark's query), or None.
        near_held_out: how many of its rows are not used because they nearly equal a query of `Data.held_out`.
        near_held_out_example: the first of them: (training query, the query that is set aside), or None.
    """

    path: str
    queries: int
    pairs: int = 0
    positives: int = 0
    licenses: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    origin: str | None = None
    terms: str | None = None
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    false_negatives: int = 0
    lost_groups: int = 0
    excluded: int = 0
    excluded_example: tuple[str, str] | None = None
    near_held_out: int = 0
    near_held_out_example: tuple[str, str] | None = None

    def record(self) -> dict[str, Any]:
        """The facts for data.json, which is published with the model: without other people's queries."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("_example")}


def read_sources(config: TrainConfig) -> Iterator[tuple[SourceFacts, list[Any]]]:
    """Draw each source separately, exactly as the run draws it. No teacher is run; saved scores are used.

    Args:
        config: the run.

    Yields:
        The facts about the source, and its examples: groups, or whole rankings.

    Raises:
        InputError: a source cannot be used (`limrank_ir.train.mixture.mix`).
    """
    for source in config.data.sources:
        data = config.data.model_copy(update={"sources": (source,)})
        path = Path(os.path.relpath(source.path, source.folder or config.data.folder)).as_posix()
        stated = _stated(source.path.parent / "README.md")
        origin, terms = stated.get("source"), stated.get("license")
        if data.whole_rankings:
            examples, _ = read_rankings(data, config.seed)
            held_back = excluded_rankings(source, data)
            facts = SourceFacts(path, len(examples), origin=origin, terms=terms)
            yield replace(facts, excluded=len(held_back), excluded_example=next(iter(held_back), None)), list(examples)
            continue
        groups, teaching = mix(data, config.seed), Teaching()
        if data.teacher and data.layout == "pointwise":
            taught = teach(data, groups, config.teacher_cache, cached_only=True)
            groups, (teaching,) = taught.groups, taught.sources
        held_back, near = excluded(source, data), near_held_out(source, data)
        labels = [candidate.label for group in groups for candidate in group.candidates]
        yield (
            SourceFacts(
                path=path,
                queries=len({(group.qid, group.query, group.instruction) for group in groups}),
                pairs=len(labels),
                positives=sum(labels),
                licenses=tuple(sorted({group.license or "not stated" for group in groups})),
                collections=tuple(sorted({group.source for group in groups})),
                origin=origin,
                terms=terms,
                agreement=teaching.agreement,
                false_negatives=teaching.false_negatives,
                lost_groups=teaching.lost_groups,
                excluded=len(held_back),
                excluded_example=next(iter(held_back), None),
                near_held_out=len(near),
                near_held_out_example=next(iter(near), None),
            ),
            list(groups),
        )


def _stated(readme: Path) -> dict[str, str]:
    """What a collection's README.md states as ``source`` and ``license``."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return {
        match["name"].lower().replace("licence", "license"): match["value"].strip() for match in _STATED.finditer(text)
    }
