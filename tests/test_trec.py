import gzip
import math
import struct
import tempfile
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ir_measures import RR, nDCG

from limrank_ir.formats.topics import read_topics
from limrank_ir.formats.trec import RunEntry, iter_run, read_qrels, read_run, trec_order, write_run
from tests.readers import message, written

# runs


RUN = "q2 Q0 d1 1 2.5 bm25\nq1\tQ0\td1  1   -3e-2\tbm25 \r\n\n  q2 Q0 d2 0 7 bm25\n"


@pytest.mark.parametrize("name", ["run.txt", "run.txt.gz"])
def test_iter_run_streams_the_lines_in_file_order(tmp_path, name):
    assert list(iter_run(written(tmp_path / name, RUN))) == [
        RunEntry("q2", "d1", 1, 2.5, "bm25"),
        RunEntry("q1", "d1", 1, -0.03, "bm25"),
        RunEntry("q2", "d2", 0, 7.0, "bm25"),
    ]


def test_read_run_groups_by_query_and_sorts_by_score_not_by_rank(tmp_path):
    run = read_run(written(tmp_path / "run", RUN))
    assert list(run) == ["q2", "q1"]
    assert [entry.docno for entry in run["q2"]] == ["d2", "d1"]


HEAD = "# ir_metadata.start\n# tag: bm25 \n#\n# data:\n#   a Q0 b 1 2 c\n# ir_metadata.end\n"


def test_a_head_of_ir_metadata_is_not_part_of_the_run(tmp_path):
    whole = list(iter_run(written(tmp_path / "whole", RUN)))
    assert list(iter_run(written(tmp_path / "head", HEAD + RUN))) == whole
    assert read_run(written(tmp_path / "head.gz", "\ufeff" + HEAD.replace("\n", "\r\n") + RUN))
    other = "q3 Q0 d1 1 1 bm25\n"
    two = list(iter_run(written(tmp_path / "two", HEAD + RUN + HEAD + other)))  # concatenated runs
    assert two == [*whole, RunEntry("q3", "d1", 1, 1.0, "bm25")]


def test_a_querys_id_may_begin_like_a_comment(tmp_path):
    assert list(read_run(written(tmp_path / "run", "#1 Q0 d 1 1 t\n# Q0 d 1 1 t\n"))) == ["#1", "#"]


@pytest.mark.parametrize("rest", ["", RUN, "# q Q0 d 1 1 t\n", "# ir_metadata.start\n"])
def test_a_head_without_an_end_is_an_error_that_says_where_it_begins(tmp_path, rest):
    path = written(tmp_path / "run", "q0 Q0 d 1 1 t\n" + HEAD.replace("# ir_metadata.end\n", "") + rest)
    expected = f"{path}:2: the head that begins here has no '# ir_metadata.end'; add this line after it"
    assert message(lambda: list(iter_run(path))) == expected


def test_only_ascii_whitespace_ends_a_column(tmp_path):
    odd = "a\u00a0b\u3000c\u2028d\x85e\x1cf"
    path = written(tmp_path / "run", f"q\x0bQ0\x0c{odd} 1 1.0 t\n")
    assert next(iter_run(path)).docno == odd


def test_trec_order_compares_as_float32_and_breaks_ties_by_descending_docno():
    # 1 + 1e-12 is 1 in float32; 1e300 and 1e200 are both infinite there.
    assert trec_order([("a", 1 + 1e-12), ("c", 1.0), ("b", 1.0), ("d", 1.0001)]) == [
        ("d", 1.0001),
        ("c", 1.0),
        ("b", 1.0),
        ("a", 1 + 1e-12),
    ]
    assert trec_order([("a", 1e300), ("b", 1e200)]) == [("b", 1e200), ("a", 1e300)]
    assert [docno for docno, _ in trec_order([("d10", 0.0), ("d9", -0.0), ("é", 0.0)])] == ["é", "d9", "d10"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("q Q0 d 1 2.0", "5 columns, not 6; write 'qid Q0 docno rank score tag' without spaces inside"),
        ("q Q0 d 1 2.0 my tag", "7 columns, not 6; write"),
        ("q Q0 d 1 high tag", "score 'high' is not a number; check the columns"),
        ("q Q0 d 1 nan tag", "score 'nan' is not finite and cannot be ranked; correct it"),
        ("q Q0 d 1 -inf tag", "score '-inf' is not finite"),
        ("q Q0 d 1 1e999 tag", "score '1e999' is not finite"),
        ("p Q0 d 9 9.0 tag", "duplicate document 'd' for query 'p'; list it once"),
    ],
)
def test_errors_in_a_run_say_where_and_what_to_do(tmp_path, line, expected):
    path = written(tmp_path / "run.txt", f"p Q0 d 1 1.0 tag\n\nq Q0 e 1 1.0 tag\n{line}\n")
    assert message(iter_run, path).startswith(f"{path}:4: {expected}")
    assert message(read_run, path).startswith(f"{path}:4: {expected}")


@pytest.mark.parametrize(("rank", "expected"), [("7", 7), ("-1", -1), ("1.0", None), ("NaN", None), ("first", None)])
def test_the_rank_may_be_anything(tmp_path, rank, expected):
    path = written(tmp_path / "run", f"q Q0 d {rank} 1.0 t\nq Q0 e 1 2.0 t\n")
    assert [(entry.docno, entry.rank) for entry in read_run(path)["q"]] == [("e", 1), ("d", expected)]


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_run(tmp_path, content):
    path = written(tmp_path / "run.txt", content)
    assert message(read_run, path) == f"{path}: empty run; check the first stage that made it"


def test_a_truncated_run_and_another_encoding(tmp_path):
    cut = tmp_path / "run.gz"
    cut.write_bytes(gzip.compress(RUN.encode())[:-12])
    assert "run.gz: corrupt or truncated gzip data" in message(read_run, cut)
    latin = tmp_path / "run.txt"
    latin.write_bytes(RUN.encode() + b"q9 Q0 \xe9 1 1 t\n")
    assert message(read_run, latin) == f"{latin}:5: not UTF-8 (byte 0xe9); convert the file to UTF-8"


def test_a_byte_order_mark_is_not_part_of_the_first_qid(tmp_path):
    assert list(read_run(written(tmp_path / "run", "\ufeff" + RUN))) == ["q2", "q1"]


def test_write_run_ranks_and_keeps_every_digit(tmp_path):
    path = tmp_path / "new" / "run.txt"
    run = {
        "q2": [("a", 0.1), ("b", 12345.678901234567), ("c", np.float32(0.1)), ("d", -1e-300), ("e", 3)],
        "none": [],
        "q1": {"b": 1.0, "a": 1.0}.items(),
    }
    write_run(path, run, tag="my-tag")
    assert path.read_text() == (
        "q2 Q0 b 1 12345.678901234567 my-tag\n"
        "q2 Q0 e 2 3.0 my-tag\n"
        "q2 Q0 c 3 0.10000000149011612 my-tag\n"
        "q2 Q0 a 4 0.1 my-tag\n"
        "q2 Q0 d 5 -1e-300 my-tag\n"
        "q1 Q0 b 1 1.0 my-tag\n"
        "q1 Q0 a 2 1.0 my-tag\n"
    )


def test_the_default_tag(tmp_path):
    write_run(tmp_path / "run", {"q": iter([("d", 1.0)])})
    assert (tmp_path / "run").read_text() == "q Q0 d 1 1.0 limrank\n"


@pytest.mark.parametrize(
    ("run", "tag", "expected"),
    [
        ({"q": [("a", 1.0), ("b", math.nan)]}, "t", "query 'q', document 'b': score nan is not finite"),
        ({"q": [("a", math.inf)]}, "t", "query 'q', document 'a': score inf is not finite"),
        ({"q": [("a", 1.0), ("b", 1.0), ("a", 2.0)]}, "t", "duplicate document 'a' for query 'q'; list it once"),
        ({"q": [("a b", 1.0)]}, "t", "docno 'a b' is empty, or has whitespace"),
        ({"q": [("a\n", 1.0)]}, "t", r"docno 'a\n' is empty, or has whitespace"),
        ({"q": [("", 1.0)]}, "t", "docno '' is empty, or has whitespace"),
        ({"q": [("\ud83d", 1.0)]}, "t", r"docno '\ud83d' is empty, or has whitespace, a byte-order mark, or half"),
        ({"\ufeffq": [("a", 1.0)]}, "t", r"qid '\ufeffq' is empty, or has whitespace, a byte-order mark"),
        ({"q\t1": [("a", 1.0)]}, "t", r"qid 'q\t1' is empty, or has whitespace"),
        ({"q": [("a", 1.0)]}, "my tag", "tag 'my tag' is empty, or has whitespace"),
        ({}, "t", "empty run, nothing to write; check the queries and the first stage"),
        ({"q": []}, "t", "empty run, nothing to write"),
    ],
)
def test_write_run_refuses_what_could_not_be_read_back(tmp_path, run, tag, expected):
    path = written(tmp_path / "run.txt", "the old run")
    whole = {"whole": [("d", 1.0)], **run} if "empty run" not in expected else run
    assert message(write_run, path, whole, tag=tag).startswith(f"{path}: {expected}")
    assert path.read_text() == "the old run"
    assert [file.name for file in tmp_path.iterdir()] == ["run.txt"]


COLUMN = st.text(st.characters(codec="utf-8", exclude_characters=" \t\n\r\v\f\ufeff"), min_size=1)
SCORE = st.floats(allow_nan=False, allow_infinity=False)
# Scores that differ in float64 and are often equal in float32.
CLOSE = st.sampled_from([1.0, 1.0 + 2**-52, 1.0 - 2**-53, 1.0 + 2**-23, 1.0 + 2**-25, 0.0, -0.0, 1e-50, -7.25, 1e39])
RUNS = st.dictionaries(COLUMN, st.dictionaries(COLUMN, SCORE | CLOSE, min_size=1), min_size=1)


@given(RUNS, COLUMN, st.sampled_from(["run.txt", "run.txt.gz"]))
@example({"q\u00a01": {"d\u2028\u3000": -0.0, "\x85\x1c": 5e-324, "#": 1.7976931348623157e308}}, "ta\u00a0g", "run.txt")
@settings(deadline=None, max_examples=100)
def test_what_write_run_accepts_is_read_back_exactly(run, tag, name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_run(path, {qid: scores.items() for qid, scores in run.items()}, tag=tag)
        entries = list(iter_run(path))
        grouped = read_run(path)
    assert {qid: {entry.docno: entry.score for entry in entries} for qid, entries in grouped.items()} == run
    assert all(struct.pack("d", entry.score) == struct.pack("d", run[entry.qid][entry.docno]) for entry in entries)
    assert {entry.tag for entry in entries} == {tag}
    # The lines, the ranks, and trec_eval all agree on the order.
    assert [entry for entries in grouped.values() for entry in entries] == entries
    for listed in grouped.values():
        assert [entry.rank for entry in listed] == list(range(1, len(listed) + 1))


@given(
    st.dictionaries(
        st.text("abBZ019-é文\U0001f600", min_size=1, max_size=3),
        st.tuples(CLOSE, st.integers(0, 3)),
        min_size=1,
        max_size=15,
    )
)
@settings(deadline=None, max_examples=60)
def test_the_ranks_agree_with_ir_measures(judged):
    qrels = {"q": {docno: grade for docno, (_, grade) in judged.items()}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        write_run(path, {"q": [(docno, score) for docno, (score, _) in judged.items()]})
        entries = list(iter_run(path))
        scored = list(ir_measures.read_trec_run(str(path)))
    # With one relevant document at a time, its reciprocal rank shows the rank that the evaluation gave it.
    single = {entry.docno: {entry.docno: {entry.docno: 1}} for entry in entries}
    for entry in entries:
        run = {entry.docno: {other.doc_id: other.score for other in scored}}
        assert ir_measures.calc_aggregate([RR], single[entry.docno], run)[RR] == pytest.approx(1 / entry.rank)
    gains = [qrels["q"][entry.docno] for entry in entries]
    best = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(sorted(gains, reverse=True)[:10], 1))
    dcg = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:10], 1))
    measured = ir_measures.calc_aggregate([nDCG @ 10], qrels, scored)[nDCG @ 10]
    assert measured == pytest.approx(dcg / best if best else 0.0, abs=1e-9)


# judgments


QRELS = {"q1": {"d1": 2, "d2": -100}, "q2": {"d1": 0}}
PLAIN = "q1 0 d1 2\nq1\tQ0\td2\t-100\r\n\nq1 0 d1 2\nq2 1 d1 0\n"
BEIR = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t-100\nq2\td1\t0\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("qrels.txt", PLAIN),
        ("qrels.txt", "\ufeff" + PLAIN),
        ("qrels.txt", "\n\ufeff".join(PLAIN.split("\n"))),
        ("qrels.txt", PLAIN.replace(" 2\n", " 2.0\n").replace("-100", "-100.0")),
        ("qrels.txt", "query_id iter doc_id relevance\n" + PLAIN),
        ("qrels/test.tsv", BEIR.replace("query-id\tcorpus-id", "qid\tdocno")),
        ("qrels/test.tsv", "score\tdocid\tqid\n2\td1\tq1\n-100\td2\tq1\n0\td1\tq2\n"),
        ("qrels/test.tsv", BEIR + "\ufeff" + BEIR),
        ("qrels.txt.gz", PLAIN),
        ("qrels/test.tsv", BEIR),
        ("qrels/test.tsv", "\ufeff" + BEIR.replace("\n", "\r\n")),
    ],
)
def test_qrels(tmp_path, name, content):
    path = written(tmp_path / name, content)
    assert read_qrels(path) == QRELS
    assert read_qrels(str(tmp_path)) == QRELS


def test_grades_up_to_the_bound_and_far_below_0(tmp_path):
    path = written(tmp_path / "qrels", "q 0 d 1000\nq 0 e -2000000000\nq 0 f +3\n")
    assert read_qrels(path) == {"q": {"d": 1000, "e": -2000000000, "f": 3}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("q 0 d 1\nq 0 e\n", ":2: 3 columns, not 4; write 'qid 0 docno grade'"),
        ("q 0 d 1 x\n", ":1: 5 columns, not 4"),
        ("query-id\tcorpus-id\tscore\nq\t0\td\t1\n", ":2: 4 columns, not 3; write 'query-id corpus-id score'"),
        ("q d 1\n", ":1: 3 columns, not 4"),
        ("q 0 d 1.5\n", ":1: grade '1.5' is not an integer; check the columns"),
        ("q 0 d nan\n", ":1: grade 'nan' is not an integer"),
        ("q 0 d inf\n", ":1: grade 'inf' is not an integer"),
        ("q 0 d 1\nq 0 e 1001\n", ":2: grade 1001 is above 1000, and evaluation needs memory for every grade up"),
        ("q 0 d 1e9\n", ":1: grade 1e9 is above 1000"),
        ("q 0 d 1\nq 0 d 0\n", ":2: document 'd' has grade 0 for query 'q' but had 1 before; keep one"),
        ("\n", ": no judgments in it; write 'qid 0 docno grade'"),
        ("query-id\tcorpus-id\tscore\n", ": no judgments in it"),
    ],
)
def test_errors_in_qrels(tmp_path, content, expected):
    path = written(tmp_path / "qrels.txt", content)
    assert message(read_qrels, tmp_path).startswith(f"{path}{expected}")


def test_a_folder_without_qrels_or_topics(tmp_path):
    assert message(read_qrels, tmp_path) == (
        f"{tmp_path}: the folder has no qrels.txt or qrels.txt.gz or qrels/test.tsv; name the file itself"
    )
    assert message(read_topics, tmp_path).startswith(f"{tmp_path}: the folder has no topics.jsonl or ")
