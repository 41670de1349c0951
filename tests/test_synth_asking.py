"""Asking for a synthesis: whose answers count, what a refusal costs, and a limit on cost that holds from the start."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from limrank_ir.llm.journal import Journal, request_key
from limrank_ir.synth.ask import Dropped, Offline, Online, SpendingLimits, Waiting, settle
from limrank_ir.synth.batch import read_requests, write_batch
from limrank_ir.synth.budget import ASSUMED
from limrank_ir.synth.config import ChatModel
from limrank_ir.synth.prices import Prices
from limrank_ir.synth.templates import read_prompts
from tests.chat_server import said, serving, write
from tests.synthesis import synth, write_config, write_sources

URL = "http://127.0.0.1:9/v1"  # nobody answers there
PRICES = Prices({"m": (1.0, 10.0, 1.0)})  # dollars per million tokens


def body(number=0, **parameters):
    return {"model": "m", "messages": [{"role": "user", "content": f"{number}: hello"}], **parameters}


def ask(online, model, bodies):
    """Answers, and None for those that are waited for."""

    async def main():
        try:
            return await asyncio.gather(*(online(model, each) for each in bodies), return_exceptions=True)
        finally:
            await online.close()

    return [None if isinstance(each, Waiting) else each for each in asyncio.run(main())]


# Whose answers count


def test_two_servers_with_models_of_one_name_do_not_share_answers(tmp_path):
    journal = Journal(tmp_path / "a.sqlite")
    with serving(lambda asked: said("one")) as one, serving(lambda asked: said("two")) as two:
        for server, expected in ((one, "one"), (two, "two"), (one, "one")):
            (answer,) = ask(Online(journal, PRICES), ChatModel(model="m", base_url=f"{server.url}/"), [body()])
            assert answer["choices"][0]["message"]["content"] == expected
        assert len(one.asked) == len(two.asked) == 1
        offline = Offline(journal)
        model = ChatModel(model="m", base_url=two.url)
        assert asyncio.run(offline(model, body()))["choices"][0]["message"]["content"] == "two"
        # The same server under another URL, and one that the user says is the same.
        url = two.url.replace("http://", "http://user:password@")
        for same in (ChatModel(model="m", base_url=url), ChatModel(model="m", identity=two.url)):
            assert asyncio.run(offline(same, body())) and not offline.missing


def test_saved_answers_without_a_server_are_not_paid_again(tmp_path):
    journal = Journal(tmp_path / "a.sqlite")
    journal.put(body(), said("old"))
    with serving(lambda asked: said("new")) as server:
        (answer,) = ask(Online(journal, PRICES), ChatModel(model="m", base_url=server.url), [body()])
        assert answer == said("old") and server.asked == []


def test_answers_of_a_server_that_moved_are_pointed_out(tmp_path):
    write_sources(tmp_path, 8)
    generator = {"model": "gpt-4o", "base_url": "http://node17:8000/v1"}
    config = write_config(tmp_path, URL, couples=4, generator=generator)
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    assert synth("batch-write", config, requests).exit_code == 0
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    answers.write_text(
        "".join(
            json.dumps({"custom_id": line["custom_id"], "response": {"body": write(line["body"])}}) + "\n"
            for line in lines
        )
    )
    assert synth("batch-read", config, requests, answers).exit_code == 0
    assert Journal(tmp_path / "out/answers.sqlite").servers("gpt-4o") == {"http://node17:8000/v1": 4}
    config = write_config(tmp_path, URL, couples=4, generator={**generator, "base_url": "http://node23:8000/v1"})
    result = synth("batch-write", config, requests)
    assert (
        "4 answers of gpt-4o come from http://node17:8000/v1 and are not used for http://node23:8000/v1; "
        "if it is the same model, set identity: http://node17:8000/v1" in result.stderr
    )
    moved = {**generator, "base_url": "http://node23:8000/v1", "identity": "http://node17:8000/v1"}
    result = synth("batch-write", write_config(tmp_path, URL, couples=4, generator=moved), requests)
    assert "8 requests to gpt-4o (outlines)" in result.stderr and "not used" not in result.stderr
    judge = {"model": "gpt-4o", "base_url": "http://else/v1"}
    result = synth("batch-write", write_config(tmp_path, URL, couples=4, generator=generator, judge=judge), requests)
    assert result.exit_code == 2 and "both called gpt-4o, but at two servers" in result.stderr


# Refusals


@pytest.mark.parametrize(
    ("refusal", "reason"),
    {
        "by the model": (said("", refusal="I cannot help with that."), "refused"),
        "by a filter": ({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}, "refused"),
        "by an error": ({"error": {"message": "no", "code": "content_filter"}}, "withheld by the server's filter"),
        "in words": (said("I'm sorry, but I can't help with that request."), "refused"),
    }.values(),
)
def test_a_refusal_is_paid_once(tmp_path, refusal, reason):
    async def main():
        model = ChatModel(model="m", base_url=server.url)
        online = Online(Journal(tmp_path / "a.sqlite"), PRICES)
        try:
            await settle(online, model, body(), lambda reply: reply, read_prompts(), attempts=3)
        finally:
            await online.close()

    with serving(lambda asked: refusal) as server:
        with pytest.raises(Dropped, match=f"unusable answer: {reason}"):
            asyncio.run(main())
        assert len(server.asked) == 1


# Limits


def test_the_first_wave_keeps_to_the_limit(tmp_path):
    """64 requests of up to 200 tokens at once: nothing has a price yet, and only five can be paid."""
    bodies = [body(number, max_tokens=200) for number in range(64)]
    model = ChatModel(model="m", concurrency=64)

    def answer(asked):
        time.sleep(0.05)  # all that will be sent are sent before the first answer
        return {**said("hi"), "usage": {"prompt_tokens": 12, "completion_tokens": 200}}

    with serving(answer) as server:
        model = model.model_copy(update={"base_url": server.url})
        online = Online(Journal(tmp_path / "a.sqlite"), PRICES, SpendingLimits(cost=0.0105))
        answers = ask(online, model, bodies)
        assert len(server.asked) == 5 == sum(each is not None for each in answers)
    assert 0.01 < online.spent <= 0.0105 and online.stopped.startswith(
        "--max-cost 0.0105 is reached: $0.0101 are spent"
    )


def test_what_was_reserved_and_not_spent_is_free_again(tmp_path):
    """Responses are a tenth of what was reserved, so requests wait for each other instead of stopping."""
    bodies = [body(number, max_tokens=1000) for number in range(30)]
    with serving(lambda asked: {**said("hi"), "usage": {"prompt_tokens": 10, "completion_tokens": 100}}) as server:
        model = ChatModel(model="m", base_url=server.url, concurrency=16)
        online = Online(Journal(tmp_path / "a.sqlite"), PRICES, SpendingLimits(cost=0.0405))
        assert None not in ask(online, model, bodies)
        assert online.stopped is None and online.spent == pytest.approx(30 * 0.00101)


def test_without_max_tokens_a_response_is_assumed_to_be_long_or_as_long_as_the_longest(tmp_path):
    journal = Journal(tmp_path / "a.sqlite")
    price = (ASSUMED * 10 + 20) / 1e6
    with serving(lambda asked: {**said("hi"), "usage": {"prompt_tokens": 10, "completion_tokens": 9000}}) as server:
        model = ChatModel(model="m", base_url=server.url)
        assert ask(Online(journal, PRICES, SpendingLimits(cost=price - 0.001)), model, [body()]) == [None]
        assert server.asked == []
        online = Online(journal, PRICES, SpendingLimits(cost=0.09 + price + 0.01))
        answers = ask(online, model, [body()]) and ask(online, model, [body(1)])
        assert answers == [None] and len(server.asked) == 1  # 4,096 tokens would have fit, and 9,000 do not


def test_long_prompts_count_before_they_are_sent(tmp_path):
    with serving(lambda asked: said("hi")) as server:
        model = ChatModel(model="m", base_url=server.url)
        for text in ("x" * 30_000, "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 10_000):
            long = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 1}
            online = Online(Journal(tmp_path / "a.sqlite"), PRICES, SpendingLimits(cost=0.0099))
            assert ask(online, model, [long]) == [None] and server.asked == []


# Samples


def test_samples_of_a_greedy_judge_are_warned_about_before_and_in_the_card(tmp_path):
    write_sources(tmp_path, 8)
    with serving(write) as server:
        judge = {"model": "deepseek-reasoner", "base_url": server.url, "structured": "none"}
        greedy = write_config(tmp_path, server.url, couples=4, judge={**judge, "parameters": {"temperature": 0}})
        warning = "the judge answers greedily (temperature: 0), so its 2 judgments of a pair are one judgment"
        assert warning in synth("run", greedy, "--dry-run").stderr and server.asked == []
        result = synth("run", greedy)
        assert result.exit_code == 0 and result.stderr.count(warning) == 1
        card = (tmp_path / "out/dataset/README.md").read_text()
        assert "twice with temperature: 0, which repeats one judgment, so that agreement means nothing" in card
        # What the words of the judgments show, whatever the parameters are.
        assert "pairs have judgments with the same words, which count as one judgment" in result.stderr
        once = write_config(tmp_path, server.url, couples=4, samples=1, judge={**judge, "parameters": {"top_k": 1}})
        assert "greedily" not in synth("run", once, "--dry-run").stderr


def test_a_dry_run_says_how_long_it_takes(tmp_path):
    write_sources(tmp_path, 8)
    result = synth("run", write_config(tmp_path, URL, couples=4), "--dry-run")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "tokens/s" in line]
    assert line.startswith("about ") and " to " not in line
    model = {"base_url": URL}
    both = {"generator": {"model": "gpt-4o", **model}, "judge": {"model": "deepseek-reasoner", **model}}
    result = synth("run", write_config(tmp_path, URL, couples=4, **both), "--dry-run")
    assert " to " in result.stdout and "as fast as the servers allow" in result.stdout


def test_a_large_batch_is_saved_in_few_transactions(tmp_path):
    from limrank_ir.synth.batch import read_batch

    commits = []

    class Counted(Journal):
        def put_all(self, answered):
            commits.append(len(answered))
            super().put_all(answered)

    bodies = {request_key(each): each for each in map(body, range(1500))}
    lines = (json.dumps({"custom_id": key, "response": {"body": said("hi")}}) for key in bodies)
    (tmp_path / "answers.jsonl").write_text("\n".join(lines))
    journal = Counted(tmp_path / "a.sqlite")
    assert read_batch(tmp_path / "answers.jsonl", bodies, journal, {"m": "http://one/v1"}) == (1500, {})
    assert len(commits) == 2 and journal.servers("m") == {"http://one/v1": 1500}


def test_large_batches_are_split(tmp_path):
    bodies = {request_key(body): body for body in ({"model": "m", "n": number} for number in range(7))}
    paths = write_batch(tmp_path / "requests.jsonl", bodies, most=3)
    assert [path.name for path in paths] == ["requests.jsonl", "requests-2.jsonl", "requests-3.jsonl"]
    read = [read_requests(path) for path in paths]
    assert [len(part) for part in read] == [3, 3, 1] and read[0] | read[1] | read[2] == bodies
    size = paths[0].stat().st_size  # of three requests
    paths = write_batch(tmp_path / "small.jsonl", bodies, most_bytes=size)
    assert [len(read_requests(path)) for path in paths] == [3, 3, 1]
    assert len(write_batch(tmp_path / "tiny.jsonl", bodies, most_bytes=1)) == 7
