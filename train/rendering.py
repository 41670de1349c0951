"""The rows of a run as whole rankings: the same queries and passages for models that order several at once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limrank_ir.errors import InputError
from limrank_ir.prompts.sets import set_format
from limrank_ir.prompts.sets.format import SetFormat

from .config import TrainConfig
from .derived import Layout, places, write_source
from .mixture import mix
from .rows import Candidate, Group
from .run import uses_teacher
from .teacher import teach

FORMATS: Mapping[Layout, str] = {"listwise": "listwise", "setwise": "setwise-numbers"}
"""The format that learns a layout (`limrank_ir.prompts.sets`): rankers read and write by the same one."""


def render(config: TrainConfig, layout: Layout, output: Path) -> dict[str, int]:
    """Write the groups that a run draws as rows of whole rankings (`limrank_ir.train.rankings`).

    Passages are shown in random order. A listwise answer has the relevant passages first; the order of the others is
    the teachers', if the configuration has some, and else that in which they are shown. A setwise answer is the
    relevant passage, or of several the one that the teachers put first. Groups without a relevant passage or with a
    single one are left out.

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
        raise InputError(f"data.layout is {data.layout}; rows of whole rankings are made from pointwise ones")
    folders = places(data, output)
    groups = mix(data, config.seed)
    if uses_teacher(config):
        groups = teach(data, groups, config.teacher_cache).groups
    fmt, written = set_format(FORMATS[layout]), {}
    for number, (place, source) in enumerate(zip(folders, data.sources, strict=True)):
        some = [group for group in groups if group.source_number == number and _orders(group)]
        write_source(place, (_row(group, fmt, layout, config.seed) for group in some), source)
        written[place.name] = len(some)
    return written


def _orders(group: Group) -> bool:
    return len(group.candidates) > 1 and any(candidate.label for candidate in group.candidates)


def _row(group: Group, fmt: SetFormat, layout: Layout, seed: int) -> dict[str, Any]:
    shown = random.Random(f"{seed} {group.qid}").sample(group.candidates, len(group.candidates))
    ranked = _ranked(shown)
    answer = " > ".join(f"[{place + 1}]" for place in (ranked if layout == "listwise" else ranked[:1]))
    skeleton = fmt.skeleton(len(shown), lambda messages: messages[-1][1])
    prompt = fmt.render(skeleton, group.query, [candidate.text for candidate in shown], group.instruction)
    text = (prompt.prefix + prompt.passage + prompt.suffix).removesuffix(fmt.start)
    # The line feed is where such an answer stops.
    row = {"instruction": text, "output": f"{answer}\n", "qid": group.qid, "source": group.source}
    return {**row, "license": group.license} if group.license else row


def _ranked(shown: Sequence[Candidate]) -> list[int]:
    """Places of passages in the order to learn."""
    return sorted(range(len(shown)), key=lambda place: (not shown[place].label, -(shown[place].teacher or 0.0), place))
