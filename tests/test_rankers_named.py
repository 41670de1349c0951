"""Rankers by name, and which models, think modes, and formats they go with."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from limrank_ir import LimRank
from limrank_ir.errors import InputError
from limrank_ir.prompts.sets import SET_FORMATS
from limrank_ir.rankers import fit
from limrank_ir.rankers.first import First
from limrank_ir.rankers.fit import default_formats, engine_ask, formats_of, tasks
from limrank_ir.rankers.graded import Graded
from limrank_ir.rankers.groupwise import Groupwise
from limrank_ir.rankers.listwise import Listwise
from limrank_ir.rankers.lockstep import lockstep
from limrank_ir.rankers.named import RANKERS, SUMMARIES, as_ranker, spec
from limrank_ir.rankers.order import Counts, ranked
from limrank_ir.rankers.pointwise import Pointwise
from limrank_ir.rankers.setwise import Setwise
from limrank_ir.rankers.two_stages import TwoStages
from tests.asked import Knows

SPECS = {
    "pointwise": Pointwise(),
    "graded:highest=10,rule=erank": Graded(highest=10, rule="erank"),
    "setwise:top=5,sort=bubble": Setwise(top=5, sort="bubble"),
    "listwise:depth=30": Listwise(depth=30),
    "first:window=5,stride=2,task=best": First(window=5, stride=2, task="best"),
    "groupwise:share=0.5,scale=false": Groupwise(share=0.5, scale=False),
    "two-stages:second=setwise,second.by=answer,top=5": TwoStages(second=Setwise(by="answer"), top=5),
    "two-stages:second=two-stages,second.second=first,second.second.window=3,second.second.stride=1": TwoStages(
        second=TwoStages(second=First(window=3, stride=1))
    ),
}


@pytest.mark.parametrize("text", SPECS)
def test_a_text_makes_a_ranker_and_a_ranker_has_its_text(text):
    assert as_ranker(text) == SPECS[text] and spec(SPECS[text]) == text


def test_values_are_read_by_their_types():
    assert as_ranker(" setwise : top = 3 , depth = None,sort=heap ") == Setwise(top=3)
    assert as_ranker("adaptive:ridge=1").ridge == 1
    assert as_ranker("two-stages:second.stride=5") == TwoStages(second=Listwise(stride=5))
    assert as_ranker("two-stages", second="setwise:top=3", top=4) == TwoStages(second=Setwise(top=3), top=4)
    assert as_ranker("setwise:top=5,window=3", top=7) == Setwise(top=7, window=3)
    ready = Setwise(top=2)
    assert as_ranker(ready) is ready


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("setwize", "unknown ranker 'setwize' (did you mean setwise?); choose one of: pointwise, graded"),
        ("", "unknown ranker ''; choose one of"),
        ("setwise:tpo=3", "setwise has no option 'tpo' (did you mean top?); it has: top, window, sort"),
        ("setwise:top=x", "setwise: top is 'x'; give a whole number"),
        ("setwise:top=true", "setwise: top is True; give a whole number"),
        ("setwise:top=0", "top is 0; give a whole number, at least 1"),
        ("setwise:top", "'top' is no option; write OPTION=VALUE"),
        ("setwise:top=", "'top=' is no option"),
        ("setwise:top=1,top=2", "top is given twice"),
        ("setwise:sort=quick", "choose heap or bubble"),
        ("setwise:top.x=1", "setwise has no option 'top.x'"),
        ("groupwise:scale=ja", "groupwise: scale is 'ja'; give true or false"),
        ("groupwise:share=much", "groupwise: share is 'much'; give a number"),
        ("two-stages:second=setwize", "did you mean setwise"),
        ("two-stages:second.tpo=3", "listwise has no option 'tpo'"),
        ("two-stages:second=3", "a ranker is a name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message):
    with pytest.raises(InputError) as caught:
        as_ranker(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_options_next_to_a_ranker_and_other_things_are_refused():
    with pytest.raises(InputError, match="top: set these on the ranker itself"):
        as_ranker(Setwise(), top=3)
    with pytest.raises(InputError, match="a ranker is a name"):
        as_ranker(None)


def test_every_ranker_has_a_line_and_every_format_a_ranker():
    assert {text.partition(":")[0] for text in SUMMARIES} == set(RANKERS)
    assert {name for text in SUMMARIES for name in formats_of(as_ranker(text))} == set(SET_FORMATS)


def test_the_guide_has_every_ranker_and_counts_calls_as_they_do():
    page = (Path(__file__).parents[1] / "docs" / "rankers.md").read_text()
    table = page.partition("## Measured")[0]
    rows = re.findall(r"^\| `([a-z][^`]*)` \|.*\| (\d+) \|", table, re.MULTILINE)
    assert {name.partition(":")[0] for name, _ in rows} == set(RANKERS)
    assert all(as_ranker(name).calls(100) == int(calls) for name, calls in rows)
    assert all(f"`{name}`" in page for name in SET_FORMATS)


def test_what_a_ranker_asks_is_known_before_it_runs():
    assert tasks(as_ranker("two-stages")) == {("judge", False), ("order", True)}
    assert tasks(Graded(rule="tfrank")) == {("judge", False), ("grade-4", False)}
    assert formats_of(Setwise()) == ["setwise", "setwise-numbers"]
    assert "rank-r1" in formats_of(Setwise(by="answer"))
    for name, default in {"first": "first", "listwise": "rank-zephyr", "groupwise": "group-rank"}.items():
        assert formats_of(as_ranker(name))[0] == default and default_formats(as_ranker(name)) == [default]
    both = as_ranker("two-stages:first=graded,second=first")
    assert formats_of(both)[:2] == default_formats(both) == ["grade-0-4", "first"]
    assert default_formats(Pointwise()) == formats_of(Pointwise()) == []


@pytest.mark.parametrize(
    "text",
    [
        "setwise:top=3,repeats={},seed=5",
        "groupwise:window=3,repeats={},seed=5",
        "listwise:repeats={}",
        "two-stages:first=groupwise,first.repeats={},second=setwise,second.repeats={}",
        "two-stages:second=two-stages,second.first.depth=50,second.second=setwise,second.second.repeats={}",
    ],
)
def test_what_a_ranker_asks_is_found_without_its_repeats(text, monkeypatch):
    asked = []

    def counted(runs, ask):
        return lockstep(runs, lambda questions: asked.extend(questions) or ask(questions))

    monkeypatch.setattr(fit, "lockstep", counted)
    found = [fit.windows(as_ranker(text.replace("{}", repeats))) for repeats in ("1", "2000")]
    assert found[0] == found[1] and max(found[0].values()) > 1
    assert len(asked) % 2 == 0 and asked[: len(asked) // 2] == asked[len(asked) // 2 :]


def test_a_ranker_of_the_users_own_is_tried_as_it_is():
    @dataclass(frozen=True)
    class Grows:
        repeats: int = 3

        def steps(self, candidates):
            for size in range(self.repeats):
                yield [candidates.read("best", range(size + 1))]
            return ranked(len(candidates.texts), (), Counts())

    assert fit.windows(Grows()) == {("best", False): 3}
    assert fit.windows(TwoStages(first=Grows(), second=Setwise(repeats=9)))["best", False] == 4


@pytest.mark.parametrize(
    ("text", "formats", "options", "message"),
    [
        ("setwise", ["rank-r1"], {}, "rank-r1 has no effect with setwise; it has setwise, setwise-numbers; where"),
        ("pointwise", ["setwise"], {}, "setwise has no effect with pointwise; it has the model's own prompt only"),
        ("listwise", ["rank-gpt", "rearank"], {}, "rank-gpt and rearank both ask for the order"),
        ("listwise", "rank-gpt", {}, "the formats are one string, 'rank-gpt'; give a list"),
        ("listwise", ["rank-gtp"], {}, "unknown format 'rank-gtp'"),
        ("adaptive", [], {"think": "auto"}, "think='auto' compares"),
        (
            "setwise",
            [],
            {"think": "always"},
            "no effect with setwise, which asks about several.*such as reason-rank or",
        ),
        (
            "graded",
            [],
            {"think": "always"},
            "no effect with graded, which reads labels without a thought; leave it out",
        ),
        (
            "intent",
            [],
            {"think": "always"},
            "no effect with intent, which reads labels without a .*, such as pointwise",
        ),
        (
            "graded",
            ["grade-0-4"],
            {"think": "always", "prompt_format": "erank"},
            "'always' has no effect with graded, which reads labels without a thought",
        ),
    ],
)
def test_options_without_an_effect_are_refused_before_anything_is_loaded(text, formats, options, message):
    with pytest.raises(InputError, match=message):
        engine_ask(LimRank(engine=Knows(), **options), as_ranker(text), formats)


class OnlyReads:
    identity = "reads"
    read_labels = Knows.read_labels


@pytest.mark.parametrize(
    ("text", "formats", "model", "engine", "message"),
    [
        (
            "two-stages",
            [],
            "ms-marco-minilm-l6-v2",
            Knows,
            "a cross-encoder reads one passage at a time; choose a poin",
        ),
        ("graded", [], "ms-marco-minilm-l6-v2", Knows, "a cross-encoder reads one passage at a time; choose a poin"),
        ("first:window=27", [], "limrank-smol", Knows, "first: shows 1 to 26 passages at a time, not 27; choose anoth"),
        ("two-stages:top=40,second=setwise,second.window=30", [], "limrank-smol", Knows, "setwise: shows 1 to 26"),
        ("listwise:window=101,stride=9", [], "limrank-smol", Knows, "rank-zephyr: shows 1 to 100 passages at a time"),
        ("first:window=10,stride=5", ["listwise"], "limrank-smol", Knows, "the numbers of 10 passages.*at most 9"),
        ("two-stages", [], "limrank-smol", OnlyReads, "only reads labels, but this ranker lets the model write"),
        ("groupwise", [], "tfrank-0.6b", OnlyReads, "only reads labels, but this ranker lets the model write"),
        ("setwise", [], "rank-r1-7b-v0.1", Knows, "thought .format rank-r1.* use 'setwise:by=answer,window=20', or"),
        ("first", [], "reasonrank-7b", Knows, "format reason-rank.* first reads labels instead; use 'listwise'"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(text, formats, model, engine, message):
    with pytest.raises(InputError, match=message) as caught:
        engine_ask(LimRank(model, engine=engine()), as_ranker(text), formats)
    assert "\n" not in str(caught.value)


def test_what_will_not_fail_is_accepted():
    engine_ask(LimRank("ms-marco-minilm-l6-v2", engine=Knows()), as_ranker("two-stages:second=adaptive"))
    engine_ask(LimRank(engine=Knows()), as_ranker("two-stages:top=20,second=first,second.window=50"))  # 20 at once
    engine_ask(LimRank(engine=Knows()), as_ranker("first:window=9,stride=5"), ["listwise"])
    engine_ask(LimRank(engine=OnlyReads()), as_ranker("setwise"))
    engine_ask(LimRank("reasonrank-7b", engine=Knows()), as_ranker("first"), ["first"])  # the user's own choice


def test_think_modes_that_have_an_effect_are_accepted():
    engine_ask(LimRank(engine=Knows(), think="auto"), Pointwise())
    engine_ask(LimRank(engine=Knows(), think="always"), TwoStages(), ["reason-rank"])
    engine_ask(LimRank(engine=Knows(), think="always"), Graded(rule="tfrank"))  # before its P(true)
    engine_ask(LimRank(prompt_format="erank", engine=Knows(), think="always"), Graded(highest=10))  # its own grades
    engine_ask(LimRank("rank1-7b", engine=Knows()), Setwise())  # always is its default


def test_rankers_by_name_need_no_torch():
    code = "import sys, limrank_ir.rankers.named as named; named.as_ranker('setwise'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
