"""A dense first stage with real weights (MiniLM): flat, HNSW, and hybrid, on the command line and in a pipeline."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import read_run
from limrank_ir.retrieval.similarity import DenseScorer

TOPICS = "q1\tduplicate a document on disk\nq2\tbaking\n"
CORPUS = """\
d1\tos.fsync(fd) forces a file to disk.
d2\tPut flour, eggs and sugar into the oven to make a cake.
d3\tshutil.copy(src, dst) copies a file.
d4\tParis is the capital of France.
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "topics.tsv").write_text(TOPICS)
    (tmp_path / "corpus.tsv").write_text(CORPUS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def retrieve(*arguments):
    command = ("retrieve", "--corpus", "corpus.tsv", "--topics", "topics.tsv", "-o", "run.txt", *map(str, arguments))
    return CliRunner().invoke(app, command)


def found(folder):
    return {qid: [entry.docno for entry in entries] for qid, entries in read_run(folder / "run.txt").items()}


def test_meaning_is_found_where_words_do_not_match(folder):
    assert "no lines (q2)" in retrieve("--quiet").stderr or "q2" not in found(folder)
    result = retrieve("--method", "dense", "-k", 2)
    assert result.exit_code == 0, result.stderr
    assert found(folder)["q2"][0] == "d2" and found(folder)["q1"][0] == "d3"
    assert all(len(documents) == 2 for documents in found(folder).values())
    assert "dense" in (folder / "run.txt").read_text()


def test_a_graph_finds_the_same_and_both_indexes_are_saved(folder):
    assert retrieve("--method", "dense", "--index", "kept").exit_code == 0
    flat = (folder / "run.txt").read_bytes()
    again = retrieve("--method", "dense", "--hnsw", "--index", "kept")
    assert "using the index in kept" in again.stderr
    assert (folder / "run.txt").read_bytes() == flat  # four vectors: the graph is exact
    assert "has an index of another corpus" in retrieve("--index", "kept").stderr  # not a BM25 index
    hybrid = retrieve("--method", "hybrid", "--index", "both")
    assert hybrid.exit_code == 0, hybrid.stderr
    assert sorted(path.name for path in (folder / "both").iterdir()) == ["bm25", "dense"]
    # "disk" is in d1, which is also near; d3 is the nearest but shares no word.
    assert found(folder)["q1"][:2] == ["d1", "d3"] and set(found(folder)["q2"]) == {"d1", "d2", "d3", "d4"}


def test_pairs_are_scored_like_the_index_scores_them(folder):
    retrieve("--method", "dense", "-k", 4)
    scorer, queries = DenseScorer(), dict(line.split("\t") for line in TOPICS.splitlines())
    texts = dict(line.split("\t") for line in CORPUS.splitlines())
    run, steps = read_run(folder / "run.txt"), []
    entries = [entry for qid in run for entry in run[qid]]
    found = scorer.predict([(queries[e.qid], texts[e.docno]) for e in entries], progress=steps.append)
    assert found.tolist() == pytest.approx([entry.score for entry in entries], abs=1e-5) and sum(steps) == 8
    assert scorer.predict([]).shape == (0,)
    with pytest.raises(InputError, match=r"^the encoder no/where: cannot be loaded"):
        DenseScorer("no/where").predict([("a", "b")])


def test_a_missing_encoder(folder):
    result = retrieve("--method", "dense", "--encoder", "no/where")
    assert result.exit_code == 2
    assert "limrank: --encoder no/where: cannot be loaded" in result.stderr
    assert not (folder / "run.txt").exists()


@pytest.mark.parametrize("options", [["--hnsw"], ["--encoder", "minilm"], ["--method", "dense", "--k1", 0.9]])
def test_options_of_the_other_method_are_refused(folder, options):
    result = retrieve(*options)
    assert result.exit_code == 2 and "has no effect with --method" in result.stderr
    assert not (folder / "run.txt").exists()


def test_in_a_pipeline(limrank, tmp_path):
    import pyterrier as pt
    from pyterrier_alpha.fusion import RRFusion
    from pyterrier_dr import FlexIndex, SBertBiEncoder
    from pyterrier_pisa import PisaIndex

    from limrank_ir.pyterrier import LimRankReranker
    from limrank_ir.retrieval import minilm

    texts = dict(line.split("\t") for line in CORPUS.splitlines())
    records = [{"docno": docno, "text": text} for docno, text in texts.items()]
    encoder = SBertBiEncoder(str(minilm.folder("the test")))
    index = FlexIndex(str(tmp_path / "flex"), verbose=False)
    (encoder >> index).index(records)
    pisa = PisaIndex(str(tmp_path / "pisa"), text_field="text")
    pisa.index(records)
    dense = encoder >> index.faiss_flat_retriever()
    text = pt.apply.text(lambda row: texts[row["docno"]])
    for first in (dense % 3, RRFusion(pisa.bm25(), dense, num_results=3)):
        ranked = (first >> text >> LimRankReranker(limrank)).search("how do I copy a file?")
        assert len(ranked) == 3 and ranked.sort_values("rank").iloc[0]["docno"] == "d3"
