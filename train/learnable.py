"""Is there something to learn? Passages of one kind alone teach an objective nothing, or to say the same of all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from limrank_ir.errors import InputError

from .rows import Group

log = logging.getLogger("limrank_ir")


def check_learnable(groups: Sequence[Group], objectives: Collection[str]) -> None:
    """Make sure that each objective has something to tell apart, and say how many groups are lost on it.

    Args:
        groups: the mixture.
        objectives: their names.

    Raises:
        InputError: an objective can learn nothing from these groups, or nothing but a constant.
    """
    labels = [{candidate.label for candidate in group.candidates} for group in groups]
    passages = [candidate for group in groups for candidate in group.candidates]
    grades = {candidate.label if candidate.grade is None else candidate.grade for candidate in passages}
    needs = {
        "contrastive": (any(len(kinds) == 2 for kinds in labels), "a relevant passage and another of the same query"),
        "distill": (any(len(group.candidates) > 1 for group in groups), "two passages of the same query"),
        "binary": (len(set().union(*labels)) == 2, "relevant passages and others"),
        "verdict": (len(set().union(*labels)) == 2, "relevant passages and others"),
        "graded": (len(grades) > 1, "passages of different grades"),
    }
    if lacking := [f"{name} needs {what}" for name, (met, what) in needs.items() if name in objectives and not met]:
        files = ", ".join(sorted({group.source for group in groups}))
        has = f"{len(passages)} passages of {len(groups)} queries, {sum(each.label for each in passages)} relevant"
        raise InputError(
            f"{files}: there is nothing to learn ({has}): {'; '.join(lacking)}; add such rows (negatives: 0 takes "
            "them away), or choose other objectives"
        )
    alone = [kinds for kinds in labels if len(kinds) == 1]
    if alone and "contrastive" in objectives:
        counts = (
            len(alone),
            len(groups),
            sum(kinds == {True} for kinds in alone),
            sum(kinds == {False} for kinds in alone),
        )
        log.warning(
            "%d of %d queries have passages of one kind, from which contrastive learns nothing (%d have only relevant "
            "ones, %d have none)",
            *counts,
        )
    thoughts = [candidate.label for candidate in passages if candidate.reasoning]
    if set(objectives) == {"traces"} and len(set(thoughts)) == 1:
        log.warning(
            "all %d thoughts end in %s: a model that learns nothing else may say so of every passage",
            *(len(thoughts), str(thoughts[0]).lower()),
        )
