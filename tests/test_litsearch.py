"""``limrank bench litsearch`` on a miniature in the hub's layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limrank_ir.benchmarks.litsearch.data import REVISION, iter_papers, read_litsearch
from limrank_ir.benchmarks.litsearch.measure import LitSearchSettings, run_litsearch
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import read_run
from limrank_ir.models import ModelOptions
from limrank_ir.verdict import Reading
from tests.command_line import limrank as command

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

QUERIES = [
    ("inline_acl", "Which paper copies files?", 1, [101]),
    ("inline_nonacl", "Papers about baking", 0, [103, 104, 105]),
    ("manual_acl", "Is there a paper that forces files to disk?", 1, [106]),
]
PAPERS = [
    (101, "Copying files", "We copy a file."),
    (102, "Deleting files", "We delete a file."),
    (103, "Cakes", "Baking of cakes with flour."),
    (104, "Bread", None),
    (105, None, "Baking of rolls."),
    (106, "To disk", "Forcing writes."),
    *((200 + number, f"Files {number}", "Many papers about a file and a disk.") for number in range(20)),
]


def rows(queries=QUERIES):
    return [
        {"query_set": name, "query": text, "specificity": kind, "quality": 2, "corpusids": gold}
        for name, text, kind, gold in queries
    ]


def papers(found=PAPERS):
    return [
        {"corpusid": number, "title": title, "abstract": abstract, "citations": [1], "full_paper": "never read " * 9}
        for number, title, abstract in found
    ]


def write(folder: Path, queries=QUERIES, corpus=PAPERS, shards=2) -> Path:
    for name, table, count in (("query", rows(queries), 1), ("corpus_clean", papers(corpus), shards)):
        (folder / name).mkdir(parents=True)
        size = -(-len(table) // count)
        for number in range(count):
            part = pyarrow.Table.from_pylist(table[number * size : (number + 1) * size])
            parquet.write_table(part, folder / name / f"full-{number:05}-of-{count:05}.parquet")
    return folder


RUN = {  # the first stage finds everything but 105 and 106
    "q1": [102, 200, 201, 202, 203, 204, 101],
    "q2": [103, 200, 201, 202, 203, 104],
    "q3": [200, 201],
}


def write_run(file: Path, run=RUN, prefix="d") -> Path:
    lines = [
        f"{qid} Q0 {prefix}{docno} {rank} {100 - rank} x"
        for qid, docnos in run.items()
        for rank, docno in enumerate(docnos, 1)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


class Copier:
    """Prefers papers about copying and bread."""

    identity = "copier"

    def __init__(self):
        self.prompts = []

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        for index, prompt in enumerate(prompts):
            if index not in done:
                if "warm-up" not in prompt.prefix:
                    self.prompts.append(prompt.text)
                score = 9.0 if "Copying" in prompt.passage or "Bread" in prompt.passage else -len(prompt.passage) / 99
                yield [(index, Reading((score, 0.0), None, 10, 0, "verdict"))]


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "LitSearch")


def run(data, run, output, engine=None, **settings):
    chosen = LitSearchSettings(data, str(run), models=ModelOptions(engine=engine or Copier()), **settings)
    return {result.label: result for result in run_litsearch(["limrank-smol"], output, chosen)}


def test_only_title_and_abstract_are_read_with_mtebs_ids(data):
    found = read_litsearch(data)
    assert list(found.topics) == ["q1", "q2", "q3"] and found.broad == {"q2"}
    assert found.relevant["q2"] == ["d103", "d104", "d105"] and found.count == len(PAPERS)
    texts = {paper.docno: paper.reader_text for paper in iter_papers(found)}
    assert texts["d101"] == "Copying files We copy a file."
    assert (texts["d104"], texts["d105"]) == ("Bread", "Baking of rolls.")


def test_recall_by_kind_of_question_alone_fused_and_at_most(data, tmp_path):
    found = run(data, write_run(tmp_path / "mine.run"), tmp_path / "out")
    assert list(found) == ["first-stage", "first-stage, ceiling", "limrank-smol", "limrank-smol, fused"]
    first, ceiling, alone, _ = (result.recalls["all"] for result in found.values())
    # Specific: q1's paper is at rank 7, q3's is missing. Broad: 2 of q2's 3 papers are in the top 20.
    assert (first.specific, first.broad) == (0.0, pytest.approx(2 / 3))
    assert first.pooled_5 == pytest.approx(1 / 9)  # q2's first paper
    assert (ceiling.specific, ceiling.broad, ceiling.pooled_5) == (0.5, pytest.approx(2 / 3), pytest.approx(5 / 9))
    assert alone.specific == 0.5
    assert set(found["limrank-smol"].recalls) == {
        "all",
        "inline",
        "manual",
        "inline_acl",
        "inline_nonacl",
        "manual_acl",
    }
    assert found["limrank-smol"].recalls["inline"].questions == 2
    assert found["limrank-smol"].recalls["manual"].broad is None
    for file in ("results.json", "results.md", "card.json", "runs/limrank-smol-fused.run.gz"):
        assert (tmp_path / "out" / file).exists()
    facts = json.loads((tmp_path / "out" / "results.json").read_text())["data"]
    assert facts["candidates_recall"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_mteb_pools_the_same_recall_from_the_same_verdicts(data, tmp_path):
    pytest.importorskip("mteb", reason="mteb is not installed")
    engine = Copier()
    found = run(data, write_run(tmp_path / "mine.run"), tmp_path / "out", engine, mteb=True)
    assert len(engine.prompts) == sum(map(len, RUN.values()))  # nothing twice
    (file,) = (tmp_path / "out" / "mteb" / "results").rglob("LitSearchRetrieval.json")
    scores = json.loads(file.read_text())
    assert scores["dataset_revision"] == REVISION
    for measure, expected in (("recall_at_5", "pooled_5"), ("recall_at_20", "pooled_20")):
        found_by_mteb = scores["scores"]["test"][0][measure]
        assert found_by_mteb == pytest.approx(getattr(found["limrank-smol"].recalls["all"], expected), abs=1e-5)


def test_a_run_may_be_json_or_have_bare_corpusids_and_a_second_call_resumes(data, tmp_path):
    engine = Copier()
    first = run(data, write_run(tmp_path / "mine.run"), tmp_path / "out", engine)
    judged = len(engine.prompts)
    scores = {qid: {str(docno): 100.0 - rank for rank, docno in enumerate(docnos, 1)} for qid, docnos in RUN.items()}
    (tmp_path / "mine.json").write_text(json.dumps(scores))
    again = run(data, tmp_path / "mine.json", tmp_path / "json", engine)
    bare = run(data, write_run(tmp_path / "bare.run", prefix=""), tmp_path / "bare", engine)
    assert first["limrank-smol"].recalls == again["limrank-smol"].recalls == bare["limrank-smol"].recalls
    before = len(engine.prompts)
    run(data, tmp_path / "mine.run", tmp_path / "out", engine)
    assert (judged, len(engine.prompts)) == (before / 3, before)
    with pytest.raises(InputError, match="its results were made with --first-stage"):
        run(data, tmp_path / "bare.run", tmp_path / "out", engine)


def test_bm25_indexes_title_and_abstract(data, tmp_path):
    pytest.importorskip("pyterrier_pisa")
    run(data, "bm25", tmp_path / "out", k=3)
    found = read_run(tmp_path / "out" / "runs" / "bm25.run.gz")
    assert found["q1"][0].docno == "d101" and all(len(entries) <= 3 for entries in found.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: (data / "corpus_clean" / "full-00001-of-00002.parquet").unlink(), "1 of 2 files are missing"),
        (lambda data: [file.unlink() for file in (data / "query").iterdir()], "no query/.*parquet; give the data set"),
        (lambda data: (data / "query" / "full-00000-of-00001.parquet").write_text("<html>"), "not a Parquet file"),
    ],
)
def test_half_a_data_set_is_one_clear_line(data, tmp_path, change, message):
    change(data)
    with pytest.raises(InputError, match=message) as error:
        run(data, "bm25", tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_queries_and_corpus_of_two_revisions_and_odd_rows(tmp_path, caplog):
    with pytest.raises(InputError, match=r"5 of 5 relevant papers are not in the corpus .* not complete"):
        read_litsearch(write(tmp_path / "other", corpus=PAPERS[6:]))
    with pytest.raises(InputError, match="row 1 has no query, no corpusids, or a specificity other"):
        read_litsearch(write(tmp_path / "odd", queries=[("inline_acl", "x", 2, [101])]))
    many = [("inline_acl", f"question {number}", 1, [number]) for number, *_ in PAPERS]
    with caplog.at_level("WARNING", logger="limrank_ir"):
        read_litsearch(write(tmp_path / "few", queries=many, corpus=PAPERS[1:]))
    assert "1 of 26 relevant papers are not in the corpus ('d101'); they count as not found" in caplog.text
    (tmp_path / "wrong" / "query").mkdir(parents=True)
    parquet.write_table(pyarrow.table({"text": ["x"]}), tmp_path / "wrong" / "query" / "x.parquet")
    (tmp_path / "wrong" / "corpus_clean").symlink_to(tmp_path / "odd" / "corpus_clean")
    with pytest.raises(InputError, match=r"no column query_set or query or specificity or corpusids .it has text."):
        read_litsearch(tmp_path / "wrong")


def test_a_run_of_something_else(data, tmp_path):
    with pytest.raises(InputError, match=r"1 of 1 queries are not LitSearch's \('9'\); q1 to q3 are its questions"):
        run(data, write_run(tmp_path / "a.run", {"9": [101]}), tmp_path / "out")
    with pytest.raises(InputError, match="1 of 1 documents of the first stage are not in LitSearch's corpus"):
        run(data, write_run(tmp_path / "b.run", {"q1": [999]}), tmp_path / "out")


def test_the_hubs_cache_is_used_offline_and_without_it_the_error_says_what_to_do(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(
        InputError, match=rf"princeton-nlp/LitSearch: the data set: not on this machine.*--revision {REVISION}"
    ) as error:
        read_litsearch(None)
    assert "\n" not in str(error.value)
    write(tmp_path / "hub" / "datasets--princeton-nlp--LitSearch" / "snapshots" / REVISION)
    found = read_litsearch(None)
    assert len(found.topics) == 3 and found.source.endswith(REVISION)


def test_the_command(data, tmp_path):
    result = command("bench", "litsearch", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "out"))
    assert result.exit_code == 2 and "none: no such folder; give a copy of princeton-nlp/LitSearch" in result.stderr
