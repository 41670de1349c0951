"""The options of a model are defined once, reach the model from everywhere, and never vanish."""

from __future__ import annotations

import inspect

import pytest

from limrank_ir import InputError, LimRank
from limrank_ir.engines.local import LocalEngine
from limrank_ir.model_options import BUDGET, NAMES, OF_THE_LOCAL_ENGINE, ModelOptions, given
from limrank_ir.mteb import MtebCrossEncoder
from limrank_ir.pyterrier import LimRankReranker
from limrank_ir.rank_llm import LimRankCoordinator

PLACES = {"PyTerrier": LimRankReranker, "RankLLM": LimRankCoordinator, "mteb": MtebCrossEncoder}
VALUES = {
    "adapter": "owner/adapter",
    "prompt_format": "rank1",
    "think": "always",
    "budget": BUDGET,  # the default, said in so many words, is said all the same
    "task": "biology",
    "store": "verdicts.sqlite",
    "device": "cpu",
    "dtype": "bfloat16",
    "max_length": 100,
    "batch_size": 3,
    "allow_mismatch": True,
}


def reranker(place) -> LimRank:
    return getattr(place, "limrank", None) or place._limrank


def test_every_option_has_a_value_here_and_a_line_in_the_documentation():
    assert set(VALUES) == set(NAMES)
    described = [line.partition(":")[0].strip() for line in (ModelOptions.__doc__ or "").splitlines()]
    assert [name for name in described if name in NAMES] == list(NAMES)


def test_the_local_engine_takes_its_options():
    assert set(OF_THE_LOCAL_ENGINE) < set(inspect.signature(LocalEngine.__init__).parameters)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_all_options_reach_the_model(place):
    limrank, same = reranker(place("limrank-smol", **VALUES)), LimRank("limrank-smol", **VALUES)
    assert limrank.model == same.model and limrank.model.adapter == "owner/adapter"
    assert (limrank.think, limrank.budget, limrank.task) == ("always", BUDGET, "biology")
    assert vars(limrank.engine) == vars(same.engine)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_no_option_vanishes_beside_a_reranker(place, name):
    with pytest.raises(InputError, match=f"{name}: give these to the LimRank itself, not beside it"):
        place(LimRank(budget=100), **{name: VALUES[name]})
    place(LimRank(budget=100), **{name: None})


@pytest.mark.parametrize("name", OF_THE_LOCAL_ENGINE)
def test_no_option_vanishes_beside_an_engine(name):
    engine = LimRank().engine
    with pytest.raises(InputError, match=f"{name}: give these to the engine itself"):
        LimRank(engine=engine, **{name: VALUES[name]})


@pytest.mark.parametrize("place", [LimRank, *PLACES.values()])
def test_unknown_options_are_told_with_the_likeliest_name(place):
    with pytest.raises(InputError, match=r"unknown option 'max_lenght'; did you mean max_length\?"):
        place("limrank-smol", max_lenght=8)
    with pytest.raises(InputError, match=r"unknown option 'zzz'; choose from: adapter, "):
        place("limrank-smol", zzz=1)


def test_none_is_the_default():
    assert given(dict.fromkeys(NAMES)) == {}
    assert LimRank(**dict.fromkeys(NAMES)).budget == BUDGET
