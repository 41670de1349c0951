"""The results as tables and a Markdown page. They hold record ids, letters, and numbers, never a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..markdown import Table, markdown
from .questions import Question
from .results import Comparison, Condition, Figures

NOTES = """\
- An answer without a choice in a box counts as wrong; nothing is guessed. Cut answers ran into the token limit.
- The interval of an accuracy is Wilson's 95% interval over the questions; that of a difference is the t-interval of
  the mean difference of the questions.
- p: exact sign test on wins and losses (with one sample, McNemar's exact test), with Holm's correction over all rows.
- The choices are in a random order, the same for all conditions. Guessing is right for {chance:.1%} of the questions.
- No question, choice, passage, or answer is kept, here or in the folder `work`: only ids, letters, and numbers."""


def accuracies(figures: Sequence[Figures]) -> Table:
    """Every condition's accuracy.

    Args:
        figures: the conditions' figures.

    Returns:
        Header and rows.
    """
    judged = any(each.unclear is not None for each in figures)
    header = ["reader gets", "accuracy", "95% interval", "no choice", "cut", "refused", "answers", "tokens"]
    rows = [
        [
            each.condition,
            f"{each.accuracy:.1%}",
            f"{each.low:.1%} to {each.high:.1%}",
            *map(str, (each.without_choice, each.cut, each.refused, each.answers)),
            f"{each.prompt_tokens + each.answer_tokens:,}",
            *([str(each.unclear)] if judged else []),
        ]
        for each in figures
    ]
    return [*header, *(["judge unclear"] if judged else [])], rows


def differences(comparisons: Sequence[Comparison]) -> Table:
    """The conditions against each other.

    Args:
        comparisons: the comparisons.

    Returns:
        Header and rows.
    """
    rows = [
        [
            each.second,
            each.first,
            f"{100 * each.difference:+.1f}",
            "all equal"
            if each.low is None or each.high is None
            else f"{100 * each.low:+.1f} to {100 * each.high:+.1f}",
            f"{each.wins} / {each.ties} / {each.losses}",
            f"{each.p_value:.3f}",
        ]
        for each in comparisons
    ]
    return ["", "against", "points", "95% interval", "win / tie / loss", "p"], rows


def work(conditions: Sequence[Condition]) -> Table | None:
    """What reranking took, or None if nothing was reranked.

    Args:
        conditions: the conditions.

    Returns:
        Header and rows.
    """
    rows = [
        [
            each.name,
            *(f"{each.work[name]:,}" for name in ("pairs", "judged", "tokens", "cut", "forced")),
            f"{each.work['seconds']:,.0f}",
        ]
        for each in conditions
        if each.work is not None
    ]
    return (["", "pairs", "judged", "tokens", "cut passages", "forced", "seconds"], rows) if rows else None


def page(
    figures: Sequence[Figures],
    comparisons: Sequence[Comparison],
    conditions: Sequence[Condition],
    questions: Sequence[Question],
    settings: Mapping[str, Any],
    environment: Mapping[str, str],
) -> str:
    """The results in Markdown.

    Args:
        figures: the conditions' figures.
        comparisons: the conditions against each other.
        conditions: the conditions.
        questions: the questions, for their number and the chance level.
        settings: the options.
        environment: versions and hardware.

    Returns:
        Lines of Markdown.
    """
    chance = sum(1 / len(question.choices) for question in questions) / len(questions)
    took = work(conditions)
    graded = "A judge decides" if settings["judge-model"] else "The choice in the box decides"
    lines = [
        f"# GPQA: {settings['reader-model']} with passages",
        "",
        f"{len(questions)} questions; answers to each: {settings['samples']}, at temperature "
        f"{settings['temperature']:g}. BM25 (bm25s) finds {settings['depth']} passages, a reranker orders them, "
        f"and the reader gets the best {settings['k']}. {graded} whether an answer is correct.",
        "",
        markdown(accuracies(figures)),
        "",
        "## Against each other",
        "",
        markdown(differences(comparisons), left=(0, 1)),
        "",
        NOTES.format(chance=chance),
        *(["", "## Reranking", "", markdown(took)] if took else []),
        "",
        "## Where the figures come from",
        "",
        *(f"- {name}: {value}" for name, value in {**settings, **environment}.items() if value not in (None, {}, [])),
        "",
    ]
    return "\n".join(lines)


def records(
    figures: Sequence[Figures],
    comparisons: Sequence[Comparison],
    conditions: Sequence[Condition],
    questions: Sequence[Question],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The results for ``results.json``, with the letter of every answer and nothing rounded.

    Args:
        figures: the conditions' figures.
        comparisons: the conditions against each other.
        conditions: the conditions.
        questions: the questions.
        settings: the options.

    Returns:
        The record.
    """
    return {
        "settings": dict(settings),
        "conditions": [
            {**dataclasses.asdict(each), "work": condition.work}
            for each, condition in zip(figures, conditions, strict=True)
        ],
        "comparisons": [dataclasses.asdict(each) for each in comparisons],
        "questions": {
            question.qid: {
                "order": list(question.order),
                "answer": question.answer,
                "answers": {
                    each.name: [dataclasses.asdict(answer) for answer in each.answers[question.qid]]
                    for each in conditions
                },
            }
            for question in questions
        },
    }
