"""Before money is spent: dry runs, prices, and faults that are reported in time."""

from __future__ import annotations

import re

import pytest

from limrank_ir import InputError
from limrank_ir.synth.config import read_config
from limrank_ir.synth.plan import plan
from limrank_ir.synth.prices import read_prices
from tests.chat_server import serving, write
from tests.synthesis import synth, write_config, write_prompts, write_sources


@pytest.fixture
def home(tmp_path):
    write_sources(tmp_path, 200)
    return tmp_path


def test_a_dry_run_asks_nothing_and_says_what_it_would_cost(home):
    with serving(write) as server:
        config = write_config(home, server.url, couples=100)
        result = synth("run", config, "--dry-run")
        assert result.exit_code == 0 and server.asked == []
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:3] for row in rows[1:5]] == [
        ["queries", "gpt-4o", "100"],
        ["outlines", "gpt-4o", "200"],
        ["passages", "gpt-4o", "725"],
        ["judgments", "deepseek-reasoner", "1,600"],
    ]
    assert "dollars (an estimate); batch files cost half" in rows[-1][0] and not (home / "out").exists()
    steps = plan(read_config(config), read_prices())
    assert sum(step.cost for step in steps) == pytest.approx(float(rows[-1][0].split()[1]), abs=0.01)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    {
        "no key": ({"generator": {"model": "gpt-4o"}}, [], "gpt-4o: no API key; set OPENAI_API_KEY"),
        "no price": (
            {"judge": {"model": "mine", "base_url": "http://127.0.0.1:9/v1"}},
            ["--max-cost", "1"],
            "mine has no",
        ),
        "quotas": ({"couples": 201}, [], "couples: 201, but there are only 200 seeds; add seeds"),
        "no file": ({"seeds": "none.tsv"}, [], "none.tsv: no such file"),
    }.values(),
)
def test_faults_are_reported_before_money_is_spent(home, monkeypatch, changes, arguments, message):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(write) as server:
        result = synth("run", write_config(home, server.url, **changes), *arguments)
        assert result.exit_code == 2 and message in result.stderr and server.asked == []


def test_users_can_set_the_prices(home, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("gpt-4o: [1, 1]\ndeepseek: [0, 0]\n")
    config = write_config(home, "http://127.0.0.1:9/v1")
    result = synth("run", config, "--dry-run", "--prices", prices)
    assert result.exit_code == 0 and result.stdout.splitlines()[4].endswith("\t0.00")
    prices.write_text("gpt-4o: cheap\n")
    result = synth("run", config, "--dry-run", "--prices", prices)
    assert (
        result.exit_code == 2 and "prices.yaml: gpt-4o: not a price; write MODEL: [input, output] or" in result.stderr
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no prices; write a line for each model: MODEL: [input, output]"),
        ("- 1\n", "no prices"),
        (
            "a: [1, 2]\nb: 3\nc: [1]\nd: [1, .nan]\ne: [1, true]\nf: [1, -2]\n",
            "b, c, d, e, f: not a price; write MODEL: [",
        ),
        ("a: {input: 1, output: 2}\n", "a: not a price; write MODEL: [input, output]"),
        ("a: [1, '2']\n", "in dollars per million tokens"),
    ],
)
def test_bad_prices_are_named_with_the_layout(tmp_path, text, message):
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_prices(tmp_path / "prices.yaml")


def test_all_faults_of_prompts_are_named_before_anything_is_asked(home):
    prompts = write_prompts(home)
    (prompts / "grade.md").unlink()
    (prompts / "judge.md").write_text("Is $pasage relevant to $query?")
    (prompts / "retry.md").write_text("It costs 5 $ to ask again.")
    (prompts / "outline.md").write_text("")
    (prompts / "passage.md").write_bytes(b"caf\xe9 $content")
    with serving(write) as server:
        config = write_config(home, server.url, prompts="prompts")
        for result in (synth("run", config), synth("run", config, "--dry-run")):
            assert result.exit_code == 2 and server.asked == [] and result.stderr.count("\n") == 1
            for fault in (
                "grade.md: no such file; copy it from the package's synth/prompts; ",
                "judge.md: unknown $pasage; choose from $least, $most, $need, $passage, $query",
                "retry.md: a $ without a name; write $$ for a dollar sign, or one of $reason",
                "outline.md: the file is empty; write the prompt",
                "passage.md: not UTF-8 (byte 0xe9); convert the file to UTF-8",
            ):
                assert f"{prompts}/{fault}" in result.stderr


def test_a_prompt_must_show_the_model_what_it_is_about(home):
    prompts = write_prompts(home)
    (prompts / "judge.md").write_text("Is {passage} relevant to $query?")
    with serving(write) as server:
        result = synth("run", write_config(home, server.url, prompts="prompts"))
        assert result.exit_code == 2 and server.asked == []
    assert "judge.md: no $passage; the model needs it" in result.stderr
