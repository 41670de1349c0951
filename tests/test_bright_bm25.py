"""BRIGHT's official BM25, which weights the query's terms, too."""

from __future__ import annotations

import json

import numpy as np
import pytest

from limrank_ir.benchmarks.bright.bm25 import query_side_bm25
from limrank_ir.formats.corpus import Passage
from tests.bright_mini import BIOLOGY, EXPANDED, write_bright
from tests.test_pyserini import called, java  # noqa: F401

DOCUMENTS = [Passage(docno, text) for docno, text in BIOLOGY.items()]
QUERIES = {"0": "moths fly to a lamp to a lamp and light", "1": "REM sleep", "2": "no such word"}


def words(text):
    return text.lower().replace(".", "").split()


def search(excluded=None, **options):
    return dict(query_side_bm25(DOCUMENTS, QUERIES, excluded or {}, words, **options))


def test_it_equals_gensims_own_computation():
    """As in retrieval_bm25 of BRIGHT's repository: all documents in memory, one dense product."""
    from gensim.corpora import Dictionary
    from gensim.models import LuceneBM25Model
    from gensim.similarities import SparseMatrixSimilarity

    bags = [words(document.text) for document in DOCUMENTS]
    dictionary = Dictionary(bags)
    model = LuceneBM25Model(dictionary=dictionary, k1=0.9, b=0.4)
    index = SparseMatrixSimilarity(
        model[list(map(dictionary.doc2bow, bags))],
        num_docs=len(bags),
        num_terms=len(dictionary),
        normalize_queries=False,
        normalize_documents=False,
    )
    found = search()
    for qid, query in QUERIES.items():
        scores = index[model[dictionary.doc2bow(words(query))]]
        best = sorted(zip(BIOLOGY, map(float, scores), strict=True), key=lambda pair: -pair[1])
        assert found[qid] == best


def test_it_differs_from_bag_of_words_bm25():
    """By hand: the weight of a term of the query is its own BM25 weight, not its count."""
    counts = [words(document.text) for document in DOCUMENTS]
    average = np.mean([len(bag) for bag in counts])
    query = words(QUERIES["0"])

    def weight(term, bag):
        frequency = bag.count(term)
        idf = np.log(len(counts) + 1.0) - np.log(sum(term in other for other in counts) + 0.5)
        return idf * frequency / (frequency + 0.9 * (0.6 + 0.4 * len(bag) / average))

    known = {term for bag in counts for term in bag}
    found, plain = dict(search()["0"]), {}
    inside = [term for term in query if term in known]
    for document, bag in zip(DOCUMENTS, counts, strict=True):
        plain[document.docno] = sum(weight(term, bag) for term in query if term in known)
        expected = sum(weight(term, bag) * weight(term, inside) for term in set(inside))
        assert found[document.docno] == pytest.approx(expected, rel=1e-5)
    ratios = [found[docno] / plain[docno] for docno in BIOLOGY if plain[docno]]
    assert max(ratios) - min(ratios) > 0.1


def test_excluded_documents_leave_before_the_cutoff():
    first, second, third = [docno for docno, _ in search()["0"]][:3]
    cut = search({"0": {first, "not in the corpus"}}, hits=2)
    assert [docno for docno, _ in cut["0"]] == [second, third] and len(cut["1"]) == 2


def test_documents_without_a_common_term_follow_in_the_order_of_the_corpus():
    assert search()["2"] == [(docno, 0.0) for docno in BIOLOGY]


def test_the_command_with_the_real_analyzer(java, tmp_path):  # noqa: F811
    write_bright(tmp_path / "data")
    arguments = ("--data", "data", "--tasks", "biology", "--model", "bm25", "--expanded-queries", "gpt4", "-o", "out")
    made = called("-m", "limrank_ir", "bench", "bright", *arguments, env=java, cwd=tmp_path)
    assert made.stdout.splitlines()[1] == "first stage\t100.0\t100.00"
    report = json.loads((tmp_path / "out/results.json").read_text())
    assert report["settings"]["first stage"] == "query-side BM25 of gpt4's chains of thought"
    scores = json.loads((tmp_path / "out/official/biology_first-stage_long_False/score.json").read_text())
    assert next(iter(scores["0"])) == "light/moth_2_0.txt"  # phototaxis, which only the expanded query has
    assert EXPANDED["biology"]["0"] not in json.dumps(report)


INTERRUPTED = """
import os, signal
from limrank_ir.benchmarks.bright.bm25 import lucene_analyzer

print(lucene_analyzer()("Files of the running moths"))
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_java_leaves_ctrl_c_to_python(java, tmp_path):  # noqa: F811
    """Otherwise Java would end the process while a model reranks, and nothing would say that verdicts are saved."""
    made = called("-c", INTERRUPTED, env=java, cwd=tmp_path)
    assert made.stdout.splitlines()[-2:] == ["['file', 'run', 'moth']", "interrupted"]
