"""The versions of BRIGHT: where they are on the hub, at which revision, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

VersionName = Literal["v1", "v1.1", "pro"]
Expansion = Literal["gpt4", "claude-3-opus", "Gemini-1.0", "llama3-70b", "grit"]
"""Whose chains of thought replace the queries of the first stage: BRIGHT's configurations ``{...}_reason``."""

SHORT = {
    "biology": "Bio",
    "earth_science": "Earth",
    "economics": "Econ",
    "psychology": "Psy",
    "robotics": "Rob",
    "stackoverflow": "Stack",
    "sustainable_living": "Sus",
    "leetcode": "Leet",
    "pony": "Pony",
    "aops": "AoPS",
    "theoremqa_questions": "TheoQ",
    "theoremqa_theorems": "TheoT",
}
"""Task to its name in published tables, in their order."""

TASKS = tuple(SHORT)


@dataclass(frozen=True)
class Size:
    """How large a task is, by mteb 2.26 (``descriptive_stats/Retrieval/Bright*.json``).

    Attributes:
        queries: its queries, with those that have no relevant document.
        documents: its documents.
        long: its long documents, or None if it has none.
    """

    queries: int
    documents: int
    long: int | None = None


_SIZES = {
    "biology": Size(103, 57_359, 524),
    "earth_science": Size(116, 121_249, 601),
    "economics": Size(103, 50_220, 516),
    "psychology": Size(101, 52_835, 512),
    "robotics": Size(101, 61_961, 508),
    "stackoverflow": Size(117, 107_081, 1_858),
    "sustainable_living": Size(108, 60_792, 554),
    "leetcode": Size(142, 413_932),
    "pony": Size(112, 7_894, 577),
    "aops": Size(111, 188_002),
    "theoremqa_questions": Size(205, 188_002),
    "theoremqa_theorems": Size(65, 23_839),
}
_PRO_SIZES = {
    "biology": Size(103, 59_513),
    "earth_science": Size(115, 123_575),
    "economics": Size(99, 52_240),
    "psychology": Size(100, 54_741),
    "robotics": Size(101, 63_920),
    "stackoverflow": Size(115, 109_188),
    "sustainable_living": Size(106, 63_142),
}


@dataclass(frozen=True)
class Version:
    """A version of BRIGHT.

    Attributes:
        name: what `--version` takes.
        sources: task to its data set on the hub and its revision.
        sizes: task to its size.
        layout: ``bright`` (configurations `examples` and `documents`, a split for each task) or ``mteb``
            (configurations `corpus`, `queries`, and `qrels`, a data set for each task).
    """

    name: VersionName
    sources: Mapping[str, tuple[str, str]]
    sizes: Mapping[str, Size]
    layout: Literal["bright", "mteb"] = "bright"


VERSIONS: dict[str, Version] = {
    # Rank1's and LimRank's numbers: mteb/tasks/retrieval/eng/bright_retrieval.py
    "v1": Version(
        "v1", dict.fromkeys(TASKS, ("xlangai/BRIGHT", "a75a0eb483f6a5233a6efc2d63d71540a4443dfb")), sizes=_SIZES
    ),
    # mteb/tasks/retrieval/eng/bright_v1_1_retrieval.py
    "v1.1": Version(
        "v1.1", dict.fromkeys(TASKS, ("mteb/BRIGHT", "c26703e6600d97c579ee2985f16cf307db13ed85")), sizes=_SIZES
    ),
    # yale-nlp/Bright-Pro (arXiv 2605.04018) as mteb has it: mteb/tasks/retrieval/eng/bright_pro_retrieval.py
    "pro": Version(
        "pro",
        {
            "biology": ("mteb/BrightProBiologyRetrieval", "8d356ed8a3b65123b5ec78793fbb7e80010345db"),
            "earth_science": ("mteb/BrightProEarthScienceRetrieval", "66a901dddee938a175f87d3dededeae506c13af8"),
            "economics": ("mteb/BrightProEconomicsRetrieval", "e7ce2bbbfc5fab8c0048dadc83abf2b5dd98bc05"),
            "psychology": ("mteb/BrightProPsychologyRetrieval", "18b7681648b7064e0a0f46843f3ab677d7e6a2c4"),
            "robotics": ("mteb/BrightProRoboticsRetrieval", "25648862e812eef5fbeb51de859ce3127dbc055e"),
            "stackoverflow": ("mteb/BrightProStackoverflowRetrieval", "cfadbcdc4d1ee17e91751218ae0ebfa001c8feea"),
            "sustainable_living": (
                "mteb/BrightProSustainableLivingRetrieval",
                "3f10f4998714e03b9fda8064360a768b0a3fbb4f",
            ),
        },
        sizes=_PRO_SIZES,
        layout="mteb",
    ),
}
