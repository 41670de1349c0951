"""The options of a model are defined once, all adapters pass them on, and none is silently dropped."""

from __future__ import annotations

import inspect

import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.engines.local import LocalEngine
from limrank_ir.models import BUDGET, ENGINE_OPTIONS, OPTIONS, ModelOptions, set_options
from limrank_ir.mteb import MtebCrossEncoder
from limrank_ir.pyterrier import LimRankReranker
from limrank_ir.rank_llm import LimRankCoordinator
from limrank_ir.sentence_transformers import LimRankCrossEncoder

ADAPTERS = {
    "PyTerrier": LimRankReranker,
    "RankLLM": LimRankCoordinator,
    "mteb": MtebCrossEncoder,
    "sentence-transformers": LimRankCrossEncoder,
}
VALUES = {
    "adapter": "owner/adapter",
    "prompt_format": "rank1",
    "think": "always",
    "think_top": 5,
    "think_margin": 0.5,
    "budget": BUDGET,  # the default value counts as set, too, if it is given
    "task": "biology",
    "store": "verdicts.sqlite",
    "engine": "local",
    "engine_options": {"batch_tokens": 100},
    "device": "cpu",
    "dtype": "bfloat16",
    "max_length": 100,
    "batch_size": 3,
    "allow_mismatch": True,
}


def reranker(adapter) -> LimRank:
    return getattr(adapter, "limrank", None) or adapter._limrank


def test_every_option_has_a_value_here_and_a_line_in_the_documentation():
    assert set(VALUES) == set(OPTIONS)
    described = [line.partition(":")[0].strip() for line in (ModelOptions.__doc__ or "").splitlines()]
    assert [name for name in described if name in OPTIONS] == list(OPTIONS)


def test_the_local_engine_accepts_its_options():
    assert set(ENGINE_OPTIONS["local"]) - {"engine_options"} < set(inspect.signature(LocalEngine.__init__).parameters)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_all_options_reach_the_model(adapter):
    limrank, same = reranker(adapter("limrank-smol", **VALUES)), LimRank("limrank-smol", **VALUES)
    assert limrank.model == same.model and limrank.model.adapter == "owner/adapter"
    assert (limrank.think, limrank.budget, limrank.task) == ("always", BUDGET, "biology")
    assert vars(limrank.engine) == vars(same.engine)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
@pytest.mark.parametrize("name", OPTIONS)
def test_options_together_with_a_reranker_are_refused(adapter, name):
    with pytest.raises(InputError, match=f"{name}: set these on the LimRank itself"):
        adapter(LimRank(budget=100), **{name: VALUES[name]})
    adapter(LimRank(budget=100), **{name: None})


@pytest.mark.parametrize("name", sorted({name for names in ENGINE_OPTIONS.values() for name in names}))
def test_options_of_an_engine_together_with_an_engine_object_are_refused(name):
    engine = LimRank().engine
    with pytest.raises(InputError, match=f"{name}: set these on the engine itself"):
        LimRank(engine=engine, **{name: VALUES[name]})


@pytest.mark.parametrize("adapter", [LimRank, *ADAPTERS.values()])
def test_the_message_about_an_unknown_option_suggests_the_closest_name(adapter):
    with pytest.raises(InputError, match=r"unknown option 'max_lenght'; did you mean max_length\?"):
        adapter("limrank-smol", max_lenght=8)
    with pytest.raises(InputError, match=r"unknown option 'zzz'; choose from: adapter, "):
        adapter("limrank-smol", zzz=1)


def test_none_means_the_default():
    assert set_options(dict.fromkeys(OPTIONS)) == {}
    assert LimRank(**dict.fromkeys(OPTIONS)).budget == BUDGET
