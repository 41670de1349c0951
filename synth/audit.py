"""The human audit: a page on which a person marks samples, and what the marks say."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limrank_ir.errors import InputError
from limrank_ir.workshop.page import render

from .records import JudgedPair

QUESTIONS = {
    "label": "The label is right.",
    "reasoning": "The reasoning is sound and leads to the label.",
    "query": "A real person could have this query.",
    "passage": "The passage could come from a real document of its kind.",
}
"""The statements to mark for each sample, after the paper's guidelines."""
BLIND = "The passage is relevant to the query."
"""The statement that replaces the label's in a blind audit. The mark agrees with the label or does not."""


class Marks(BaseModel):
    """A person's marks for a sample: question to yes or no. Questions may be missing.

    `texts` is the sample's `fingerprint`; None: an older version's page did not save it.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    answers: dict[str, bool]
    note: str = ""
    texts: str | None = None

    @property
    def denied(self) -> list[str]:
        """The questions that were answered with no."""
        return [question for question, yes in self.answers.items() if not yes]


class Audit(BaseModel):
    """What the page saves. `blind` says whether the person judged each passage before seeing its label."""

    model_config = ConfigDict(extra="forbid")

    auditor: str = ""
    blind: bool = False
    samples: int = Field(ge=0)
    marks: list[Marks]

    def agreement(self) -> dict[str, tuple[int, int, float, float]]:
        """Question to (yes, answers, and the lower and upper ends of Wilson's 95% interval for the share)."""
        found = {}
        for question in QUESTIONS:
            said = [mark.answers[question] for mark in self.marks if question in mark.answers]
            found[question] = (sum(said), len(said), *wilson(sum(said), len(said)))
        return found


def wilson(yes: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval for a share (E. B. Wilson, 1927).

    Args:
        yes: the number of successes.
        count: the number of trials.
        z: the normal quantile; 95% by default.

    Returns:
        The lower and the upper end; (0, 1) without trials.

    Example:
        >>> [round(end, 3) for end in wilson(90, 100)]
        [0.826, 0.945]
    """
    if not count:
        return 0.0, 1.0
    share, extra = yes / count, z * z / count
    middle = (share + extra / 2) / (1 + extra)
    half = z * math.sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


def samples(pairs: Sequence[JudgedPair], count: int, *, seed: int) -> list[JudgedPair]:
    """Draw samples to audit: half relevant, half not, as far as there are enough of each.

    Args:
        pairs: the pairs.
        count: how many.
        seed: the random seed.
    """
    draw = random.Random(seed)
    kinds = [[pair for pair in pairs if pair.label is label] for label in (True, False)]
    half = min(len(kinds[0]), max(count // 2, count - len(kinds[1])))
    chosen = draw.sample(kinds[0], half) + draw.sample(kinds[1], min(len(kinds[1]), count - half))
    draw.shuffle(chosen)
    return chosen


def fingerprint(pair: JudgedPair) -> str:
    """A hash of what is marked, as another run can have other texts under the same id: 12 hexadecimal digits."""
    texts = [pair.query.text, pair.passage.text, pair.label, pair.judgments[0].reasoning]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def audit_page(pairs: Sequence[JudgedPair], name: str, *, show_labels: bool = False) -> str:
    """Write the page on which a person marks samples. It keeps the marks in the browser and saves them as JSON.

    Args:
        pairs: the samples.
        name: of the synthesis.
        show_labels: show labels and reasoning from the start, not only after the person has judged the passage.
    """
    shown: list[Mapping[str, Any]] = [
        {
            "id": pair.id,
            "texts": fingerprint(pair),
            "query": pair.query.text,
            "passage": pair.passage.text,
            "label": pair.label,
            "reasoning": pair.judgments[0].reasoning,
            "about": "; ".join(
                (
                    f"{pair.query.kind} {pair.query.brief.form}, {pair.query.brief.domain}",
                    f"{pair.query.brief.difficulty}, {pair.passage.document}",
                )
            ),
            # These give the label away: the page shows them with it.
            "need": pair.need,
            "made": pair.passage.kind if pair.passage.flaw is None else f"{pair.passage.kind}: {pair.passage.flaw}",
        }
        for pair in pairs
    ]
    asked = {"name": name, "questions": QUESTIONS, "blind": None if show_labels else BLIND}
    return render(Path(__file__).with_name("audit.html"), name=name, data={**asked, "samples": shown})


def read_audit(path: Path, pairs: Sequence[JudgedPair]) -> Audit:
    """Read what the page saved, and check that it is about these pairs.

    Args:
        path: the JSON file.
        pairs: the pairs of the synthesis.

    Raises:
        InputError: the file cannot be read, is not an audit, or belongs to another synthesis.
    """
    found = read_marks(path)
    known = {pair.id: pair for pair in pairs}
    for mark in found.marks:
        if mark.id not in known or not mark.answers.keys() <= QUESTIONS.keys():
            raise InputError(
                f"{path}: marks {mark.id!r}, which is not in this synthesis; give the audit of this synthesis"
            )
        if mark.texts not in (None, fingerprint(known[mark.id])):
            raise InputError(
                f"{path}: marks {mark.id!r}, whose texts are others now; give the audit of this synthesis or a new one"
            )
    return found


def read_marks(path: Path) -> Audit:
    """Read what the page saved, whatever it is about.

    Args:
        path: the JSON file.

    Raises:
        InputError: the file cannot be read, or is not an audit.
    """
    try:
        return Audit.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: not an audit ({where}: {first['msg']}); save it from the audit page") from error
