"""`limrank cost`: the tokens are those of a real run, and the rest is arithmetic with rates that say their source."""

from __future__ import annotations

import json

import pytest

from limrank_ir.cost import AUTO, Range, Rate, Work, known_rates, seconds

from .command_line import limrank, one_thread, refused, rerank, write_files

COST = ("cost", "--run", "run.txt", "--topics", "topics.tsv", "--corpus", "corpus.jsonl")
OWN = ("--read-rate", 100, "--thought-rate", 10)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def counted(*arguments):
    result = limrank(*COST, "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def ran(monkeypatch):
    """The number of tokens in each batch that the local engine runs."""
    from limrank_ir.engines.loading import Loaded

    tokens = []
    run = Loaded.run

    def noted(self, rows, packing):
        tokens.extend(map(len, rows))
        return run(self, rows, packing)

    monkeypatch.setattr(Loaded, "run", noted)
    return tokens


def test_tokens_are_those_that_a_run_has_and_the_local_engine_runs(folder, ran):
    done = json.loads(rerank("--json").stdout)
    found = counted()
    assert (found["pairs"], found["queries"]) == (done["unique"], 2) == (5, 2)
    assert found["prompt_tokens"] == done["tokens"]
    assert found["read_tokens"] == sum(ran) < done["tokens"]
    assert found["cut"] == done["cut"] == 0


def test_cut_passages_are_cut_as_the_run_cuts_them(folder):
    done = json.loads(rerank("--json", "--max-length", 52).stdout)
    found = counted("--max-length", 52)
    assert found["cut"] == done["cut"] > 0
    assert found["prompt_tokens"] == done["tokens"]


def test_windows_and_k_are_those_of_the_run(folder):
    assert counted("-k", 1)["pairs"] == 2
    assert counted("--window", 5)["pairs"] == json.loads(rerank("--json", "--window", 5).stdout)["unique"] > 5


def test_the_length_of_thoughts_is_from_a_store_if_it_has_some(folder):
    thinking = ("--store", "verdicts.db", "--budget", 8)
    rerank("-k", 1, "--think", "always", *thinking)
    found = counted(*thinking)
    assert found["thought_source"] == "mean of 2 in verdicts.db"
    low, high = found["thought_tokens"]
    assert 1 <= low == high <= 8
    (folder / "out.txt").unlink()
    refused(limrank(*COST, "--store", "verdicts.db", "--budget", 9), "has no thoughts of limrank-smol on these pairs")
    refused(limrank(*COST, "--store", "none.db"), "--store none.db: no such file")


def test_hours_and_prices_are_tokens_over_rates(folder):
    found = counted(*OWN, "--thought-tokens", 50, "--price-per-hour", 2)
    reading = found["read_tokens"] / 100
    never, always = found["hours"]["yours"]["never"], found["hours"]["yours"]["always"]
    assert never == pytest.approx([reading / 3600] * 2, rel=0.01)
    assert always == pytest.approx([(reading + 5 * 50 / 10) / 3600] * 2, rel=0.01)
    assert found["price"]["yours"]["always"] == pytest.approx([2 * hours for hours in always], rel=0.01)
    table = limrank(*COST, *OWN, "--thought-tokens", 50).stdout
    assert "yours" in table and f"{reading + 25:.2g} s" in table


def test_auto_reads_everything_and_thinks_about_some():
    rate = Rate("r", "", "", 1.0, Range(100, 200), Range(10, 20), "here")
    work = Work(queries=10, pairs=1000, prompt_tokens=90_000, read_tokens=50_000, cut=0)
    thought = Range(30, 40)
    assert seconds(work, "never", rate, thought) == (250, 500)
    assert seconds(work, "always", rate, thought) == (250 + 1500, 500 + 4000)
    least, most = (count * 10 / 1000 for count in AUTO)
    expected = (250 * (1 + least) + least * 1500, 500 * (1 + most) + most * 4000)
    assert seconds(work, "auto", rate, thought) == pytest.approx(expected)
    half = rate.scaled(2.0)
    assert (half.read, half.generate) == ((50, 100), (5, 10))


@pytest.mark.parametrize("rate", known_rates().values(), ids=lambda rate: rate.name)
def test_a_rate_says_what_was_measured_and_what_was_not(rate):
    assert 0 < rate.read.low < rate.read.high and 0 < rate.generate.low < rate.generate.high
    assert rate.generate.high < rate.read.low
    assert rate.source.startswith(("measured: ", "not measured here."))
    assert rate.holds(rate.billions) and not rate.holds(100 * rate.billions) and not rate.holds(None)


def test_models_have_the_rates_of_their_size_and_the_modes_that_they_were_trained_for(folder):
    found = counted("--model", "qwen3-reranker-8b", "--tokenizer", "limrank-smol")
    assert set(found["hours"]) == {"vllm-a100", "vllm-h100"}
    assert set(found["hours"]["vllm-h100"]) == {"never"}
    assert found["tokenizer"] == "limrank-smol"
    assert set(counted()["hours"]) == {"local-cpu"}


def test_what_is_not_known_is_refused(folder, smol_folder):
    refused(limrank(*COST, "--read-rate", 5), "--read-rate and --thought-rate belong together")
    known = ("--model", smol_folder, "--prompt-format", "rank1")
    refused(limrank(*COST, *known), "no rates are known for a model of its size; give --read-rate")
    assert counted(*known, *OWN)["pairs"] == 5


def test_nothing_is_judged(folder, ran):
    counted()
    assert not ran
