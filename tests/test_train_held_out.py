"""Queries that are set aside: never trained on, whatever the seed, and written as test collections."""

from __future__ import annotations

import pytest

from limrank_ir.errors import LimRankError
from limrank_ir.formats.corpus import iter_corpus
from limrank_ir.formats.topics import read_topics
from limrank_ir.formats.trec import read_qrels
from limrank_ir.train.config import Data, DataSource, TrainConfig
from limrank_ir.train.held_out import write_collections
from limrank_ir.train.mixture import mix, near_held_out
from limrank_ir.train.rows import normalized, read_groups
from limrank_ir.train.sources import read_sources
from tests.training import write_rows


def row(number, query, positives=1):
    return {
        "qid": f"r{number}",
        "query": query,
        "pos": [f"Answer {number} {place}." for place in range(positives)],
        "neg": [f"Other {number}.", "An answer to everything."],
        "license": "MIT",
    }


@pytest.fixture
def data(tmp_path):
    sources = []
    for name in ("one", "two"):
        rows = [row(number, f"What is {name} {number}?", 1 + number % 2) for number in range(12)]
        # The same query again, written differently and with another answer.
        rows += [row(20 + number, f"what is  {name} {number}") for number in range(12)]
        sources.append(DataSource(path=write_rows(tmp_path / name / "train.jsonl", rows), negatives=1))
    return Data(folder=tmp_path, sources=tuple(sources), held_out=4)


def test_no_seed_and_no_other_source_changes_what_is_set_aside(data):
    def trained(data, seed):
        return {normalized(group.query) for group in mix(data, seed)}

    first = trained(data, 1)
    assert len(first) == 16 and first == trained(data, 2)
    one = data.model_copy(update={"sources": data.sources[:1]})
    assert trained(one, 3) == {query for query in first if "one" in query}


def test_what_is_set_aside_becomes_collections_and_is_not_trained_on(data, tmp_path):
    places = write_collections(data, tmp_path / "dev")
    assert [place.name for place in places] == ["one", "two"]
    drawn = {normalized(group.query) for group in mix(data, 1)}
    for place, source in zip(places, data.sources, strict=True):
        topics = read_topics(place / "topics.jsonl.gz")
        asked = {normalized(topic.query) for topic in topics.values()}
        assert len(topics) == 4 and not asked & drawn
        corpus = {passage.docno: passage.text for passage in iter_corpus(place / "corpus.jsonl.gz")}
        groups = read_groups(source.path)
        assert set(corpus.values()) == {candidate.text for group in groups for candidate in group.candidates}
        for qid, judged in read_qrels(place / "qrels.txt").items():
            query = normalized(topics[qid].query)
            rows = [group for group in groups if normalized(group.query) == query]
            relevant = {candidate.text for group in rows for candidate in group.candidates if candidate.label}
            assert {corpus[docno] for docno in judged} == relevant


def test_near_copies_of_what_is_set_aside_are_not_trained_on(tmp_path):
    """And other queries are, although all of them end in the same words."""
    queries = [f"Rabbit {n} ate carrot {n}. What is likely to happen as a result?" for n in range(30)]
    path = write_rows(tmp_path / "rows.jsonl", [row(number, query) for number, query in enumerate(queries)])
    data = Data(folder=tmp_path, sources=(DataSource(path=path),), held_out=6)
    assert len(mix(data, 1)) == 24 and near_held_out(data.sources[0], data) == []
    queries += [f"Well: {query}" for query in queries]
    write_rows(path, [row(number, query) for number, query in enumerate(queries)])
    write_collections(data, tmp_path / "dev")
    aside = {topic.query for topic in read_topics(tmp_path / "dev" / "rows" / "topics.jsonl.gz").values()}
    rabbits = {query.removeprefix("Well: ") for query in aside}
    drawn = {group.query for group in mix(data, 1)}
    assert len(aside) == 6 and drawn == {query for query in queries if query.removeprefix("Well: ") not in rabbits}
    config = TrainConfig(model="m", data=data, objectives={"binary": 1}, output=tmp_path)
    ((facts, _),) = read_sources(config)
    assert (facts.queries, facts.near_held_out) == (len(drawn), 60 - 6 - len(drawn))
    query, theirs = facts.near_held_out_example
    assert query not in aside and theirs in aside


def test_without_a_number_or_with_equal_names_nothing_is_written(data, tmp_path):
    with pytest.raises(LimRankError, match=r"data\.held_out is 0"):
        write_collections(data.model_copy(update={"held_out": 0}), tmp_path / "dev")
    twice = data.model_copy(update={"sources": (data.sources[0], data.sources[0])})
    with pytest.raises(LimRankError, match="two sources are called 'one'"):
        write_collections(twice, tmp_path / "dev")
    assert not (tmp_path / "dev").exists()
