"""``limrank bench errors``: what reranking changed, on a page that a person can read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from limrank_ir import InputError
from limrank_ir.benchmarks.errors.changes import Document, QueryChange, indirect_errors
from limrank_ir.benchmarks.errors.page import most_changed, text_limit
from limrank_ir.benchmarks.errors.suite_folder import suite_files
from limrank_ir.benchmarks.errors.verdicts import Judged, read_verdicts, shortened
from limrank_ir.formats.topics import Topic
from tests.command_line import limrank
from tests.suite_collections import write_collection

HOSTILE = "</script><script>document.title='hit'</script>"
TOPICS = [{"qid": "q1", "query": "first"}, {"qid": "q2", "query": HOSTILE, "instruction": "<b>only</b>"}]
TOPICS += [{"qid": "q3", "query": "third"}, {"qid": "q4", "query": "unchanged"}, {"qid": "q5", "query": "in no run"}]
GRADED = "q1 0 a 2\nq1 0 b 1\nq1 0 c 0\nq1 0 x -1\nq2 0 a 1\nq3 0 b 3\nq3 0 c 1\nq4 0 c 1\nq5 0 a 1\n"
FIRST = {"q1": "xcba", "q2": "abc", "q3": "bca", "q4": "abc"}
RERANKED = {"q1": "xbac", "q2": "cba", "q3": "cb", "q4": "bac"}
ODDS = {"q1": (9, 3, 2.5, -4), "q2": (2, 1, 0), "q3": (5, 3.9), "q4": (2, 1, 0)}


def run(rankings):
    return "".join(
        f"{qid} Q0 {docno} {rank} {10 - rank} run\n"
        for qid, docnos in rankings.items()
        for rank, docno in enumerate(docnos, 1)
    )


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = [{"docno": docno, "text": f"passage {docno} " + HOSTILE * 20} for docno in "abcxy"]
    verdicts = [
        {"qid": qid, "docno": docno, "log_odds": odds, "probability": 0.5, "reasoning": HOSTILE, "finish": "budget"}
        for qid, docnos in RERANKED.items()
        for docno, odds in zip(docnos, ODDS[qid], strict=True)
    ]
    texts = {
        "topics.jsonl": "".join(json.dumps(each) + "\n" for each in TOPICS),
        "corpus.jsonl": "".join(json.dumps(each) + "\n" for each in corpus),
        "verdicts.jsonl": "".join(json.dumps(each) + "\n" for each in verdicts),
        "qrels.txt": GRADED,
        "first.txt": run(FIRST),
        "reranked.txt": run(RERANKED),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def errors(*more, **replaced):
    given = {"run": "first.txt", "reranked": "reranked.txt", "qrels": "qrels.txt"} | replaced
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    common = ("--topics", "topics.jsonl", "--corpus", "corpus.jsonl", "-o", "page.html")
    return limrank("bench", "errors", *options, *common, *more)


def on_page(folder):
    text = (folder / "page.html").read_text()
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(data), text


def test_queries_are_ordered_by_their_change_with_both_rankings(files):
    done = errors("--verdicts", "verdicts.jsonl")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[1].split("\t") == ["4", "1", "2", "1", "1"]
    assert "count as 0" not in done.stderr  # q5 is in neither run
    data, text = on_page(files)
    assert [query["qid"] for query in data["queries"]] == ["q1", "q4", "q3", "q2"]
    first, *_, last = data["queries"]
    # x has grade -1, so it is in neither ranking, as in the evaluation
    shown = {side: [first["documents"][place]["docno"] for place in first[side]] for side in ("first", "reranked")}
    assert shown == {"first": ["c", "b", "a"], "reranked": ["b", "a", "c"]}
    (b,) = [each for each in first["documents"] if each["docno"] == "b"]
    assert (b["before"], b["after"], b["grade"], b["log_odds"], b["finish"]) == (2, 1, 1, 3, "budget")
    assert last["instruction"] == "<b>only</b>" and last["difference"] == last["after"] - last["before"] < 0
    assert "1 judged queries are in neither run" in text


def test_the_figures_are_those_of_the_evaluation(files):
    errors()
    saved = json.loads((files / "page.json").read_text())
    for name, side in (("first.txt", "before"), ("reranked.txt", "after")):
        done = limrank("eval", "--qrels", "qrels.txt", name, "--measures", "nDCG@10", "--json")
        expected = limrank("eval", "--qrels", "qrels.txt", name, "--measures", "nDCG@10", "--per-query")
        assert done.exit_code == expected.exit_code == 0
        for query in saved["queries"]:
            assert re.search(rf"{query['qid']}\t.*{query[side]:.4f}", expected.stdout), expected.stdout


def test_the_json_has_everything_but_texts(files):
    errors("--verdicts", "verdicts.jsonl", "-k", "1", "--queries", "2")
    text = (files / "page.json").read_text()
    saved = json.loads(text)
    assert "passage" not in text and "script" not in text and "reasoning" not in text
    assert len(saved["queries"]) == 4 and len(saved["queries"][0]["documents"]) == 3
    assert saved["queries"][0]["indirect_pairs"] == [{"low": "b", "high": "a", "gap": 0.5}]
    assert set(saved["files"]) == {"run", "reranked", "topics", "corpus", "qrels", "verdicts"} and saved["graded"]
    data, page = on_page(files)
    assert [query["qid"] for query in data["queries"]] == ["q1", "q2"]  # helped most, hurt most
    assert "The page has 2 of 4 queries" in page


def test_nothing_in_the_data_can_leave_its_place(files):
    errors("--verdicts", "verdicts.jsonl")
    data, text = on_page(files)
    assert HOSTILE not in text and text.count("<script") == 2
    assert HOSTILE in data["passages"]["a"] and data["queries"][-1]["query"] == HOSTILE
    assert "http" not in re.sub(r"<dd>.*?</dd>", "", text).replace("http-equiv", "")
    script = text.rpartition("<script>")[2]
    assert "innerHTML" not in script and "insertAdjacent" not in script and "eval(" not in script


def document(docno, grade, after, score, log_odds=None):
    return Document(docno, grade, None, after, None, score, log_odds and Judged(log_odds, None, None, None))


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([("low", 1, 1, 3.0), ("high", 2, 2, 2.5)], [("low", "high", 0.5)]),
        ([("low", 1, 1, 3.5), ("high", 2, 2, 2.5)], [("low", "high", 1.0)]),  # at the margin
        ([("low", 1, 1, 3.6), ("high", 2, 2, 2.5)], []),  # scored as better, not as the same
        ([("high", 2, 1, 3.0), ("low", 1, 2, 2.9)], []),  # in the right order
        ([("high", 2, 1, 3.0), ("low", 1, 2, 3.0)], [("low", "high", 0.0)]),  # a tie
        ([("none", 0, 1, 3.0), ("open", None, 2, 3.0), ("high", 2, 3, 3.0)], []),  # not indirect, but wrong
        ([("low", 1, 11, 3.0), ("high", 2, 12, 3.0)], []),  # too far down
        ([("low", 1, 10, 3.0), ("high", 2, 12, 3.0)], [("low", "high", 0.0)]),
        ([("one", 1, 1, 3.0), ("two", 1, 2, 3.0)], []),  # the query has no document of the highest grade here
        ([("low", 1, 1, 3.0), ("high", 2, None, None)], []),  # not reranked
    ],
)
def test_indirect_scored_like_direct(documents, expected):
    found = indirect_errors([document(*each) for each in documents], 2, k=10, margin=1.0)
    assert [(pair.low.docno, pair.high.docno, pytest.approx(pair.gap)) for pair in found] == expected


def test_log_odds_count_rather_than_fused_scores():
    documents = [document("low", 1, 1, 0.9, 8.0), document("high", 2, 2, 0.8, 2.0)]
    assert not indirect_errors(documents, 2, k=10)
    assert len(indirect_errors(documents, 2, k=10, margin=6.0)) == 1


def test_one_grade_of_relevance_has_no_indirect_one_and_the_page_says_so(files):
    (files / "binary.txt").write_text("q1 0 a 1\nq1 0 b 1\nq2 0 a 1\n")
    done = errors(qrels="binary.txt")
    assert done.stdout.splitlines()[1].split("\t")[-1] == "0"
    _, text = on_page(files)
    assert "needs grades" in text and re.search(r'value="indirect" disabled', text)


def test_long_pages_are_cut_and_say_so():
    assert shortened("short", 10) == "short"
    assert shortened("a" * 50 + "b" * 50, 10) == "aaaaa [... 90 characters are left out ...] bbbbb"
    assert text_limit(20) == 4000 and text_limit(20_000) == 600 and text_limit(10**7) == 300
    changes = [QueryChange(Topic(str(n), "q"), 0.0, 1 - n / 10, [], 1, 1, []) for n in range(10)]
    assert [change.topic.qid for change in most_changed(changes, 5)] == ["0", "1", "2", "8", "9"]
    assert most_changed(changes, 10) == changes and len(most_changed(changes, 1)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"qid": "q1", "docno": "a"}', "verdicts.jsonl:1: no 'log_odds'"),
        ('{"qid": "q1", "docno": "a", "log_odds": "1"}', "'log_odds' is not a finite number"),
        ('{"qid": "q1", "docno": "a", "log_odds": NaN}', "'log_odds' is not a finite number"),
        ('{"qid": "q1", "docno": "z", "log_odds": 1}', "no verdict on any document of the reranked run"),
        ('{"qid": ', "malformed JSON"),
    ],
)
def test_bad_verdicts(line, message, tmp_path):
    (tmp_path / "verdicts.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        read_verdicts(tmp_path / "verdicts.jsonl", {"q1": {"a"}}, {}, limit=9)


@pytest.mark.parametrize(
    ("files_", "text", "message"),
    [
        ("qrels.txt", "other 0 a 1\n", "first.txt: none of its 4 queries is judged in qrels.txt"),
        ("topics.jsonl", '{"qid": "q1", "query": "x"}\n', "topics.jsonl: 3 of 4 queries of the runs are not in these"),
        ("corpus.jsonl", '{"docno": "a", "text": "x"}\n', "passages are not in this corpus"),
        ("reranked.txt", "q1 Q0 a 1\n", "reranked.txt:1: 4 columns, not 6"),
    ],
)
def test_files_that_do_not_fit(files, files_, text, message):
    (files / files_).write_text(text)
    done = errors()
    assert done.exit_code == 2 and message in done.stderr and not (files / "page.html").exists(), done.stderr


def test_the_commands_options_are_checked(files):
    for arguments, message in (
        (("-o", "page.txt"), "give a page a name that ends in .html"),
        (("-o", "page.html"), "bench errors needs --run, --reranked, --topics, --corpus, --qrels"),
        (("suite", "--run", "first.txt", "-o", "page.html"), "--run: the files come from suite"),
        (("nowhere", "-o", "page.html"), "nowhere: no results.json"),
        (("-o", "first.html", "--run", "first.json"), "is also the file of --run"),
    ):
        done = limrank("bench", "errors", *arguments)
        assert done.exit_code == 2 and message in done.stderr, done.stderr


def test_a_suites_folder_has_what_is_needed(tmp_path):
    home, out = write_collection(tmp_path / "given"), tmp_path / "out"
    (out / "runs/given").mkdir(parents=True)
    for name in ("bm25", "smol", "smol-fused"):
        (out / f"runs/given/{name}.run.gz").touch()
    (out / "results.json").write_text(json.dumps({"collections": {"given": {"folder": str(home)}}}))
    found = suite_files(out, None, None)
    assert [path.name for path in found] == [
        "bm25.run.gz",
        "smol.run.gz",
        "topics.jsonl",
        "corpus.jsonl.gz",
        "qrels.txt",
    ]
    assert suite_files(out, "given", "smol-fused").reranked.name == "smol-fused.run.gz"
    (out / "runs/given/other.run.gz").touch()
    with pytest.raises(InputError, match=r"--system: choose one of: other, smol$"):
        suite_files(out, None, None)
    with pytest.raises(InputError, match=r"--collection: plain is unknown; choose one of: given$"):
        suite_files(out, "plain", None)
    shutil.rmtree(home)
    with pytest.raises(InputError, match=r"given was in .*, which is not there"):
        suite_files(out, None, "smol")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_turns_the_page_filters_and_runs_no_text_of_the_data(files):
    errors("--verdicts", "verdicts.jsonl")
    page = (files / "page.html").read_text()  # a person turns the page and takes a filter
    steps = """<script>
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
        document.title += document.getElementById("position").textContent;
        document.querySelector("input[value=indirect]").click();
    </script></body>"""
    (files / "turned.html").write_text(page.replace("</body>", steps))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=2000"]
    shown = subprocess.run(
        [*command, f"file://{files}/turned.html#q4"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "<title>Where reranking helped and hurt3 of 4: hurt</title>" in shown  # and the hostile text did not run
    assert "query q1" in shown and ">1 of 1: helped<" in shown and shown.count('class="document') == 6
