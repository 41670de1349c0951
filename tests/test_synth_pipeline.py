"""The synthesizer end to end with a server on loopback: faults, kills, limits, replays, batches, and prompts."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from limrank_ir.llm.answers import usable
from limrank_ir.llm.journal import Journal, request_key
from limrank_ir.synth.pipeline import STAGES
from limrank_ir.synth.prices import read_prices
from limrank_ir.synth.records import Outline, WrittenPassage, WrittenQuery
from limrank_ir.train.rankings import _checked
from limrank_ir.train.rows import read_groups
from tests.chat_server import FAULTS, said, serving, write
from tests.synthesis import synth, write_config, write_prompts, write_sources

RESULTS = ("train_limrank.json", "pairs.jsonl", "listwise.jsonl", "setwise.jsonl", "dataset_info.json", "README.md")


@pytest.fixture
def home(tmp_path):
    write_sources(tmp_path, 200)
    return tmp_path


def results(folder):
    return {name: (folder / "dataset" / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A synthesis without faults, and the number of requests that its server got."""
    folder = tmp_path_factory.mktemp("whole")
    write_sources(folder, 200)
    with serving(write) as server:
        config = write_config(folder, server.url)
        result = synth("run", config)
        assert result.exit_code == 0, result.output
        again = synth("run", config)
        assert again.exit_code == 0 and "0 requests;" in again.stderr
        return folder, len(server.asked), result.stderr


def test_what_comes_out(whole):
    folder, asked, said_ = whole
    # 20 couples, 40 queries with outlines, 160 passages judged twice, 15 of them borrowed
    assert asked == 20 + 40 + 145 + 320
    assert "525 requests; deepseek-reasoner: 320 answers" in said_ and "160 pairs for 40 queries, 40 relevant" in said_
    rows = json.loads((folder / "out/dataset/train_limrank.json").read_text())
    assert len(rows) == 160 and set(rows[0]) == {"instruction", "input", "output"}
    assert all(row["output"].startswith("<think>\n") for row in rows)
    assert all(row["output"].endswith(("</think> true", "</think> false")) for row in rows)
    for name in ("train_limrank.json", "pairs.jsonl"):
        groups = read_groups(folder / "out/dataset" / name)
        assert len(groups) == 40
        for group in groups:
            assert [candidate.label for candidate in group.candidates] == [True, False, False, False]
            assert all(candidate.reasoning for candidate in group.candidates)
    for layout in ("listwise", "setwise"):
        lines = (folder / "out/dataset" / f"{layout}.jsonl").read_text().splitlines()
        assert len(lines) == 40 and all(_checked("here", json.loads(line), layout) for line in lines)


def test_every_row_says_where_it_comes_from(whole):
    folder, _, _ = whole
    journal = {request_key(body): body for body, _ in Journal(folder / "out/answers.sqlite")}
    for line in (folder / "out/dataset/pairs.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["models"] == {"generator": "gpt-4o", "judge": "deepseek-reasoner"}
        assert row["seed"].startswith("s") and row["persona"].startswith("p") and len(row["judgments"]) == 2
        prompts = [journal[key]["messages"][0]["content"] for key in row["requests"].values()]
        assert row["query"] in prompts[1] and row["content"] in prompts[2]
        assert row["query"] not in prompts[2] and row["flaw"] not in (*prompts[2:], "")
        for judgment in row["judgments"]:
            prompt = journal[judgment["request"]]["messages"][0]["content"]
            assert row["query"] in prompt and row["passage"] in prompt and row["need"] in prompt
            assert not row["flaw"] or row["flaw"] not in prompt
        assert set(row["prompts"]) == {"queries", "outline", "passage", "judge", "grade"}


def test_a_journal_replays_to_the_same_bytes(whole, tmp_path):
    folder, _, _ = whole
    write_sources(tmp_path, 200)
    config = write_config(tmp_path, "http://127.0.0.1:9/v1")  # nobody answers there
    (tmp_path / "out").mkdir()
    shutil.copy(folder / "out/answers.sqlite", tmp_path / "out/answers.sqlite")
    result = synth("batch-write", config, tmp_path / "none.jsonl")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "none.jsonl").exists()
    assert results(tmp_path / "out") == results(folder / "out")


def test_two_thousand_requests_with_faults_give_the_same_file(home):
    faults = {fault: 0.04 for fault in FAULTS if fault != "refusal"}  # refusals are final
    with serving(write, faults) as server:
        result = synth("run", write_config(home, server.url, couples=78, output="faults"))
        assert result.exit_code == 0, result.output
        assert len(server.asked) >= 2000
        assert set(server.met) == set(faults) and min(server.met.values()) > 5
    config = write_config(home, "http://127.0.0.1:9/v1", couples=78, output="none")
    requests, answers = home / "requests.jsonl", home / "answers.jsonl"
    while not (home / "none/dataset").exists():  # batches have no faults, and are answered sooner than requests
        assert synth("batch-write", config, requests).exit_code == 0
        answered(requests, answers)
        assert synth("batch-read", config, requests, answers).exit_code == 0
    assert results(home / "faults")["train_limrank.json"] == results(home / "none")["train_limrank.json"]


def test_a_killed_run_continues_and_asks_nothing_twice(home, whole):
    folder, count, _ = whole
    with serving(write, {"slow": 0.3}) as server:
        config = write_config(home, server.url)
        for least in (50, 200):
            process = subprocess.Popen([sys.executable, "-m", "limrank_ir", "synth", "run", str(config)])
            while len(server.asked) < least:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        kept = len(Journal(home / "out/answers.sqlite"))
        assert kept >= 150 and not (home / "out/dataset/train_limrank.json").exists()
        result = synth("run", config)
        assert result.exit_code == 0, result.output
        # Requests in flight when it was killed are repeated: at most one per concurrent request, each time.
        assert len(server.asked) <= count + 2 * 16
    assert results(home / "out") == results(folder / "out")


def test_limits_stop_a_run_cleanly(home, whole):
    folder, count, _ = whole
    with serving(write) as server:
        config = write_config(home, server.url)
        result = synth("run", config, "--max-requests", 33)
        assert result.exit_code == 1 and len(server.asked) == 33
        assert "stopped at the outlines: --max-requests 33 is reached; run the same" in result.stderr
        result = synth("run", config, "--max-requests", 0)
        assert result.exit_code == 1 and len(server.asked) == 33
        # gpt-4o: 100 prompt and 50 response tokens are 0.00075 dollars; a request can cost up to 0.045.
        result = synth("run", config, "--max-cost", 0.105)
        assert result.exit_code == 1 and "--max-cost 0.105 is reached: $0.0" in result.stderr
        assert 80 <= len(server.asked) <= 140
        assert synth("run", config).exit_code == 0
        assert len(server.asked) == count
    assert results(home / "out") == results(folder / "out")


def test_the_stages_one_by_one(home, whole):
    folder, count, _ = whole
    with serving(write) as server:
        config = write_config(home, server.url)
        for stage, asked in (("queries", 20), ("outlines", 60), ("passages", 205)):
            result = synth("run", config, "--until", stage)
            assert result.exit_code == 0 and f"the {stage} are complete: see " in result.stderr
            assert f"{home}/out/{stage}.jsonl; to continue, leave out --until" in result.stderr
            assert len(server.asked) == asked and not (home / "out/dataset").exists()
        made = {stage: (home / f"out/{stage}.jsonl").read_text().splitlines() for stage in STAGES[:3]}
        assert {stage: len(lines) for stage, lines in made.items()} == {"queries": 40, "outlines": 40, "passages": 160}
        for stage, kind in (("queries", WrittenQuery), ("outlines", Outline), ("passages", WrittenPassage)):
            for line in made[stage]:
                kind.model_validate_json(line)
        assert synth("run", config, "--until", "judgments").exit_code == 0 and len(server.asked) == count
        result = synth("run", config, "--until", "lunch")
        assert (
            result.exit_code == 2
            and "unknown stage; choose from: queries, outlines, passages, judgments" in result.stderr
        )
    assert results(home / "out") == results(folder / "out")


@pytest.mark.parametrize("none", [{"error": "no"}, {"choices": None}, {"choices": [{"message": None}]}])
def test_a_failing_server_stops_the_run_and_no_answer_is_lost_and_no_error_saved(home, none):
    def failing(body):
        answer = write(body)
        return answer if len(server.asked) < 30 else none

    with serving(failing) as server:
        model = {"base_url": server.url, "retries": 1}
        config = write_config(home, server.url, generator={"model": "gpt-4o", **model}, attempts=1)
        result = synth("run", config)
    assert result.exit_code == 1 and "2 times; check the server, then run the same command again" in result.stderr
    kept = list(Journal(home / "out/answers.sqlite"))
    assert len(kept) >= 20 and all(usable(answer) for _, answer in kept)
    with serving(lambda body: said("x"), {"500": 1.0}) as server:
        generator = {"model": "gpt-4o", "base_url": server.url, "retries": 0}
        result = synth("run", write_config(home, server.url, generator=generator, output="other"))
    assert result.exit_code == 1
    assert "gpt-4o at http" in result.stderr and "run the same command again later" in result.stderr


def odd(body):
    """The answers of `write`, in the shapes of other servers."""
    answer = write(body)
    message = answer["choices"][0]["message"]
    turn = len(body["messages"][0]["content"]) % 3
    thought = message.pop("reasoning_content", None)
    if turn == 0:
        message["content"] = [{"type": "text", "text": message["content"]}]
        message["reasoning"] = thought and {"text": thought}
    elif turn == 1:
        thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}] if thought else []
        message["content"] = [*thinking, {"type": "text", "text": message["content"]}]
    elif thought:  # the chat template has opened the thought in the prompt
        message["content"] = f"{thought}</think>\n{message['content']}"
    answer["usage"] = [[], None, {"prompt_tokens": "n/a"}][turn]
    return answer


def test_answers_of_other_shapes_give_the_same_rows(home, whole):
    folder, _, _ = whole
    with serving(odd) as server:
        config = write_config(home, server.url)
        result = synth("run", config)
        assert result.exit_code == 0, result.output
        assert (
            "deepseek-reasoner: 320 answers, 0 + 0 tokens;" in f"{result.stderr.splitlines()[0]};"
        )  # no cost is reported
        more = synth("run", config, "--max-cost", 1)
    assert results(home / "out") == results(folder / "out")
    assert more.exit_code == 0  # there is nothing left to ask
    with serving(odd) as server:
        result = synth("run", write_config(home, server.url, output="limited"), "--max-cost", 1)
        assert result.exit_code == 2 and len(server.asked) <= 2 * 16
    assert "--max-cost: cannot be enforced, as answers of gpt-4o do not report tokens" in result.stderr


OLD = [{"error": {"message": "limit", "code": 429}}, {"choices": None}, {"choices": [None]}, {"choices": [{}]}, {}]


def test_errors_that_an_older_version_saved_are_dropped_or_repeated(home, whole):
    folder, count, _ = whole
    with serving(write) as server:
        config = write_config(home, server.url, attempts=1)
        (home / "out").mkdir()
        place = home / "out/answers.sqlite"
        shutil.copy(folder / "out/answers.sqlite", place)
        with sqlite3.connect(place) as database:
            keys = [key for (key,) in database.execute("SELECT key FROM answers ORDER BY key")][::9]
            rows = [(json.dumps(OLD[number % len(OLD)]), key) for number, key in enumerate(keys)]
            database.executemany("UPDATE answers SET answer = ? WHERE key = ?", rows)
        result = synth("run", config)
        borrowed = len(server.asked)  # judgments: without some positives, others are borrowed
        assert result.exit_code == 0 and borrowed <= 20, result.output
        assert all(body["model"] == "deepseek-reasoner" for body in server.asked)
        assert " saved answers are errors" in result.stderr and "unusable answer: no answer" in result.stderr
        assert results(home / "out") != results(folder / "out")
        result = synth("run", config, "--again", "--max-requests", 3)
        assert result.exit_code == 1 and len(server.asked) == borrowed + 3
        requests, answers = home / "requests.jsonl", home / "answers.jsonl"
        assert synth("batch-write", config, requests, "--again").exit_code == 0
        answered(requests, answers)
        taken = synth("batch-read", config, requests, answers)
        assert taken.exit_code == 0 and "0 of" not in taken.stderr
        assert synth("run", config, "--again").exit_code == 0
        result = synth("run", config)
        assert result.exit_code == 0 and "saved answers are errors" not in result.stderr
        assert len(server.asked) < borrowed + len(keys)
    assert results(home / "out") == results(folder / "out")
    assert count <= len(Journal(place)) <= count + borrowed


def test_unusable_answers_are_dropped_and_counted(home):
    def bad(body):
        prompt = body["messages"][0]["content"]
        if prompt.startswith("Write a passage") and "official guidance" in prompt:
            return said(" ".join(["This passage is relevant to the query, as everybody can see at once."] * 7))
        return write(body)

    with serving(bad) as server:
        config = write_config(home, server.url, attempts=2)
        assert synth("run", config).exit_code == 0
        again = [body for body in server.asked if len(body["messages"]) > 1]
        assert again and all("gives it away ('This passage')" in body["messages"][2]["content"] for body in again)
        result = synth("report", config)
    assert result.exit_code == 0, result.output
    page = (home / "out/report.html").read_text()
    assert "unusable answer: wording that gives it away" in page


# Prompts of your own


def test_your_prompts_reach_the_model(home, whole):
    folder, count, _ = whole
    for path in write_prompts(home).iterdir():
        path.write_text(path.read_text() + "\nCosts $$5: keep to British spelling.\n")
    with serving(write, {"shape": 0.1}) as server:
        config = write_config(home, server.url, prompts="prompts")
        result = synth("run", config)
        assert result.exit_code == 0, result.output
        asked = [
            message["content"] for body in server.asked for message in body["messages"] if message["role"] == "user"
        ]
    assert len(server.asked) > count  # some were asked again
    assert all(text.endswith("\nCosts $5: keep to British spelling.") for text in asked)
    row, other = (json.loads((place / "out/dataset/pairs.jsonl").open().readline()) for place in (home, folder))
    assert not set(row["prompts"].values()) & set(other["prompts"].values())
    card = (home / "out/dataset/README.md").read_text()
    assert all(f"{name} {version}" in card for name, version in row["prompts"].items())


# Batches


def answered(requests, answers, respond=write, lose=lambda number: False):
    """Play the provider of a batch."""
    lines = []
    for number, line in enumerate(requests.read_text().splitlines()):
        asked = json.loads(line)
        assert asked["method"] == "POST" and asked["url"] == "/v1/chat/completions"
        response = {"status_code": 200, "body": respond(asked["body"])}
        error = None
        if lose(number):
            response, error = None, {"code": "batch_expired", "message": "expired"}
        lines.append(json.dumps({"id": "x", "custom_id": asked["custom_id"], "response": response, "error": error}))
    answers.write_text("\n".join(reversed(lines)) + "\n")  # answers come in any order


def test_batches_give_the_same_data_at_half_the_price(home, whole):
    folder, _, _ = whole
    config = write_config(home, "http://127.0.0.1:9/v1")
    requests, answers = home / "requests.jsonl", home / "answers.jsonl"
    stages = []
    for _ in range(10):
        requests.unlink(missing_ok=True)
        result = synth("batch-write", config, requests)
        assert result.exit_code == 0, result.output
        if not requests.exists():
            break
        stages.append(result.stderr.split("(")[1].split(")")[0])
        keys = [json.loads(line)["custom_id"] for line in requests.read_text().splitlines()]
        assert keys == sorted(keys)  # the order does not tell which passage is the positive
        answered(requests, answers, lose=lambda number: number % 7 == 3 and len(stages) < 2)
        result = synth("batch-read", config, requests, answers)
        assert result.exit_code == 0, result.output
        assert len(stages) != 1 or "3 not answered: expired" in result.stderr
    assert stages == ["queries", "queries", "outlines", "passages", "judgments"]
    assert results(home / "out") == results(folder / "out")
    table = read_prices()
    half, full = (
        sum(table.cost(body["model"], answer) for body, answer in Journal(place / "out/answers.sqlite"))
        for place in (home, folder)
    )
    assert half == pytest.approx(full / 2)


def test_errors_in_a_batch_are_not_taken_as_answers(home):
    config = write_config(home, "http://127.0.0.1:9/v1")
    requests, answers = home / "requests.jsonl", home / "answers.jsonl"
    assert synth("batch-write", config, requests).exit_code == 0
    lines = [
        {"response": {"status_code": 200, "body": {"choices": [{"message": None}]}}},
        {"response": {"status_code": 200, "body": [1]}},
        {"response": {"status_code": 200, "body": {"error": {"message": "busy", "code": 503}}}},
        {"response": {"status_code": 429, "body": "slow\ndown"}, "error": None},
        {"response": {"body": None}},
        {"response": None, "error": "expired"},
        {"response": "lost", "error": ["expired"]},
        {"response": {"status_code": 400, "body": {"error": {"message": "policy", "code": "content_filter"}}}},
        {"response": {"body": said("hi")}},
    ]
    keys = [json.loads(line)["custom_id"] for line in requests.read_text().splitlines()]
    answers.write_text(
        "".join(json.dumps({"custom_id": k, **line}) + "\n" for k, line in zip(keys, lines, strict=False))
    )
    result = synth("batch-read", config, requests, answers)
    assert result.exit_code == 0 and "2 of 20 requests answered" in result.stderr, result.output
    for reason in ("without a message", "not a JSON object", "busy (status 503)", "slow down (status 429)", "expired"):
        assert f"not answered: {reason}" in result.stderr or reason in result.stderr
    assert sorted(map(len, Journal(home / "out/answers.sqlite"))) == [2, 2]


def test_a_batch_of_something_else_is_refused(home):
    config = write_config(home, "http://127.0.0.1:9/v1")
    requests, answers = home / "requests.jsonl", home / "answers.jsonl"
    synth("batch-write", config, requests)
    answers.write_text('{"custom_id": "mine", "response": {"body": {}}}\n')
    result = synth("batch-read", config, requests, answers)
    assert result.exit_code == 2 and "answers.jsonl:1: answers 'mine', which was not asked" in result.stderr
    result = synth("batch-read", config, requests, requests)
    assert result.exit_code == 2 and "requests.jsonl:1: not a batch answer" in result.stderr
    requests.write_text(requests.read_text().replace("simple", "difficult"))
    result = synth("batch-read", config, requests, answers)
    assert result.exit_code == 2 and "requests.jsonl:1: not a request from batch-write" in result.stderr
