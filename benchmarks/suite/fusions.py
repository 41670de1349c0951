"""Fusions of named systems: ``--fuse bm25,dense,limrank-smol``, from the runs that the suite has just made."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.formats.trec import read_run
from limrank_ir.ranking.fusion import fuse_runs, normalized_weights

from ..systems.system import ScoredRun

_WEIGHTED = re.compile(r"(.+)=([0-9.eE+-]+)")  # a label may contain = itself


@dataclass(frozen=True)
class Fusion:
    """A fusion of systems, which is a row of its own.

    Attributes:
        label: its name in tables; the weights are in it if they differ.
        weights: the labels of what is fused (the first stage, systems) to their weights, which sum to 1.
    """

    label: str
    weights: Mapping[str, float]

    @property
    def file_name(self) -> str:
        """The label as part of a path."""
        return re.sub(r"[^\w.+-]+", "", self.label) + "-fused"


def read_fusions(given: Sequence[str], labels: Collection[str]) -> list[Fusion]:
    """Read what is to be fused.

    Args:
        given: labels separated by commas, all or none with a weight: ``bm25,dense`` or ``bm25=1,dense=2``.
        labels: the labels of everything that is measured.

    Returns:
        The fusions, each once.

    Raises:
        InputError: a label is not measured or named twice, a weight is not valid, or there is only one label.
    """
    return list({fusion.label: fusion for fusion in (_read(text, labels) for text in given)}.values())


def _read(text: str, labels: Collection[str]) -> Fusion:
    weights: dict[str, float] = {}
    parts = text.split(",")
    for part in parts:
        name, weight = part, None
        if part not in labels and (match := _WEIGHTED.fullmatch(part)):
            name, weight = match[1], match[2]
        if name not in labels:
            raise InputError(f"--fuse {text}: {name!r} is not measured; name some of: {', '.join(labels)}")
        if name in weights:
            raise InputError(f"--fuse {text}: {name} is named twice; give it a weight instead: {name}=2")
        try:
            weights[name] = 1.0 if weight is None else float(weight)
        except ValueError as error:
            raise InputError(f"--fuse {text}: {weight} is not a number; write {name}=2") from error
    if len(weights) < 2:
        raise InputError(f"--fuse {text}: name at least two of: {', '.join(labels)}")
    shares = normalized_weights(weights, list(weights))
    equal = len(set(weights.values())) == 1
    label = " + ".join(name if equal else f"{share:.3g} {name}" for name, share in shares.items())
    return Fusion(label, shares)


def fused(fusion: Fusion, runs: Mapping[str, Path]) -> ScoredRun:
    """Fuse runs of the same candidates.

    Args:
        fusion: what to fuse.
        runs: label to its run.

    Returns:
        The fused run.
    """
    scores = {
        label: {qid: {entry.docno: entry.score for entry in entries} for qid, entries in read_run(runs[label]).items()}
        for label in fusion.weights
    }
    return fuse_runs(scores, fusion.weights).run
