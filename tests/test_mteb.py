"""LimRank in mteb's real evaluation: a reranking task, and one with changed instructions (FollowIR's p-MRR)."""

from __future__ import annotations

import json
import math

import pytest

from limrank_ir import LimRankError

mteb = pytest.importorskip("mteb", reason="mteb is not installed: pip install 'limrank-ir[mteb]'")

from datasets import Dataset  # noqa: E402
from mteb._evaluators.retrieval_metrics import evaluate_p_mrr_change  # noqa: E402
from mteb.abstasks.retrieval import AbsTaskRetrieval  # noqa: E402
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData  # noqa: E402
from mteb.abstasks.task_metadata import TaskMetadata  # noqa: E402

from limrank_ir.mteb import MtebCrossEncoder  # noqa: E402

CORPUS = {
    "d1": ("Copying", "shutil.copy(src, dst) copies a file."),
    "d2": ("", "A cake needs flour, eggs and an oven."),
    "d3": ("Removing", "os.remove(path) removes a file."),
}
QUERIES = {"q1": "how do I copy a file?", "q2": "baking"}


def metadata(name, type, main_score):
    return TaskMetadata(
        name=name,
        type=type,
        main_score=main_score,
        description="A test.",
        reference=None,
        dataset={"path": "NA", "revision": "NA"},
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        date=("2026-01-01", "2026-01-02"),
        domains=[],
        task_subtypes=[],
        license="cc-by-4.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )


def split(queries, relevant):
    rows = [{"id": docid, "title": title, "text": text} for docid, (title, text) in CORPUS.items()]
    return {
        "default": {
            "test": RetrievalSplitData(
                queries=Dataset.from_list(queries),
                corpus=Dataset.from_list(rows),
                relevant_docs=relevant,
                top_ranked={query["id"]: ["d3", "d2", "d1"] for query in queries},
            )
        }
    }


class SmallReranking(AbsTaskRetrieval):
    metadata = metadata("SmallReranking", "Reranking", "ndcg_at_10")

    def load_data(self, num_proc=None, **kwargs):
        queries = [{"id": qid, "text": text} for qid, text in QUERIES.items()]
        self.dataset = split(queries, {"q1": {"d1": 1}, "q2": {"d2": 1}})
        self.data_loaded = True


class SmallFollowIR(AbsTaskRetrieval):
    metadata = metadata("SmallFollowIR", "InstructionReranking", "p-MRR")

    def load_data(self, num_proc=None, **kwargs):
        queries = [
            {"id": "q1-og", "text": QUERIES["q1"], "instruction": "What copies or removes files is relevant."},
            {"id": "q1-changed", "text": QUERIES["q1"], "instruction": "Only cakes are relevant, files are not."},
        ]
        self.dataset = split(queries, {"q1-og": {"d1": 1, "d3": 1}, "q1-changed": {"d1": 1}})
        self.data_loaded = True

    def task_specific_scores(self, scores, qrels, results, hf_split, hf_subset):
        self.results = results
        return evaluate_p_mrr_change(qrels, results, {"q1": ["d3"]}, self.k_values)


def evaluated(model, task, folder):
    cache = mteb.ResultCache(cache_path=folder)
    return mteb.evaluate(model, task, cache=cache, co2_tracker=False).task_results[0]


def test_a_reranking_task(limrank, tmp_path):
    result = evaluated(MtebCrossEncoder(limrank), SmallReranking(), tmp_path)
    pairs = [
        (query, f"{CORPUS[docid][0]} {CORPUS[docid][1]}".strip()) for query in QUERIES.values() for docid in CORPUS
    ]
    scores = limrank.predict(pairs).reshape(2, 3)
    ranks = [1 + sum(scores[0] > scores[0][0]), 1 + sum(scores[1] > scores[1][1])]
    found = result.scores["test"][0]
    assert found["ndcg_at_10"] == pytest.approx(sum(1 / math.log2(1 + rank) for rank in ranks) / 2, abs=1e-4)
    (written,) = tmp_path.rglob("SmallReranking.json")
    assert written.parts[-3:-1] == ("limrank-ir__limrank-smol", MtebCrossEncoder(limrank)._revision)
    meta = json.loads((written.parent / "model_meta.json").read_text())
    assert meta["name"] == "limrank-ir/limrank-smol" and meta["model_type"] == ["cross-encoder"]


def test_results_with_other_settings_are_saved_separately():
    assert MtebCrossEncoder().mteb_model_meta.experiment_kwargs is None
    meta = MtebCrossEncoder(think="always", task="biology").mteb_model_meta
    assert meta.experiment_kwargs == {"think": "always", "task": "biology"}


def test_instructions_reach_the_prompt(limrank, tmp_path):
    task = SmallFollowIR()
    result = evaluated(MtebCrossEncoder(limrank), task, tmp_path)
    assert "p-MRR" in result.scores["test"][0]
    texts = {docid: f"{title} {text}".strip() for docid, (title, text) in CORPUS.items()}
    for qid, instruction in (
        ("q1-og", "What copies or removes files is relevant."),
        ("q1-changed", "Only cakes are relevant, files are not."),
    ):
        expected = limrank.predict([(QUERIES["q1"], texts[docid], instruction) for docid in texts])
        assert [task.results[qid][docid] for docid in texts] == pytest.approx(expected.tolist(), abs=1e-3)
    assert task.results["q1-og"] != task.results["q1-changed"]


def test_batches_that_do_not_match(limrank):
    model = MtebCrossEncoder(limrank)
    with pytest.raises(LimRankError, match="2 queries, but 1 documents"):
        model.predict([{"text": ["a", "b"]}], [{"text": ["c"]}])
    with pytest.raises(LimRankError, match="a batch of queries has only image; LimRank needs text"):
        model.predict([{"image": [1]}], [{"text": ["c"]}])
    with pytest.raises(LimRankError, match="device: set these on the LimRank itself"):
        MtebCrossEncoder(limrank, device="cpu")
