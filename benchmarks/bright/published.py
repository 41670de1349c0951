"""Published values that a scorer must reproduce: ReasonIR-8B's public top 100 for GPT-4's chains of thought.

The runs are those of github 8421BCD/ReasonRank (``runs/*/reasonir_gpt4cot_top100.txt``); the judgments, those of github
castorini/eval (``qrels/qrels.bright-*.txt``, not the corrected ``.fixed`` ones). nDCG@10 is 30.59 on average, the value
that ReasonIR's authors publish; the bounds were computed from the same files by other code than this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"reasonir[_-]gpt4cot[_-]top100")


@dataclass(frozen=True)
class Published:
    """A task's values, times 100.

    Attributes:
        run: `run_hash` of the public run.
        qrels: `qrels_hash` of the judgments.
        ndcg: nDCG@10 of the run, 2 digits.
        best_10: nDCG@10 of the best order of its top 10, 1 digit.
        best_100: the same for its top 100.
    """

    run: str
    qrels: str
    ndcg: float
    best_10: float
    best_100: float


REASONIR: dict[str, Published] = {
    "biology": Published("4b86118a378ed4a1", "3f35f2047b7e395e", 43.49, 55.2, 86.6),
    "earth_science": Published("b613af5d90152a0d", "ab8b0c37a66bbac6", 43.00, 50.8, 80.5),
    "economics": Published("a90fb15931f457ad", "49c5fa3074832672", 32.65, 41.7, 68.5),
    "psychology": Published("77f724df8aee1b5c", "05656ffe07857dee", 39.57, 52.0, 82.7),
    "robotics": Published("f52ff6df17fdd279", "c518fe62dfa8fa45", 20.82, 29.6, 61.7),
    "stackoverflow": Published("002a91fb15dac1c8", "cd7a6a2a6ad442f8", 30.96, 44.7, 81.8),
    "sustainable_living": Published("dbaf99ae38f1b447", "6a5a5ba5d065eddc", 27.34, 37.4, 73.9),
    "leetcode": Published("5a0eb8caaaf19040", "bb86c751ebb62960", 31.68, 44.0, 72.1),
    "pony": Published("c509affadd132a9b", "bc7499acb57bdee7", 19.55, 29.6, 87.0),
    "aops": Published("7606787d010ab4b5", "bc453455463dd385", 7.37, 9.8, 27.2),
    "theoremqa_questions": Published("156223fa57415f8b", "6dd5f6dc6c2bc825", 33.93, 42.3, 63.9),
    "theoremqa_theorems": Published("b65c32bc45a8e580", "0bcbb4aa5c3f89e4", 36.68, 47.9, 72.7),
}
AVERAGE_NDCG = 30.59
AVERAGE_BEST = {10: 40.4, 20: 49.2, 100: 71.5}
"""The best order of the top k, averaged over the tasks."""


def is_reasonir(file: Path, run_hash: str, published: Published) -> bool:
    """Whether a file is, or by its name wants to be, the public run."""
    return run_hash == published.run or bool(_NAME.search(file.name))


def run_hash(run: Mapping[str, Sequence[tuple[str, float]]]) -> str:
    """A hash of a run's content, whatever its format: qid, docno, and score; 16 hexadecimal digits."""
    return _hash(f"{qid} {docno} {score!r}" for qid, scored in run.items() for docno, score in scored)


def qrels_hash(qrels: Mapping[str, Mapping[str, int]]) -> str:
    """A hash of judgments, whatever their format; 16 hexadecimal digits."""
    return _hash(f"{qid} {docno} {grade}" for qid, grades in qrels.items() for docno, grade in grades.items())


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]
