"""Ray with models whose grades are read at two places: workers do what is asked for, as an engine at home does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'limrank-ir[ray]'")

from limrank_ir import InputError, LimRank
from limrank_ir.engines.twice import TwiceEngine
from limrank_ir.prompts import FORMATS
from limrank_ir.rankers.asking import Read, Write
from limrank_ir.rankers.by_engine import EngineAsk
from limrank_ir.ray import RayEngine
from limrank_ir.ray.engine import _Worker
from tests.asked import Knows

Q = "how do I copy a file?"
QUESTIONS = [
    Read("best", Q, ("p 3", "p 7", "p 5", "p 1")),
    Write("order", Q, ("p 3", "p 7", "p 5")),
    Read("judge", Q, ("p 1",)),
    Read("grade-4", Q, ("p 2",)),  # the labels of a general format for grades are those of TFRank's own
]


def graded(engine):
    fmt = FORMATS["tfrank"]
    return TwiceEngine(engine, fmt, fmt.two_reads)


@pytest.fixture
def at_home(monkeypatch):
    """A RayEngine whose only worker is in this process, and has an engine that knows the truth."""

    def work(self, method, prompts, done, ask, **options):
        worker = _Worker(lambda: SimpleNamespace(engine=graded(Knows())))
        yield worker.work(method, (list(range(len(prompts))), list(prompts), done), ask, options.get("as_asked", False))

    monkeypatch.setattr(RayEngine, "_work", work)
    monkeypatch.setattr(RayEngine, "identity", "knows")
    return RayEngine("limrank-smol", prompt_format="tfrank")


@pytest.mark.parametrize("formats", [[], ["grade-0-4"]])
def test_a_ranker_gets_the_answers_of_an_engine_at_home(at_home, formats):
    alone = EngineAsk(LimRank(prompt_format="tfrank", engine=graded(Knows())), formats=formats)(QUESTIONS)
    assert EngineAsk(LimRank(prompt_format="tfrank", engine=at_home), formats=formats)(QUESTIONS) == alone
    assert alone[0].logprobs == (-97.0, -93.0, -95.0, -99.0) and alone[1].text == "[2] > [3] > [1]"


def test_workers_write_although_their_grades_are_read_at_two_places(at_home):
    prompt = LimRank(prompt_format="tfrank", engine=Knows()).prompt(Q, "p 1")
    ((_, written),) = next(at_home.write([prompt], budget=5, stop=("\n",)))
    assert written.text == "[1]\n"


def test_workers_that_can_only_read_still_say_so(at_home):
    class Reads:
        identity, read_labels = "reads", Knows.read_labels

    at_home._engine = graded(Reads())
    ask = EngineAsk(LimRank(prompt_format="tfrank", engine=at_home))
    with pytest.raises(InputError, match="only reads labels"):
        ask([QUESTIONS[1]])
