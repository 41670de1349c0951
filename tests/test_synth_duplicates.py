"""Near-duplicates: the same words or the same meaning, but not minimal pairs."""

from __future__ import annotations

import importlib.util
import logging

from limrank_ir.synth.filters.duplicates import different, meaning_the_same

FIRST = "Neighbor's oak drops acorns on our greenhouse and two panes broke, who pays?"
QUERIES = [
    FIRST,
    FIRST.replace("panes", "windows"),  # one word in 14: three of its twelve 3-grams are new
    "Who has to pay if acorns from the neighbor's oak break two panes of our greenhouse?",
    "Neighbor's dog digs up our vegetable beds at night, can I ask for a fence?",
    "Do oaks drop more acorns after a wet spring?",
]


def kept(texts, **options):
    return different(texts, lambda text: text, similarity=0.7, **options)


def test_a_changed_word_and_a_paraphrase_are_duplicates_by_meaning(tmp_path):
    assert kept(QUERIES).kept == QUERIES
    place = tmp_path / "out" / "alike.json"
    alike = meaning_the_same(QUERIES, cosine=0.88, remember=place)
    found = kept(QUERIES, alike=alike)
    assert found.kept == [FIRST, *QUERIES[3:]] and found.dropped == {"means the same as another": 2}
    assert meaning_the_same(QUERIES, cosine=None, remember=place) == {}


def test_what_means_the_same_is_found_once(tmp_path, monkeypatch):
    place = tmp_path / "alike.json"
    place.write_text("[]")
    first = meaning_the_same(QUERIES[:2], cosine=0.5, remember=place)
    assert first == {1: [0]}
    monkeypatch.setattr("limrank_ir.synth.filters.duplicates._alike", None)
    assert meaning_the_same(QUERIES[:2], cosine=0.5, remember=place) == first


def test_without_sentence_transformers_words_are_compared_and_a_warning_says_so(tmp_path, monkeypatch, caplog):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "sentence_transformers" else found(name, *rest)
    )
    with caplog.at_level(logging.WARNING, "limrank_ir"):
        assert meaning_the_same(QUERIES, cosine=0.88, remember=tmp_path / "alike.json") == {}
    assert "by their words only" in caplog.text and "sentence_transformers is not installed" in caplog.text
    assert not list(tmp_path.iterdir())


def test_passages_of_one_query_may_differ_in_a_single_fact():
    long = "The tax office sends the form in March, and it has to be back by the end of May, signed by both partners."
    passages = [
        ("q1", long),
        ("q1", long.replace("May", "June")),
        ("q1", long.upper()),
        ("q2", long.replace("May", "July")),
    ]
    alike = {1: [0], 2: [0, 1], 3: [0, 1, 2]}
    found = different(passages, lambda each: each[1], similarity=0.6, group=lambda each: each[0], alike=alike)
    assert found.kept == passages[:2]
    assert found.dropped == {"the same as another of its query": 1, "nearly the same as another": 1}
