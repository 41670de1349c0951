"""Training rows: mixed from several sources and mined from a corpus; and replies."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from limrank_ir import LimRankError
from limrank_ir.cli.app import app
from limrank_ir.synth.ask import Dropped
from limrank_ir.synth.config import SynthConfig
from limrank_ir.synth.judging import grade
from limrank_ir.synth.mine import Graded, groups
from limrank_ir.synth.mix import mix, read_rows
from limrank_ir.synth.queries import QueriesReply
from limrank_ir.synth.reply import Unusable, read_json, read_reply
from limrank_ir.synth.templates import read_prompts
from limrank_ir.train.rows import read_groups
from tests.chat_server import said, serving
from tests.synthesis import write_config

ROW = {"instruction": "Determine", "input": "Query: q\nPassage: p", "output": "<think>t</think> true"}


def synth(*arguments):
    return CliRunner().invoke(app, ["synth", *map(str, arguments)])


# Mixing


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=4), st.integers(0, 9))
def test_a_mixture_has_the_requested_number_of_each(sources, seed):
    given_ = [
        ([{"output": f"{s} {n}"} for n in range(have)], min(have, take)) for s, (have, take) in enumerate(sources)
    ]
    rows = mix(given_, seed=seed)
    for number, (_, count) in enumerate(given_):
        ours = [row["output"] for row in rows if row["output"].startswith(f"{number} ")]
        assert len(ours) == len(set(ours)) == count
    assert rows == mix(given_, seed=seed)


def test_what_is_drawn_of_one_source_does_not_depend_on_another():
    ours, theirs = ([{"output": f"{name}{number}"} for number in range(50)] for name in "ab")
    one = {row["output"] for row in mix([(ours, 10), (theirs, 5)], seed=3) if row["output"][0] == "a"}
    other = {row["output"] for row in mix([(ours, 10), (theirs, 40)], seed=3) if row["output"][0] == "a"}
    assert one == other


def test_rows_of_all_layouts_become_alpaca(tmp_path):
    messages = [
        {"role": "user", "content": f"{ROW['instruction']}\n{ROW['input']}"},
        {"role": "assistant", "content": ROW["output"]},
    ]
    (tmp_path / "a.json").write_text(json.dumps([ROW, {**ROW, "more": 1}]))
    (tmp_path / "b.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    assert read_rows(tmp_path / "a.json") == [ROW, ROW] and read_rows(tmp_path / "b.jsonl") == [ROW]
    (tmp_path / "c.jsonl").write_text(json.dumps(ROW) + '\n{"query": "q"}\n')
    with pytest.raises(LimRankError, match=r"c\.jsonl:2: neither instruction, input, and output, nor messages"):
        read_rows(tmp_path / "c.jsonl")


def test_the_command(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{**ROW, "output": str(number)} for number in range(9)]))
    result = synth("mix", f"{tmp_path}/a.json=4", f"{tmp_path}/a.json=2", "-o", tmp_path / "out.json")
    assert result.exit_code == 0 and len(read_rows(tmp_path / "out.json")) == 6
    result = synth("mix", f"{tmp_path}/a.json=10", "-o", tmp_path / "out.json")
    assert result.exit_code == 2 and "source 1: has 9 rows, not 10; ask for fewer" in result.stderr
    result = synth("mix", f"{tmp_path}/a.json", "-o", tmp_path / "out.json")
    assert result.exit_code == 2 and "a.json: not FILE=N" in result.stderr


# Mining


def test_negatives_from_a_corpus(tmp_path):
    corpus = {
        "d1": "Otters hunt crayfish at night.",
        "d2": "Otters sleep in burrows by day.",
        "d3": "A volcano erupted.",
        "d4": "Crayfish live in streams, where otters hunt them.",
    }
    (tmp_path / "corpus.tsv").write_text("".join(f"{docno}\t{text}\n" for docno, text in corpus.items()))
    (tmp_path / "topics.tsv").write_text("q1\twhen do otters hunt crayfish\n")
    rows = tmp_path / "rows.jsonl"

    def grades(body):
        prompt = body["messages"][0]["content"]
        return said("Yes.\n4" if "at night" in prompt else f"Hardly.\n**{1 + body['seed']}**")

    with serving(grades) as server:
        config = write_config(tmp_path, server.url)
        where = ["--corpus", tmp_path / "corpus.tsv", "--topics", tmp_path / "topics.tsv", "--rows", rows]
        result = synth("mine", config, *where, "-k", 2)
        assert result.exit_code == 0, result.output
        assert len(server.asked) <= 2 * 4 and len(server.asked) % 2 == 0
        assert all("volcano" not in body["messages"][0]["content"] for body in server.asked)
        before = len(server.asked)
        assert synth("mine", config, *where, "-k", 2).exit_code == 0 and len(server.asked) == before
        assert "rows for 1 of 1 queries" in result.stderr and "dropped" not in result.stderr
        assert "license" not in json.loads(rows.read_text())  # training asks for one
        config = write_config(tmp_path, server.url, license="MIT")
        assert synth("mine", config, *where, "-k", 2).exit_code == 0
        assert json.loads(rows.read_text())["license"] == "MIT"
    (row,) = map(json.loads, rows.read_text().splitlines())
    assert row["pos"] == [corpus["d1"]] and set(row["neg"]) <= {corpus["d2"], corpus["d4"]}
    assert row["grades"] == [1.0, *[0.375] * len(row["neg"])]
    (group,) = read_groups(rows)
    assert [candidate.grade for candidate in group.candidates] == row["grades"]


def test_queries_without_both_kinds_give_no_row():
    def graded(qid, grade):
        return Graded(qid=qid, query="q", docno="d", passage="p", grade=grade)

    found = groups([graded("a", 0.75), graded("a", 0.5), graded("b", 1.0), graded("c", 0.0)])
    assert [(row["qid"], row["grades"]) for row in found] == [("a", [0.75, 0.5])]


def test_passages_without_a_grade_are_counted_and_no_empty_file_is_written(tmp_path):
    (tmp_path / "corpus.tsv").write_text("d1\tOtters hunt at night.\nd2\tOtters sleep by day.\n")
    (tmp_path / "topics.tsv").write_text("q1\twhen do otters hunt\n")
    where = ["--corpus", tmp_path / "corpus.tsv", "--topics", tmp_path / "topics.tsv", "--rows", tmp_path / "r.jsonl"]
    with serving(lambda body: said("4" if "at night" in body["messages"][0]["content"] else "fine")) as server:
        result = synth("mine", write_config(tmp_path, server.url, attempts=1), *where)
    assert "grades: answers: 1 dropped, unusable answer: no grade from 0 to 4 at the end" in result.stderr
    assert result.exit_code == 2 and "no query has both" in result.stderr and not (tmp_path / "r.jsonl").exists()


@pytest.mark.parametrize(
    ("answer", "mean"),
    [
        ("It answers half of it.\n2", 0.5),
        ("**Grade: 3**", 0.75),
        ("3/4", 0.75),
        ("I give it 2 out of 4.", 0.5),
        ("1 of 4", 0.25),
        ("1.5/4", None),
        ("5/4", None),
        ("It can be graded from 0 to 4", None),
        ("0-4", None),
        ("That comes to 3.", 0.75),
        ("ten", None),
    ],
)
def test_a_grade_is_not_the_end_of_its_scale(answer, mean):
    async def ask(model, body):
        return said(answer)

    config = SynthConfig(seeds="s", personas="p", couples=1, output="o", attempts=1)
    try:
        assert asyncio.run(grade("q", "p", config, read_prompts(), ask)) == mean
    except Dropped as dropped:
        assert mean is None and "no grade from 0 to 4" in str(dropped)


# Replies


def test_thoughts_are_found_wherever_servers_put_them():
    for answer in (
        said("true", reasoning_content=" because "),
        said("true", reasoning="because"),
        said("<think>\nbecause\n</think>\n\ntrue"),
    ):
        reply = read_reply(answer)
        assert (reply.text, reply.thought) == ("true", "because")
    assert read_reply(said("true")).thought is None


UNUSABLE = {
    "refused": said("", refusal="no"),
    "withheld": {"refused": "policy"},
    "empty": said("  "),
    "a thought without an end": said("<think>\nFirst, what does a forum answer look like?"),
    "no answer": {"choices": []},
    "cut": {"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]},
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_unusable_answers(reason):
    with pytest.raises(Unusable, match=reason):
        read_reply(UNUSABLE[reason])


def test_json_in_fences_and_in_the_wrong_shape():
    good = '{"daily": "a", "expert": "b"}'
    for text in (good, f"```json\n{good}\n```", f"<think>x</think>{good}"):
        assert read_json(read_reply(said(text)), QueriesReply) == QueriesReply(daily="a", expert="b")
    for text, reason in (("{", "not JSON"), ('{"daily": 1}', "wrong shape"), ("[" * 100_000, "not JSON")):
        with pytest.raises(Unusable, match=reason):
            read_json(read_reply(said(text)), QueriesReply)
