"""What the stages accept as an answer, and what they ask for: queries, outlines, passages, and judgments."""

from __future__ import annotations

import asyncio
import json

import pytest

from limrank_ir.synth.ask import Dropped
from limrank_ir.synth.borrowing import borrow
from limrank_ir.synth.config import SynthConfig
from limrank_ir.synth.filters.grounding import ungrounded
from limrank_ir.synth.guidelines import read_guidelines
from limrank_ir.synth.judging import judge
from limrank_ir.synth.outlines import write_outline
from limrank_ir.synth.passages import write_passage
from limrank_ir.synth.queries import write_queries
from limrank_ir.synth.records import Brief, Couple, Outline, PassagePlan, Persona, Seed, WrittenPassage, WrittenQuery
from limrank_ir.synth.templates import read_prompts
from tests.chat_server import said, serving, write
from tests.synthesis import synth, write_config, write_sources

GUIDELINES, PROMPTS = read_guidelines(), read_prompts()
CONFIG = SynthConfig(seeds="s", personas="p", couples=1, output="o", attempts=1, samples=1)


def brief(form="question", negatives=("wrong", "minimal pair"), difficulty="direct"):
    return Brief(
        domain="biology", difficulty=difficulty, form=form, negatives=negatives, documents=("forum answer",) * 4
    )


def query(name="q1", text="When do otters hunt?", **changes):
    return WrittenQuery(id=name, kind="daily", brief=brief(**changes), text=text, seed="s", persona="p", request="r")


def settled(make, answer):
    """What a stage makes of an answer, and the prompt; or the reason why the answer is not used."""
    asked = []

    async def ask(model, body):
        asked.append(body["messages"][0]["content"])
        return said(answer if isinstance(answer, str) else json.dumps(answer))

    try:
        return asyncio.run(make(ask)), asked[0]
    except Dropped as dropped:
        return str(dropped).removeprefix("unusable answer: "), asked[0]


# Queries


def queries(daily, daily_form="question", expert="otter diet winter", negatives=("wrong",)):
    couple = Couple(
        id="c1",
        seed=Seed(id="s", query="otters"),
        persona=Persona(id="p", text="a ranger"),
        daily=brief(daily_form, negatives),
        expert=brief("keywords"),
    )
    return settled(
        lambda ask: write_queries(couple, CONFIG, GUIDELINES, PROMPTS, ask), {"daily": daily, "expert": expert}
    )


@pytest.mark.parametrize(
    ("daily", "form", "reason"),
    [
        ("When do otters come out to hunt in the winter months?", "question", None),
        ("When do otters come out to hunt in the winter months", "question", "a query of the wrong form"),
        ("When do otters hunt?", "question", "a query of the wrong length"),
        ("otter hunting hours winter", "keywords", None),
        ("otter hunting hours winter?", "keywords", "a query of the wrong form"),
        ("when otters come out to hunt in the winter months", "keywords", "a query of the wrong length"),
        ("The otters at our pond are out at noon. " * 6, "post", None),
        ("The otters at our pond are out at noon.", "post", "a query of the wrong length"),
        ("Here is the query: when do otters hunt in winter months?", "question", "talk before the text"),
    ],
)
def test_queries_keep_to_their_form(daily, form, reason):
    found, prompt = queries(daily, form)
    assert found[0].text == daily.strip() if reason is None else found == reason
    assert "Rules something out: no" in prompt and "yes." not in prompt.split("Both queries")[0]


def test_some_queries_rule_something_out():
    found, prompt = queries("When do otters come out to hunt in the winter months?", negatives=("ruled out",))
    assert found.startswith("a query that rules nothing out") and "20 words. Rules something out: yes." in prompt
    for text in (
        "When do otters, other than sea otters, come out to hunt?",
        "When do otters that don\u2019t fish hunt at sea?",
    ):
        found, _ = queries(text, negatives=("ruled out",))
        assert len(found) == 2


# Outlines

POSITIVE = (
    "River otters hunt mostly at night in summer and switch to the middle of the day in winter, when crayfish and slow "
    "fish are easier to catch in water near four degrees."
)
WRONG = (
    "River otters hunt at dawn in every season, as shown by 41 tagged animals on the Tweed, because trout then leave "
    "the weed beds, and they rest on islands for the remaining hours of the day."
)


def outline(kinds=("wrong",), positive=POSITIVE, contents=(WRONG,), **changes):
    negatives = [{"content": content, "flaw": "Dawn is not the time."} for content in contents]
    answer = {"thought": "word " * 80, "need": "The hours.", "positive": positive, "negatives": negatives, **changes}
    asked = query(negatives=kinds)
    return settled(lambda ask: write_outline(asked, CONFIG, GUIDELINES, PROMPTS, ask), answer)


def test_an_outline_knows_documents_and_keeps_flaws_apart():
    found, prompt = outline(kinds=("wrong", "borrowed"))
    assert [plan.kind for plan in found.passages] == ["positive", "wrong"]  # borrowed ones are not planned
    assert found.passages[0].flaw is None and found.passages[1].flaw == "Dawn is not the time."
    assert found.need == "The hours." and '"negatives", one of each kind' in prompt
    assert "  1. wrong, from this kind of text: forum answer. It answers" in prompt and "borrowed" not in prompt
    _, writer = settled(
        lambda ask: write_passage(found, 1, CONFIG, GUIDELINES, PROMPTS, ask), "Otters are out early. " * 20
    )
    assert WRONG in writer and "Dawn is not" not in writer and "forum answer" in writer


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"{WRONG} It does not say when they hunt in winter.", "a content that says what is missing"),
        (f"{WRONG} It doesn\u2019t say when they hunt in winter.", "a content that says what is missing"),
        (f"{WRONG} All of this without mentioning winter at all.", "a content that says what is missing"),
        (f"{WRONG} It never mentions the winter months.", "a content that says what is missing"),
        (f"{WRONG} The passage ends with a list of rivers.", "a content that says what is missing"),
        (f"{WRONG} Otters do not hunt at noon, nor without a full moon.", None),  # facts may be negative
        ("Otters hunt at dawn.", "a content of the wrong length"),
        (f"{WRONG} {WRONG}", "contents of unequal length"),
        ("I'm sorry, but I can't help with that request, as it asks for false statements. " * 2, "a refusal in place"),
    ],
)
def test_a_content_does_not_give_its_label_away(content, reason):
    found, _ = outline(contents=(content,))
    assert found.startswith(reason) if reason else found.passages[1].content == content


def test_a_minimal_pair_changes_one_fact():
    changed = POSITIVE.replace("mostly at night in summer", "mostly at noon in summer")
    found, _ = outline(kinds=("minimal pair",), contents=(changed,))
    assert found.passages[1].content == changed
    for content in (POSITIVE, WRONG):
        found, _ = outline(kinds=("minimal pair",), contents=(content,))
        assert found == "a minimal pair that does not change one fact of the positive's content"


# Passages


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("```\n{}\n```", None),
        ("Sure! {}", "talk before the text"),
        ("{} Let me know if you would like it longer.", "talk after the text"),
        ("{}\n\nWord count: 120", "a count of its words"),
        ("I'm sorry, but I can't write this passage.", "refused"),
        ("Too short.", "a passage of the wrong length"),
        ("{} This passage is relevant to the query.", "wording that gives it away"),
    ],
)
def test_a_passage_is_nothing_but_the_passage(text, reason):
    body = "Otters hunt when the water is cold and the fish are slow. " * 8
    planned = PassagePlan(kind="positive", document="forum answer", content=POSITIVE)
    made = Outline(query=query(), thought="t", need="n", passages=(planned,), request="r")
    found, _ = settled(lambda ask: write_passage(made, 0, CONFIG, GUIDELINES, PROMPTS, ask), text.format(body.strip()))
    assert found.startswith(reason) if reason else found.text == body.strip()


# Judgments


def judged(answer, difficulty="direct", **message):
    passage = WrittenPassage(id="q1-p0", query="q1", kind="positive", text=POSITIVE)
    made = Outline(
        query=query(difficulty=difficulty), thought="t", need="The hours, at night.", passages=(), request="r"
    )
    asked = []

    async def ask(model, body):
        asked.append(body["messages"][0]["content"])
        return said(answer, **message)

    try:
        (found,) = asyncio.run(judge(made, passage, CONFIG, GUIDELINES, PROMPTS, ask)).judgments
        return found.reasoning, asked[0]
    except Dropped as dropped:
        return str(dropped).removeprefix("unusable answer: "), asked[0]


def test_a_judge_is_told_the_need_and_how_long_to_reason():
    forty, hundred = "The passage says when they hunt. " * 7, "The passage says when they hunt. " * 17
    found, prompt = judged(f"{forty}\ntrue")
    assert found == forty.strip() and "The hours, at night." in prompt and "in 30 to 60 words" in prompt
    assert judged(f"{hundred}\ntrue")[0] == "a reasoning of the wrong length"
    found, prompt = judged(f"{hundred}\ntrue", "indirect")
    assert found == hundred.strip() and "in 60 to 140 words" in prompt
    # What a reasoning model writes is asked to be of that length; its thought is not.
    assert judged(f"{forty}\ntrue", reasoning_content="so long " * 900)[0] == forty.strip()
    assert judged("true", reasoning_content=forty)[0] == forty.strip()
    assert judged(f"{forty} Let me know if you want more.\ntrue")[0] == "talk after the text"


@pytest.mark.parametrize(
    ("verdict", "is_one"),
    [
        ("\nFalse.", True),
        (" **Answer: true**", True),
        (" What they do at noon it does not\ntrue", True),
        ("\nAnswer with a single word: true or false.", False),
        (" So it is not true.", False),
    ],
)
def test_what_only_names_the_verdicts_is_none(verdict, is_one):
    found, _ = judged("The passage says when they hunt. " * 7 + verdict)
    assert (found == "no true or false at the end") is not is_one


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        ('The passage says that they "hunt mostly at night", and that the water is near 4 degrees.', None),
        ('The passage says "River otters hunt ... the day in winter", which is it.', None),
        ('It says "they hunt at full moon only", so no.', "a quote that is in no source"),
        ("The passage gives 41 degrees.", "a number that is in no source"),
        ("The passage tells of hunting on the Danube.", "a name that is in no source"),
        ("As is known, otters weigh 9 kg and live on the Danube.", None),
        ("The right answer is 11 p.m., which is not here.", "a number that is in no source"),
        ("The right answer is at night, which the text has for summer.", None),
    ],
)
def test_claims_of_a_trace_are_checked(trace, reason):
    found = ungrounded(trace, (POSITIVE, "When do otters hunt?", "The hours, at night."))
    assert found is None if reason is None else found.startswith(reason)


# Borrowing


def test_positives_of_related_queries_are_borrowed():
    texts = {
        "q1": ("When do otters hunt?", POSITIVE),
        "q2": ("otter food winter", "Otters eat crayfish in winter, and hunt frogs."),
        "q3": ("wax for wet snow", "Soft wax and a coarse pattern keep skis fast in wet snow."),
        "q4": ("how deep to plant garlic", "Cloves go two inches deep into loose soil."),
    }
    made = [
        Outline(
            query=query(name, text, negatives=("wrong", "borrowed")), thought="", need="n", passages=(), request="r"
        )
        for name, (text, _) in texts.items()
    ]
    passages = [
        WrittenPassage(id=f"{name}-p{place}", query=name, kind=kind, text=text)
        for name, (_, text) in texts.items()
        for place, kind in enumerate(("positive", "wrong"))
    ]
    found = borrow(made, passages, GUIDELINES)
    assert [(each.id, each.kind, each.source) for each in found] == [
        ("q1-p2", "borrowed", "q2-p0"),
        ("q2-p2", "borrowed", "q1-p0"),
    ]  # the others share no word with another query's positive
    assert not found[0].intended and found[0].text == texts["q2"][1]
    assert borrow(made, [], GUIDELINES) == []


# The leak check


def leaking(body):
    answer = write(body)
    if body["messages"][0]["content"].startswith("Someone asks"):
        plan = json.loads(answer["choices"][0]["message"]["content"])
        answer = said(json.dumps({**plan, "positive": plan["positive"].replace("thing", "indeed", 1)}))
    return answer


def test_nothing_is_paid_for_passages_whose_contents_give_labels_away(tmp_path):
    write_sources(tmp_path)
    with serving(leaking) as server:
        result = synth("run", write_config(tmp_path, server.url))
        assert result.exit_code == 2 and "the outlines give labels away: AUC 1.00" in result.stderr, result.output
        assert len(server.asked) == 60
        config = write_config(tmp_path, server.url, filters={"leak": None})
        result = synth("run", config, "--max-requests", 3)
        assert "stopped at the passages" in result.stderr and len(server.asked) == 63
