"""Candidates: which documents count, which are excluded, and that each counts once."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import RunEntry
from limrank_ir.ranking.candidates import gather, read_excluded, write_explanations
from limrank_ir.ranking.fusion import fuse
from limrank_ir.ranking.windows import Windows
from limrank_ir.verdict import Verdict


def excluded(folder: Path, content: str) -> set[tuple[str, str]]:
    path = Path(folder, "exclude.txt")
    path.write_text(content, encoding="utf-8")
    return read_excluded(path)


LINES = {
    "two columns": "q1 d1\nq1\td2\n\n q2   d1 \n",
    "qrels": "q1 0 d1 1\nq1\tQ0\td2\t-100\nq2 0 d1 1.0\n",
    "a header": "qid docno\nq1 d1\nq1 d2\nq2 d1\n",
    "a header of tabs, in capitals": "Query_ID\tDocID\nq1\td1\nq1\td2\nq2\td1\n",
    "BEIR's": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t1\nq2\td1\t0\n",
    "another order": "docno\tnote\tqid\nd1\twhy not\tq1\nd2\t\tq1\nd1\t\tq2\n",
    "marks": "\ufeffq1 d1\n\ufeffq1 d2\n\ufeffq2 d1\n",
    "BRIGHT's N/A": "q1\td1\nq1\td2\nq2\td1\nq3\tN/A\n",
}


@pytest.mark.parametrize("content", LINES.values(), ids=LINES)
def test_all_formats_of_excluded_documents(tmp_path, content):
    assert excluded(tmp_path, content) == {("q1", "d1"), ("q1", "d2"), ("q2", "d1")}


def test_with_tabs_a_docno_may_contain_spaces(tmp_path):
    lines = "q1\tdoc one two\nq1\tdoc one b \nq1\t0\tdoc 3 4\t1\nq1\t0 doc 5\n"
    assert excluded(tmp_path, lines) == {
        ("q1", "doc one two"),
        ("q1", "doc one b"),
        ("q1", "doc 3 4"),
        ("q1", "0 doc 5"),
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "q1 doc one two",
            "neither 'qid docno' nor 'qid 0 docno grade'; put tabs between the columns if an id holds spaces",
        ),
        ("q1 doc one", "neither 'qid docno' nor"),
        ("q1", "neither 'qid docno' nor"),
        ('{"id": "q1", "excluded_ids": ["d1"]}', "neither 'qid docno' nor"),
        ("q1\t", "an empty id; write 'qid docno'"),
    ],
)
def test_malformed_lines_are_refused(tmp_path, line, expected):
    with pytest.raises(InputError) as caught:
        excluded(tmp_path, f"q0 d0\n{line}\n")
    assert str(caught.value).startswith(f"{tmp_path}/exclude.txt:2: {expected}")
    with pytest.raises(InputError, match=r"exclude.txt:3: neither 'qid docno' nor a header; put tabs"):
        excluded(tmp_path, "qid docno\nq1 d1\nq1 d2 1\n")


def test_an_empty_file_excludes_nothing_with_a_note(tmp_path, caplog):
    assert excluded(tmp_path, " \n\n") == set()
    assert caplog.messages == [f"{tmp_path}/exclude.txt: the file is empty, nothing is excluded"]
    caplog.clear()
    assert excluded(tmp_path, "q1\tN/A\n") == set() and caplog.messages == []


ID = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r\ufeff"), min_size=1).map(str.strip).filter(bool)
QID = st.text("abc019-_é", min_size=1)


@given(st.sets(st.tuples(QID, ID.filter(lambda docno: docno != "N/A")), min_size=1))
@settings(deadline=None, max_examples=80)
def test_every_docno_between_tabs_is_read_back(pairs):
    with tempfile.TemporaryDirectory() as folder:
        assert excluded(Path(folder), "qid\tdocno\n" + "".join(f"{qid}\t{docno}\n" for qid, docno in pairs)) == pairs


# Repeated documents

EQUAL = {"first_stage": 0.5, "limrank": 0.5}


def entries(*scored: tuple[str, float]) -> list[RunEntry]:
    return [RunEntry("q", docno, rank, score, "t") for rank, (docno, score) in enumerate(scored, 1)]


def gathered(run, **options):
    topics = {qid: Topic(qid, "query") for qid in run}
    return gather(run, topics, lambda docnos: {docno: Passage(docno, docno) for docno in docnos}, **options)


def test_a_document_counts_once_with_its_best_score(caplog):
    run = {"q": entries(("a", 3.0), ("b", 2.0), ("a", 5.0), ("b", 1.0), ("c", 0.5)), "r": entries(("a", 1.0))}
    found = gathered(run, k=2)
    assert [(e.docno, e.score) for e in found.documents["q"]] == [("a", 5.0), ("b", 2.0)]
    assert caplog.messages == ["run: 2 documents are repeated for the same query and count once"]
    assert len(gathered(run, k=10).pairs()) == 4


def test_fusion_is_over_distinct_documents():
    scored = [("a", 3.0), ("b", 2.0), ("c", 0.0)]
    verdicts = [Verdict(value, None, 1, 0, "verdict") for value in (0.5, 2.0, 1.0)]
    once = gathered({"q": entries(*scored)}, k=10).ranking(verdicts, EQUAL)
    again = gathered({"q": entries(*scored, ("a", 3.0), ("a", 1.0))}, k=10).ranking(verdicts, EQUAL)
    assert again == once
    expected = dict(
        zip("abc", fuse({"first_stage": [3.0, 2.0, 0.0], "limrank": [0.5, 2.0, 1.0]}, EQUAL).tolist(), strict=True)
    )
    assert {document.docno: document.score for document in again["q"]} == expected


def test_another_run_is_fused_too_and_what_it_lacks_has_its_lowest_score(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    found = gathered({"q": entries(("a", 3.0), ("b", 2.0), ("c", 0.0)), "r": entries(("a", 1.0))}, k=10)
    dense = {"q": {"a": 0.7, "b": 0.9, "beyond": 0.1}}
    found.check_fused({"dense": dense})
    assert caplog.messages == [
        "dense: lacks 1 of 2 queries ('r'); it has no say in them",
        "dense: lacks 1 of 3 documents, which count as its lowest of the query",
    ]
    verdicts = [Verdict(value, None, 1, 0, "verdict") for value in (0.5, 2.0, 1.0, 1.0)]
    weights = {"first_stage": 0.25, "dense": 0.25, "limrank": 0.5}
    ranking = found.ranking(verdicts, weights, {"dense": dense})
    columns = {"first_stage": [3.0, 2.0, 0.0], "dense": [0.7, 0.9, 0.1], "limrank": [0.5, 2.0, 1.0]}
    expected = dict(zip("abc", fuse(columns, weights).tolist(), strict=True))
    assert {document.docno: document.score for document in ranking["q"]} == pytest.approx(expected)
    write_explanations(tmp_path / "why.jsonl", ranking)
    records = [json.loads(line) for line in (tmp_path / "why.jsonl").read_text().splitlines()]
    assert {(r["qid"], r["docno"]): r["fused_with"]["dense"] for r in records} == {
        ("q", "a"): 0.7, ("q", "b"): 0.9, ("q", "c"): None, ("r", "a"): None,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"^dense: none of its queries \('s'\)"):
        found.check_fused({"dense": {"s": {"a": 1.0}}})


def test_excluded_documents_are_removed_before_the_cutoff(caplog):
    caplog.set_level(logging.INFO)
    found = gathered({"q": entries(("a", 3.0), ("a", 3.0), ("b", 2.0))}, k=1, excluded={("q", "a")})
    assert [entry.docno for entry in found.documents["q"]] == ["b"]
    assert "1 documents excluded from the run (excluded)" in caplog.messages


@pytest.mark.parametrize("k", [0, -1])
def test_k_is_at_least_1(k):
    with pytest.raises(InputError, match=f"^k is {k}; rerank at least one"):
        gathered({"q": entries(("a", 1.0))}, k=k)


# Windows


def test_a_document_is_ranked_by_its_best_window_which_is_reported(tmp_path):
    passages = {"a": Passage("a", "one two three four", "Title"), "b": Passage("b", "five six")}
    run = {"q": entries(("a", 1.0), ("b", 2.0))}
    found = gather(run, {"q": Topic("q", "query")}, lambda docnos: passages, k=5, windows=Windows(2, 1))
    assert [text for _, text, _ in found.pairs()] == [
        "Title one two",
        "Title two three",
        "Title three four",
        "five six",
    ]
    verdicts = [Verdict(odds, None, 1, 0, "verdict") for odds in (-1.0, 0.0, 3.0, 2.0)]
    ranking = found.ranking(verdicts)
    assert [(d.docno, d.score, d.window) for d in ranking["q"]] == [("a", 3.0, 2), ("b", 2.0, 0)]
    assert found.best_scores([0.1, 0.4, 0.3, 0.2]) == {"q": {"a": 0.4, "b": 0.2}}
    write_explanations(tmp_path / "why.jsonl", ranking)
    assert [json.loads(line)["window"] for line in (tmp_path / "why.jsonl").read_text().splitlines()] == [2, 0]


def test_without_windows_none_is_reported(tmp_path):
    found = gathered({"q": entries(("a", 1.0))}, k=5)
    write_explanations(tmp_path / "why.jsonl", found.ranking([Verdict(1.0, None, 1, 0, "verdict")]))
    assert "window" not in json.loads((tmp_path / "why.jsonl").read_text())
