"""BM25 with PISA: its scores, input that it cannot handle, and no incomplete indexes."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from pyterrier_pisa import PisaIndex
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.errors import LimRankError
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.trec import Topic, read_run
from limrank_ir.retrieval.bm25 import Bm25Settings, build, plain, search

PASSAGES = [
    Passage("d1", "the cat sat on the mat, and the other cats watched the cat"),
    Passage("d2", "dogs chase cats; a dog's life is simple"),
    Passage("d3", "mats are woven from rushes", "Weaving"),
    Passage("d4", "nothing of the kind"),
    Passage("d5", ""),
]
CORPUS = "d1\tthe cat sat on the mat\nd2\tdogs chase cats\nd3\tmats are woven\n"
TOPICS = "q1\tcats and mats\nq2\tdog\n"
RETRIEVE = (sys.executable, "-m", "limrank_ir", "retrieve", "--corpus", "corpus.tsv", "--topics", "topics.tsv")


def found(folder, *queries, bm25=Bm25Settings(), k=10):
    topics = [Topic(str(number), query) for number, query in enumerate(queries)]
    return [ranked for _, ranked in search(folder, topics, bm25, k=k)]


def docnos(ranked):
    return [docno for docno, _ in ranked]


def retrieve(*arguments):
    return CliRunner().invoke(
        app, ["retrieve", "--corpus", "corpus.tsv", "--topics", "topics.tsv", "-o", "run.txt", *map(str, arguments)]
    )


def error(result):
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert not os.path.exists("run.txt")
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    return line


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    build(PASSAGES, folder, Bm25Settings())
    return folder


def write_files(folder):
    (folder / "corpus.tsv").write_text(CORPUS)
    (folder / "topics.tsv").write_text(TOPICS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An index that the command saved."""
    place = tmp_path_factory.mktemp("saved")
    write_files(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert retrieve("--index", "index").exit_code == 0
    return place / "index"


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("bm25", [Bm25Settings(), Bm25Settings(k1=1.5, b=0.75), Bm25Settings(stemmer="none")], ids=str)
def test_the_scores_equal_those_of_pisa(tmp_path, bm25):
    ours = tmp_path / "ours"
    theirs = tmp_path / "theirs"
    ours.mkdir()
    build(PASSAGES, ours, bm25)
    queries = ["cats on mats", "a dog's life", "weaving cats"]
    peer = PisaIndex(str(theirs), text_field="text", stemmer=bm25.stemmer)
    peer.index([{"docno": passage.docno, "text": passage.reader_text} for passage in PASSAGES])
    frame = peer.bm25(k1=bm25.k1, b=bm25.b, num_results=2)(pd.DataFrame({"qid": list("012"), "query": queries}))
    expected = [
        [(row.docno, float(row.score)) for row in frame[frame.qid == qid].itertuples()] for qid in ("0", "1", "2")
    ]
    assert found(ours, *queries, bm25=bm25, k=2) == expected
    assert any(len(ranked) == 2 for ranked in expected)


def test_titles_are_indexed_and_k_is_the_limit(index):
    assert docnos(found(index, "weaving")[0]) == ["d3"]
    assert [len(ranked) for ranked in found(index, "cats", "cats", k=1)] == [1] * 2


def test_odd_queries_find_matches_and_do_not_end_the_search(index):
    odd = ["cat\0mat", "", "the of and", "東京 cat", '"(cat^', "cat\n\tmat\r", "\ud83d dog", "cat " * 5000]
    answers = found(index, *odd)
    assert [sorted(docnos(ranked)) for ranked in answers] == [
        ["d1", "d2", "d3"],
        [],
        [],
        ["d1", "d2"],
        ["d1", "d2"],
        ["d1", "d2", "d3"],
        ["d2"],
        ["d1", "d2"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ASCII stays", "plain ASCII stays"),
        ("Crème brûlée", "Creme brulee"),
        ("the user\u2019s ﬁle", "the user's file"),
        ("a\tb\r\nc\0d", "a b c d"),
        ("Tōkyō東京タワー", "Tokyo "),
    ],
)
def test_plain_keeps_letters_that_pisa_knows(text, expected):
    assert plain(text) == expected


def test_accents_match_with_and_without(tmp_path):
    build([Passage("d1", "café au lait"), Passage("d2", "cafeteria")], tmp_path, Bm25Settings())
    assert [docnos(ranked) for ranked in found(tmp_path, "cafe", "CAFÉ", "caf")] == [["d1"], ["d1"], []]


def test_docnos_in_any_script_are_unchanged(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    monkeypatch.setenv("PYTHONUTF8", "0")
    build([Passage("größe/東京#1", "word")], tmp_path, Bm25Settings())
    assert docnos(found(tmp_path, "word")[0]) == ["größe/東京#1"]


def test_modules_in_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "pandas.py").write_text("raise SystemExit('the wrong pandas')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index").mkdir()
    build(PASSAGES, tmp_path / "index", Bm25Settings())
    assert docnos(found(tmp_path / "index", "dog")[0]) == ["d2"]


@pytest.mark.parametrize(
    ("passages", "message"),
    [
        ([Passage("a b", "text")], "here: docno 'a b' is empty, or has whitespace"),
        ([Passage("d1", "東京"), Passage("d2", "")], "here: no passage has a Latin letter or a digit"),
        ([], "here: no passage has a Latin letter or a digit"),
    ],
)
def test_passages_that_cannot_be_indexed_are_refused(tmp_path, passages, message):
    with pytest.raises(LimRankError, match=message):
        build(passages, tmp_path, Bm25Settings(), source="here")


def test_an_error_in_the_passages_is_raised_unchanged(tmp_path):
    def stream():
        yield PASSAGES[0]
        raise LimRankError("corpus.jsonl:2: malformed")

    with pytest.raises(LimRankError, match=r"corpus\.jsonl:2: malformed"):
        build(stream(), tmp_path, Bm25Settings())


def test_progress_counts_the_passages(tmp_path):
    counts = []
    build([Passage(f"d{number}", "word") for number in range(205)], tmp_path, Bm25Settings(), counts.append)
    assert sum(counts) == 205


def test_a_search_changes_nothing_in_the_index(index):
    before = files(index)
    default, other = found(index, "cat")[0], found(index, "cat", bm25=Bm25Settings(k1=2.0, b=0.1))[0]
    assert docnos(default) == docnos(other) and default != other
    assert files(index) == before


# the command


def test_a_saved_index_is_reused(folder):
    first = retrieve("--index", "kept/index")
    assert (first.exit_code, first.stdout) == (0, "")
    assert "note: index saved in kept/index\n" in first.stderr
    run, made = (folder / "run.txt").read_bytes(), files(folder / "kept/index")
    second = retrieve("--index", "kept/index")
    assert "note: using the index in kept/index\n" in second.stderr
    assert (folder / "run.txt").read_bytes() == run
    assert files(folder / "kept/index") == made
    assert files(folder / "kept").keys() == {"index"}


@pytest.mark.parametrize("change", ["corpus", "stemmer", "no index", "a file"])
def test_an_index_that_does_not_match_is_refused_and_left_unchanged(folder, saved, change):
    made = files(shutil.copytree(saved, folder / "index"))
    if change == "corpus":
        (folder / "corpus.tsv").write_text(CORPUS.replace("dogs", "wolves"))
        assert "index: has an index of another corpus than" in error(retrieve("--index", "index"))
    elif change == "stemmer":
        result = retrieve("--index", "index", "--stemmer", "none")
        assert "index: has an index of another corpus than" in error(result)
    elif change == "no index":
        assert ".: exists, but is not an index made by limrank" in error(retrieve("--index", "."))
    else:
        assert "topics.tsv: exists, but is not an index made by limrank" in error(retrieve("--index", "topics.tsv"))
    assert files(folder / "index") == made


def test_a_malformed_corpus_leaves_no_index(folder):
    (folder / "corpus.tsv").write_text(CORPUS + "d4 no tab\n")
    assert "corpus.tsv:4: 1 tab-separated columns" in error(retrieve("--index", "index"))
    assert sorted(os.listdir(folder)) == ["corpus.tsv", "topics.tsv"]


def test_queries_without_a_match_are_reported(folder):
    (folder / "topics.tsv").write_text(TOPICS + "q3\tzebra\n")
    result = retrieve("--json")
    assert "note: 1 of 3 queries match nothing and are not in the run ('q3')\n" in result.stderr
    assert list(read_run("run.txt")) == ["q1", "q2"]
    assert '"without_match": [\n    "q3"\n  ]' in result.stdout


def test_no_match_at_all_is_an_error(folder, saved):
    (folder / "topics.tsv").write_text("q1\tzebra\n")
    message = "topics.tsv: no query shares a word with a passage of corpus.tsv"
    assert message in error(retrieve("--index", saved))


def test_stdout_has_the_run_and_no_output_of_pisa(folder):
    done = subprocess.run([*RETRIEVE, "-o", "-", "--tag", "t", "-q"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    rows = [line.split(" ") for line in done.stdout.splitlines()]
    assert rows[0] == ["q1", "Q0", rows[0][2], "1", rows[0][4], "t"]
    assert rows[-1] == ["q2", "Q0", "d2", "1", rows[-1][4], "t"]


def test_a_crash_of_pisa_is_one_line(folder):
    """A file size limit ends PISA's process with a C++ exception, like a full disk."""
    (folder / "corpus.tsv").write_text("".join(f"d{n}\tword{n} word{n * 7}\n" for n in range(5000)))
    code = (
        "import resource, sys, limrank_ir.cli.app; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
        "sys.argv = ['limrank', 'retrieve', '--corpus', 'corpus.tsv', '--topics', 'topics.tsv', '-o', 'run.txt', "
        "'--index', 'index']; limrank_ir.cli.app.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1  # a failure of the machine
    assert done.stdout == ""
    assert done.stderr.startswith("limrank: PISA failed (") and done.stderr.count("\n") == 1
    assert sorted(os.listdir(folder)) == ["corpus.tsv", "topics.tsv"]


def test_ctrl_c_while_indexing_leaves_nothing(folder, tmp_path_factory):
    os.unlink("corpus.tsv")
    os.mkfifo("corpus.tsv")
    temporary = tmp_path_factory.mktemp("tmp")
    running = subprocess.Popen(
        [*RETRIEVE, "-o", "run.txt"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    pipe = os.open("corpus.tsv", os.O_RDWR)  # also for reading, so that opening does not wait for a dead command
    try:
        os.write(pipe, CORPUS.encode())  # then the command waits for more lines
        deadline = time.monotonic() + 20
        while not list(temporary.glob("limrank-index-*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=20)
    finally:
        os.close(pipe)
    assert (running.returncode, stderr) == (130, "limrank: interrupted\n")
    assert list(temporary.iterdir()) == []
    assert not os.path.exists("run.txt")
