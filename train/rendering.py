"""The rows of a run as the questions of rankers: sets to order, or how a passage helps and what a query needs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from limrank_ir.errors import InputError
from limrank_ir.prompts.sets import LISTWISE, SETWISE_NUMBERS, SetFormat
from limrank_ir.prompts.sets.intent import HELP, NEED

from .config import TrainConfig
from .derived import Layout, places, write_source
from .mixture import mix
from .rows import Candidate, Group
from .run import uses_teacher
from .teacher import teach

Row: TypeAlias = dict[str, Any]
FORMATS: Mapping[str, SetFormat] = {"listwise": LISTWISE, "setwise": SETWISE_NUMBERS}
"""The format that learns a layout: rankers read and write by the same one."""


def render(config: TrainConfig, layout: Layout, output: Path) -> dict[str, int]:
    """Write the groups that a run draws as prompts with answers (`limrank_ir.train.rankings`).

    Of sets, passages are shown in random order. A listwise answer has the relevant passages first; the order of the
    others is the teachers', if the configuration has some, and else that in which they are shown. A setwise answer is
    the relevant passage, or of several the one that the teachers put first. Groups without a relevant passage or with
    a single one are left out. Questions about intent are one about each passage, and one about each query; sources
    without `DataSource.intent` are left out.

    Args:
        config: the run, with the layout "pointwise".
        layout: what to write.
        output: gets a folder for each source, with ``train.jsonl.gz`` and the source's README.md.

    Returns:
        The number of rows for each source.

    Raises:
        InputError: the configuration has another layout, a source cannot be read, or two have the same name.
        EngineError: a teacher failed.
    """
    data = config.data
    if data.layout != "pointwise":
        raise InputError(f"data.layout is {data.layout}; rows are rendered from pointwise ones")
    folders = places(data, output)
    groups = mix(data, config.seed)
    if uses_teacher(config):
        groups = teach(data, groups, config.teacher_cache).groups
    written = {}
    for number, (place, source) in enumerate(zip(folders, data.sources, strict=True)):
        some = [group for group in groups if group.source_number == number and _orders(group)]
        if layout != "intent":
            rows = [_set(group, FORMATS[layout], layout, config.seed) for group in some]
        elif source.intent is not None:
            rows = [row for group in some for row in _intents(group, source.intent == "background")]
        else:
            continue
        write_source(place, rows, source)
        written[place.name] = len(rows)
    return written


def _orders(group: Group) -> bool:
    return len(group.candidates) > 1 and any(candidate.label for candidate in group.candidates)


def _set(group: Group, fmt: SetFormat, layout: Layout, seed: int) -> Row:
    shown = random.Random(f"{seed} {group.qid}").sample(group.candidates, len(group.candidates))
    ranked = _ranked(shown)
    answer = " > ".join(f"[{place + 1}]" for place in (ranked if layout == "listwise" else ranked[:1]))
    # The line feed is where such an answer stops.
    return _row(group, fmt, [candidate.text for candidate in shown], f"{answer}\n")


def _intents(group: Group, background: bool) -> Iterator[Row]:
    yield _row(group, NEED, [""], f"[{int(background)}]")
    for candidate in group.candidates:
        yield _row(group, HELP, [candidate.text], f"[{candidate.label * (1 if background else 2)}]")


def _row(group: Group, fmt: SetFormat, passages: Sequence[str], answer: str) -> Row:
    skeleton = fmt.skeleton(len(passages), lambda messages: messages[-1][1])
    prompt = fmt.render(skeleton, group.query, passages, group.instruction)
    text = (prompt.prefix + prompt.passage + prompt.suffix).removesuffix(fmt.start)
    row = {"instruction": text, "output": answer, "qid": group.qid, "source": group.source}
    return {**row, "license": group.license} if group.license else row


def _ranked(shown: Sequence[Candidate]) -> list[int]:
    """Places of passages in the order to learn."""
    return sorted(range(len(shown)), key=lambda place: (not shown[place].label, -(shown[place].teacher or 0.0), place))
