"""Our verdicts against a plain, slow implementation of the released code, on the real small model."""

from __future__ import annotations

import math

import pytest

from limrank_ir import LimRank
from tests import reference

QUERIES = [
    "my script sometimes leaves half a file behind when the power goes; how do I make sure it is on disk?",
    "how do I wait for several tasks at once?",
    "日本語の文字列を数えるには? {curly} %s \\n",
]


def test_not_thinking(smol, limrank, docstrings):
    pairs = [(query, passage) for query in QUERIES for passage in docstrings[:4]]
    verdicts = limrank.judge(pairs)
    for (query, passage), verdict in zip(pairs, verdicts, strict=True):
        expected = reference.judge(*smol, query, passage)
        assert verdict.log_odds == pytest.approx(expected.log_odds, abs=1e-3)
        assert verdict.finish == "verdict" and verdict.reasoning is None and verdict.reasoning_tokens == 0
        assert verdict.probability == pytest.approx(1 / (1 + math.exp(-expected.log_odds)), abs=1e-3)


@pytest.mark.parametrize("budget", [1, 24])
def test_thinking(smol, docstrings, budget):
    limrank = LimRank(think="always", budget=budget)
    pairs = [(query, passage) for query in QUERIES for passage in docstrings[:2]]
    verdicts = limrank.judge(pairs)
    compared = [
        reference.agrees(verdict, reference.judge(*smol, query, passage, budget=budget))
        for (query, passage), verdict in zip(pairs, verdicts, strict=True)
    ]
    assert sum(compared) > len(pairs) / 2
    assert limrank.stats.forced == sum(verdict.finish != "verdict" for verdict in verdicts)


def test_label_tokens_have_a_leading_space(smol, limrank):
    _, tokenizer = smol
    limrank.judge([("a", "b")])
    assert list(limrank.engine._loaded.tokenizer.label_ids) == [
        tokenizer(" true", add_special_tokens=False).input_ids[0],
        tokenizer(" false", add_special_tokens=False).input_ids[0],
    ]
