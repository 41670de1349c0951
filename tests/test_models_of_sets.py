"""Models that judge no single passages: rankers ask them about sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.models import MODELS
from limrank_ir.prompts import SETS
from limrank_ir.prompts.sets import SET_FORMATS
from limrank_ir.rankers.fit import engine_ask, formats_of
from limrank_ir.rankers.named import as_ranker
from limrank_ir.rankers.order import Candidates
from limrank_ir.rankers.run import rank_candidates
from tests.asked import Knows
from tests.command_line import limrank as command
from tests.command_line import refused

OF_SETS = [model for model in MODELS.values() if model.prompt_format == SETS.name]
QUERIES = [Candidates("query", ["p 1", "p 3", "p 2"])]


@pytest.mark.parametrize("model", OF_SETS, ids=lambda model: model.name)
def test_each_has_a_ranker_that_asks_in_its_format(model):
    assert model.set_format in formats_of(as_ranker(model.ranker))
    assert model.think == "never" and "/" in model.weights


def test_there_is_one_of_each_family():
    assert {model.set_format for model in OF_SETS} == {"rank-zephyr", "first", "reason-rank", "rearank", "rank-r1"}
    assert all(model.set_format is None and model.ranker is None for model in MODELS.values() if model not in OF_SETS)


@pytest.mark.parametrize("name", ["rearank-7b", "rank-r1-7b-v0.1"])
def test_judging_says_which_ranker_to_use(name):
    limrank = LimRank(name, engine=Knows())
    message = f"{name}: judges no single passages.*such as '{MODELS[name].ranker}'"
    with pytest.raises(InputError, match=message):
        limrank.judge([("query", "passage")])
    for ranker in ("pointwise", "adaptive", "two-stages"):
        with pytest.raises(InputError, match=message):
            engine_ask(limrank, as_ranker(ranker))


@pytest.mark.parametrize(
    ("own", "formats", "shown"),
    [
        ("rearank", [], "You are DeepRerank"),
        ("rearank", ["rank-gpt"], "You are RankGPT"),
        (None, [], "You are RankLLM"),
    ],
)
def test_a_model_is_asked_in_its_own_format_unless_another_is_chosen(own, formats, shown):
    limrank = LimRank(engine=(engine := Knows()))
    limrank.model = replace(limrank.model, prompt_format="sets", set_format=own)
    ranker = as_ranker("listwise")
    ((_, order),) = rank_candidates(engine_ask(limrank, ranker, formats), ranker, QUERIES)
    assert order.indices == (1, 2, 0) and shown in engine.asked[0].text
    assert all(name in SET_FORMATS for name in formats)


def test_any_language_model_can_be_asked_about_sets(smol_folder):
    limrank = LimRank(str(smol_folder), prompt_format="sets", device="cpu")
    limrank.load()
    ranker = as_ranker("setwise:top=1")
    ((_, order),) = rank_candidates(engine_ask(limrank, ranker), ranker, QUERIES)
    assert order.counts.questions == 1 and order.counts.failed == 0
    with pytest.raises(InputError, match="such as 'setwise'"):
        limrank.judge([("query", "passage")])


def test_serving_says_it_before_the_model_loads():
    done = command("serve", "--model", "rank-r1-7b-v0.1", "--port", "0")
    refused(done, "rank-r1-7b-v0.1: judges no single passages; give it a ranker, such as 'setwise:by=answer,window=20'")
