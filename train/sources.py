"""What a mixture is made of, source by source: how much of each, under which license, and where it comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import TrainConfig
from .mixture import mix

# "- source: github owner/name @ commit" of the README.md beside a file of rows
_STATED = re.compile(r"^[-*]\s*(?P<name>source|licen[cs]e)s?\s*:\s*(?P<value>.+)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class SourceFacts:
    """What is taken of one source.

    Attributes:
        path: its file, relative to its folder.
        queries: queries taken (prompts, for whole rankings).
        pairs: (query, passage) pairs; 0 for whole rankings.
        positives: relevant ones among them.
        licenses: what the rows state.
        collections: the collections that the rows name.
        origin: where its publisher has it, if a README.md beside the file says so ("- source: ...").
        terms: its license in words, likewise ("- licence: ...").
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
    """Draw each source by itself, as the run draws it.

    Args:
        config: the run.

    Yields:
        What is taken of the source, and the examples: groups, or rows of whole rankings.

    Raises:
        InputError: a source cannot be used (`limrank_ir.train.mixture.mix`).
    """
    for source in config.data.sources:
        data = config.data.model_copy(update={"sources": (source,)})
        path = Path(os.path.relpath(source.path, source.folder or config.data.folder)).as_posix()
        stated = _stated(source.path.parent / "README.md")
        origin, terms = stated.get("source"), stated.get("license")
        if data.layout != "pointwise":
            from .rankings import read_rankings

            rows, _ = read_rankings(data, config.seed)
            yield SourceFacts(path, len(rows), origin=origin, terms=terms), list(rows)
            continue
        groups = mix(data, config.seed)
        labels = [candidate.label for group in groups for candidate in group.candidates]
        yield (
            SourceFacts(
                path=path,
                queries=len(groups),
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
    """What a collection's README.md states, under the names ``source`` and ``license``."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return {
        match["name"].lower().replace("licence", "license"): match["value"].strip() for match in _STATED.finditer(text)
    }
