"""``limrank bench gpqa``: from questions and a pool to accuracies, with no word of a question left behind."""

from __future__ import annotations

import gzip
import json
import logging
import re
from itertools import count

import pytest

from limrank_ir.benchmarks.gpqa import asking, measure, results
from limrank_ir.benchmarks.gpqa.questions import read_questions
from limrank_ir.benchmarks.systems.system import System, Work
from limrank_ir.errors import EngineError
from limrank_ir.llm.chat import Server
from limrank_ir.llm.journal import Journal
from limrank_ir.store import VerdictStore
from limrank_ir.verdict import Verdict
from limrank_ir.weights import _gguf
from tests import llama_server
from tests.chat_server import said, serving
from tests.command_line import limrank
from tests.gpqa_data import POOL, SECRET, questions_csv, write_data


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_data(tmp_path)


@pytest.fixture
def longest_first(monkeypatch):
    """A reranker that loads in no time: the longer a passage, the better."""

    def start():
        def score(pairs, advance):
            assert all(instruction is None for _, _, instruction in pairs)
            return [float(len(passage)) for _, passage, _ in pairs], Work(len(pairs), len(pairs), 0.5, 10, 0, 0)

        return score

    def read_systems(names, options, store, *, thoughts):
        assert not thoughts
        return [System("longest", "longest", "longest 1", 1.0, None, start)]

    monkeypatch.setattr(measure, "read_systems", read_systems)


def gpqa(url, *arguments, output="out"):
    common = ("--questions", "gpqa.csv", "--pool", "pool.jsonl", "--reader", url, "--reader-model", "reader")
    return limrank("bench", "gpqa", *common, "-o", output, "--depth", 5, "-k", 1, *arguments)


def nothing_leaked(folder, *texts):
    """No file and no text has a word of a question, in any encoding that these words have."""
    for file in folder.rglob("*"):
        if file.is_file() and file.name not in ("gpqa.csv", "pool.jsonl"):
            raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            assert not SECRET.search(raw.decode("latin-1")), file
    for text in texts:
        assert not SECRET.search(text), SECRET.search(text)


def knowing(body):
    """A reader that knows the answer if it is in a passage, and otherwise answers without a box."""
    message = body["messages"][1]["content"]
    shown, _, passages = message.partition("These passages may help")
    choices = re.findall(r"^\(([A-D])\) (.*)$", shown, re.MULTILINE)
    return next(
        (said(rf"It is \boxed{{{letter}}}.") for letter, choice in choices if choice.lower() in passages.lower()),
        said("I do not know what Zorblatt says."),
    )


def test_a_run_from_questions_to_accuracies_leaves_no_text_behind(data, caplog, longest_first):
    caplog.set_level(logging.DEBUG)
    with serving(knowing) as server:
        done = gpqa(server.url)
        assert done.exit_code == 0, done.stderr
        asked = len(server.asked)
        again = gpqa(server.url)
        assert len(server.asked) == asked <= 12  # equal requests are sent once, and none twice
    assert again.stdout == done.stdout
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header[:4] == ["reader gets", "accuracy", "95% interval", "no choice"]
    assert [row[0] for row in rows] == ["closed book", "bm25", "longest"]
    assert rows[0][1:4] == ["0.0%", "0.0% to 49.0%", "4"] and [row[1] for row in rows[1:]] == ["100.0%", "25.0%"]
    saved = json.loads((data / "out/results.json").read_text())
    assert saved["questions"]["rec1"]["answers"]["closed book"][0]["choice"] is None
    for question in read_questions(data / "gpqa.csv").questions:
        record = saved["questions"][question.qid]
        assert (record["answer"], record["order"]) == (question.answer, list(question.order))
        assert record["answers"]["bm25"][0]["choice"] == question.answer
    (compared,) = [each for each in saved["comparisons"] if each["second"] == "bm25"]
    assert (compared["wins"], compared["ties"], compared["losses"], compared["difference"]) == (4, 0, 0, 1.0)
    runs = sorted(file.name for file in (data / "out/runs").iterdir())
    assert runs == ["bm25.run.gz", "longest.run.gz"]
    card = json.loads((data / "out/card.json").read_text())
    assert set(card["data"]) == {"questions", "pool"} and card["systems"]["longest"]["identity"]
    nothing_leaked(data, done.output, again.output, caplog.text, *map(str, caplog.records))


def test_thoughts_about_questions_are_not_stored(tmp_path):
    store = VerdictStore(tmp_path / "verdicts.sqlite", thoughts=False)
    store.put([(b"k", Verdict(1.5, "Zorblatt says so", 10, 5, "verdict"))])
    assert store.get([b"k"])[b"k"] == Verdict(1.5, None, 10, 5, "verdict")
    store.close()
    nothing_leaked(tmp_path)


def test_the_path_with_a_real_server_and_a_real_reranker(data):
    (data / "gpqa.csv").write_text("\r\n".join(questions_csv().split("\r\n")[:3]) + "\r\n")
    with llama_server.serving(_gguf()) as url:
        done = gpqa(f"{url}/v1", "--max-tokens", 4, "--depth", 2, "--concurrency", 2, "--reader-option", "top_k=1")
    assert done.exit_code == 0, done.stderr
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["closed book", "bm25", "limrank-smol"]
    for row in rows:  # SmolLM2 cannot answer in 4 tokens: each answer is cut, and counted as such
        assert [row[header.index(name)] for name in ("no choice", "cut", "answers")] == ["2", "2", "2"]
        assert int(row[header.index("tokens")]) > 2 * 60
    with gzip.open(data / "out/runs/limrank-smol.run.gz", "rt") as run:
        assert len(run.readlines()) == 4
    nothing_leaked(data, done.output)


def test_a_judge_decides_and_an_unclear_one_counts_as_wrong(data):
    verdicts = iter(["Yes.", "no", "who knows", "yes"])

    def answer(body):
        if body["model"] == "judge":
            assert body["temperature"] == 0 and "The correct choice is (" in body["messages"][0]["content"]
            return said(next(verdicts, "no"))
        return said("It is as Zorblatt says.")

    with serving(answer) as server:
        judged = ("--judge", server.url, "--judge-model", "judge", "--model", "bm25", "--concurrency", 1)
        done = gpqa(server.url, *judged)
        asked = len(server.asked)
        assert gpqa(server.url, *judged).exit_code == 0 and len(server.asked) == asked == 16
    assert done.exit_code == 0, done.stderr
    header, closed, _ = [line.split("\t") for line in done.stdout.splitlines()]
    assert header[-1] == "judge unclear" and (closed[1], closed[3], closed[-1]) == ("50.0%", "4", "1")
    nothing_leaked(data, done.output)


def test_samples_differ_in_their_seed_and_are_averaged(data):
    numbers = count()

    def answer(body):
        return said(rf"\boxed{{{'ABCD'[next(numbers) % 4]}}}")

    with serving(answer) as server:
        done = gpqa(
            server.url, "--samples", 4, "--temperature", 0.8, "--seed", 7, "--model", "bm25", "--concurrency", 1
        )
        assert {body["seed"] for body in server.asked} == {7, 8, 9, 10} and len(server.asked) == 32
    assert done.exit_code == 0, done.stderr
    assert [line.split("\t")[1] for line in done.stdout.splitlines()[1:]] == ["25.0%", "25.0%"]
    refused = gpqa("http://localhost:1/v1", "--samples", 4)
    assert refused.exit_code == 2 and "at temperature 0 all are the same" in refused.stderr


def test_a_cut_answer_is_counted_and_a_refusal_too(data):
    endings = iter(["length", "length", "content_filter", "stop"])

    def answer(body):
        found = said(r"\boxed{A}" if "passages" in body["messages"][1]["content"] else "hm")
        found["choices"][0]["finish_reason"] = next(endings, "stop")
        return found

    with serving(answer) as server:
        done = gpqa(server.url, "--model", "bm25")
    header, closed, with_passages = [line.split("\t") for line in done.stdout.splitlines()]
    assert [closed[header.index(name)] for name in ("no choice", "cut", "refused")] == ["4", "2", "1"]
    assert [with_passages[header.index(name)] for name in ("no choice", "cut", "refused")] == ["0", "0", "0"]


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (404, "reader at .*: no such model", 2),
        (400, "repeats a part of a question, so it is not shown", 2),
        (401, "the key in OPENAI_API_KEY is refused", 2),
    ],
)
def test_a_server_that_refuses_is_one_line_and_found_before_reranking(data, status, message, code, caplog):
    caplog.set_level(logging.DEBUG)

    def answer(body):
        asked = body["messages"][1]["content"]
        return {"error": {"message": f"bad input: {asked}" if status == 400 else "no"}}

    with serving(answer, status=status) as server:
        done = gpqa(server.url, "--model", "limrank-smol")
    assert done.exit_code == code and re.search(message, done.stderr), done.stderr
    assert not (data / "out/runs/limrank-smol.run.gz").exists()
    nothing_leaked(data, done.output, caplog.text)


def test_a_server_that_is_down(data):
    journal = Journal(data / "answers.sqlite")
    model = asking.Model(Server("http://127.0.0.1:9/v1", retries=0), "reader", {})
    (question, *_) = read_questions(data / "gpqa.csv").questions
    with pytest.raises(EngineError, match=r"reader at http://127\.0\.0\.1:9/v1/: cannot be reached"):
        asking.Reader(model, None, journal, [question.shown]).ask([asking.Request(question, ())], lambda count: None)
    assert len(journal) == 0


def test_what_was_answered_before_a_failure_is_not_asked_again(data):
    failing = True

    def answer(body):
        if failing and "Passage 1" in body["messages"][1]["content"]:
            return {"error": {"message": "no more credit", "code": 400}}
        return knowing(body)

    with serving(answer) as server:
        first = gpqa(server.url, "--model", "bm25", "--concurrency", 1)
        assert first.exit_code == 2 and "no more credit" in first.stderr and len(server.asked) == 5
        failing = False
        assert gpqa(server.url, "--model", "bm25", "--concurrency", 1).exit_code == 0
        assert len(server.asked) == 9


def test_ctrl_c_says_what_is_saved_and_the_next_call_resumes(data, monkeypatch):
    usual, calls = asking.Reader._ask, count()

    async def interrupted(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        await usual(*arguments)

    with serving(knowing) as server:
        monkeypatch.setattr(asking.Reader, "_ask", interrupted)
        done = gpqa(server.url, "--model", "bm25", "--concurrency", 1)
        assert done.exit_code == 130
        assert "2 answers and all verdicts so far are saved in out/work; run the same command again" in done.stderr
        monkeypatch.setattr(asking.Reader, "_ask", usual)
        assert gpqa(server.url, "--model", "bm25").exit_code == 0 and len(server.asked) == 8


def test_results_of_other_settings_are_not_mixed(data):
    with serving(knowing) as server:
        assert gpqa(server.url, "--model", "bm25").exit_code == 0
        other = gpqa(server.url, "--model", "bm25", "--seed", 5)
        assert other.exit_code == 2 and "made with --seed 0, not with --seed 5" in other.stderr
        (data / "pool.jsonl").write_text(json.dumps(POOL[0]) + "\n")
        other = gpqa(server.url, "--model", "bm25")
        assert other.exit_code == 2 and "made with pool " in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--judge", "http://localhost:1"), "--judge and --judge-model belong together"),
        (("--reader", "localhost:8000"), "--reader localhost:8000: not a URL"),
        (("-k", 9), "more than the 5 passages of --depth"),
        (("--model", "bn25"), "did you mean bm25"),
        (("--pool", "nowhere"), "--pool nowhere: no such file or folder"),
        (("--questions", "nowhere"), "nowhere: no such file"),
        (("--reader", "https://api.example.org/v1", "--key-env", "NO_SUCH_KEY"), "no API key; set NO_SUCH_KEY"),
    ],
)
def test_bad_options_are_one_line(data, arguments, message):
    done = gpqa("http://localhost:1/v1", *arguments)
    assert done.exit_code == 2 and message in done.stderr and not (data / "out").exists(), done.stderr


def answers(*correct):
    return {str(n): [asking.Answer("A", bool(c), "", None, 0, 0)] for n, c in enumerate(correct)}


def test_figures_are_wilsons_interval_and_mcnemars_test():
    from scipy.stats import binomtest
    from statsmodels.stats.contingency_tables import mcnemar

    first = results.Condition("first", answers(*[1] * 10, *[0] * 8, *[1] * 2))
    second = results.Condition("second", answers(*[1] * 17, *[0] * 3))
    found = results.figures(first)
    expected = binomtest(12, 20).proportion_ci(method="wilson")
    assert (found.accuracy, found.low, found.high) == pytest.approx((0.6, expected.low, expected.high))
    (compared,) = results.comparisons([first, second])
    assert (compared.wins, compared.losses, compared.ties) == (7, 2, 11)
    assert compared.p_value == pytest.approx(mcnemar([[10, 2], [7, 1]], exact=True).pvalue)
    assert compared.low < compared.difference < compared.high and compared.difference == pytest.approx(0.25)
    same = results.comparisons([first, first, first])
    assert [(each.p_value, each.low, each.difference) for each in same] == [(1.0, None, 0.0)] * 3
