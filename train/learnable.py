"""Check that there is something to learn: most objectives need relevant passages and others to tell apart."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from limrank_ir.errors import InputError

from .rows import Group

log = logging.getLogger("limrank_ir")


def check_learnable(groups: Sequence[Group], objectives: Collection[str], *, taught: bool = False) -> None:
    """Check that each objective can learn from the groups, and log how many groups are useless to it.

    Args:
        groups: the mixture.
        objectives: the names of the objectives.
        taught: whether the groups have their teachers' scores, so that `distill` needs a query with them.

    Raises:
        InputError: an objective can learn nothing from these groups, or only to give every passage the same score.
    """
    labels = [{candidate.label for candidate in group.candidates} for group in groups]
    passages = [candidate for group in groups for candidate in group.candidates]
    grades = {candidate.label if candidate.grade is None else candidate.grade for candidate in passages}
    several = [group for group in groups if len(group.candidates) > 1]
    distillable = [group for group in several if not taught or group.candidates[0].teacher is not None]
    both_labels = len(set().union(*labels)) == 2
    needs = {
        "contrastive": (any(len(each) == 2 for each in labels), "a query with a relevant passage and another one"),
        "distill": (bool(distillable), "a query with two passages" + " and a teacher" * taught),
        "binary": (both_labels, "relevant passages and others"),
        "verdict": (both_labels, "relevant passages and others"),
        "graded": (len(grades) > 1, "passages with different grades"),
    }
    unmet = [f"{name} needs {need}" for name, (met, need) in needs.items() if name in objectives and not met]
    if unmet:
        files = ", ".join(sorted({group.source for group in groups}))
        found = f"{len(passages)} passages for {len(groups)} queries, {sum(each.label for each in passages)} relevant"
        raise InputError(
            f"{files}: there is nothing to learn ({found}): {'; '.join(unmet)}; add such rows (negatives: 0 removes "
            "them), or choose other objectives"
        )
    only_relevant = sum(each == {True} for each in labels)
    none_relevant = sum(each == {False} for each in labels)
    if "contrastive" in objectives and only_relevant + none_relevant:
        log.warning(
            "contrastive learns nothing from %d of %d queries (%d have only relevant passages, %d have none)",
            only_relevant + none_relevant,
            len(groups),
            only_relevant,
            none_relevant,
        )
    verdicts = [candidate.label for candidate in passages if candidate.reasoning]
    if set(objectives) == {"traces"} and len(set(verdicts)) == 1:
        log.warning(
            "all %d thoughts end in %s; the model may learn to say so for every passage",
            len(verdicts),
            str(verdicts[0]).lower(),
        )
