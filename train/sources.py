"""What a run uses of each source: how many queries and pairs, under which license, and where they come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import TrainConfig
from .mixture import mix
from .rankings import read_rankings

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
        terms: its license in words, from the same README.md ("- licence: ...").
    """

    path: str
    queries: int
    pairs: int = 0
    positives: int = 0
    licenses: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    origin: str | None = None
    terms: str | None = None


def read_sources(config: TrainConfig) -> Iterator[tuple[SourceFacts, list[Any]]]:
    """Draw each source separately, exactly as the run draws it.

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
            yield SourceFacts(path, len(examples), origin=origin, terms=terms), list(examples)
            continue
        groups = mix(data, config.seed)
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
