"""Answers of chat servers in all formats: each is read, or is a fault with a reason; none causes a traceback."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir.llm.answers import Completion, Fault, check_answer, completion, usable, usage
from limrank_ir.synth.prices import Prices
from tests.chat_server import said


def message(**fields):
    return {"choices": [{"message": {"role": "assistant", **fields}}]}


READ = {
    "a text": (said("hi"), Completion("hi")),
    "parts": (message(content=[{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]), Completion("hi")),
    "output parts": (message(content=[{"type": "output_text", "text": "hi"}]), Completion("hi")),
    "strings": (message(content=["h", "i"]), Completion("hi")),
    "one part": (message(content={"type": "text", "text": "hi"}), Completion("hi")),
    "an image beside it": (message(content=[{"type": "image_url", "image_url": {}}, "hi"]), Completion("hi")),
    "thoughts in parts": (
        message(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, "hi"]),
        Completion("hi", "hm"),
    ),
    "reasoning parts": (message(content=[{"type": "reasoning", "text": "hm"}, "hi"]), Completion("hi", "hm")),
    "thoughts as an object": (message(content="hi", reasoning={"text": "hm"}), Completion("hi", "hm")),
    "thoughts as a list": (message(content="hi", reasoning_content=["h", {"text": "m"}]), Completion("hi", "hm")),
    "details": (message(content="hi", reasoning=None, reasoning_details=[{"summary": "hm"}]), Completion("hi", "hm")),
    "Ollama's": (message(content="hi", thinking="hm"), Completion("hi", "hm")),
    "the first of two": (message(content="hi", reasoning_content="hm", reasoning="no"), Completion("hi", "hm")),
    "no thought": (message(content="hi", reasoning=7, reasoning_content="  "), Completion("hi")),
    "half a surrogate": (message(content="a\ud83d b"), Completion("a\ufffd b")),
    "nothing": (message(content=None), Completion("")),
    "nothing at all": (message(), Completion("")),
    "a refusal": (message(content=None, refusal="no"), Completion("", ending="refused")),
    "a refusal as a part": (message(content=[{"type": "refusal", "refusal": "no"}]), Completion("", ending="refused")),
    "filtered": ({"refused": "policy"}, Completion("", ending="filtered")),
    "cut": ({"choices": [{"message": {"content": "h"}, "finish_reason": "length"}]}, Completion("h", ending="cut")),
    "no error": ({**said("hi"), "error": None}, Completion("hi")),
}


@pytest.mark.parametrize("name", READ)
def test_answers_are_read(name):
    answer, expected = READ[name]
    assert completion(answer) == expected and usable(answer)
    if "refused" not in answer:
        assert check_answer(answer) is answer


FAULTY = {
    "a list": ([1, 2], "not a JSON object"),
    "text": ("hi", "not a JSON object"),
    "null": (None, "not a JSON object"),
    "nothing": ({}, "without choices"),
    "choices null": ({"choices": None}, "without choices"),
    "no choice": ({"choices": []}, "without choices"),
    "choices of null": ({"choices": [None]}, "without choices"),
    "choices as an object": ({"choices": {"0": {}}}, "without choices"),
    "message null": ({"choices": [{"message": None}]}, "without a message"),
    "text of old": ({"choices": [{"text": "hi"}]}, "without a message"),
    "a message that is text": ({"choices": [{"message": "hi"}]}, "without a message"),
    "a number": (message(content=7), "content is int, not text"),
    "true": (message(content=True), "content is bool, not text"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faults_are_recognized(name):
    answer, reason = FAULTY[name]
    for read in (completion, check_answer):
        with pytest.raises(Fault, match=reason) as caught:
            read(answer)
        assert caught.value.status is None
    assert not usable(answer)


@pytest.mark.parametrize(
    ("error", "reason", "status"),
    [
        ({"message": "limit", "code": 429}, r"limit \(status 429\)", 429),
        ({"message": "limit", "code": "503"}, r"limit \(status 503\)", 503),
        ({"message": "limit", "code": "rate_limit_exceeded"}, "limit", None),
        ({"message": "odd", "code": 7}, "odd", None),
        ({"message": ["a", 1]}, "'a', 1", None),
        ("no\nmore", "no more", None),
        (["x"], "'x'", None),
        ({"code": True}, "an error without a reason", None),
    ],
)
def test_errors_instead_of_answers(error, reason, status):
    for answer in (
        {"error": error},
        {**said(""), "error": error},
        {"choices": [{"error": error, "finish_reason": "error", "message": {"content": ""}}]},
    ):
        with pytest.raises(Fault, match=reason) as caught:
            check_answer(answer)
        assert caught.value.status == status and not usable(answer)


def test_a_choice_that_ends_in_an_error_is_a_fault():
    with pytest.raises(Fault, match="finish_reason: error"):
        check_answer({"choices": [{"finish_reason": "error", "message": {"content": "hal"}}]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("\ud83d"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "type", "code"]), inner),
    max_leaves=6,
)
WHOLE = {
    "error": None,
    "choices": [
        {"error": None, "finish_reason": "stop", "message": {"content": "a", "refusal": None, "reasoning": "b"}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}},
}


def paths(value, path=()):
    """The paths to all values inside a JSON value, itself included."""
    yield path
    items = []
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from paths(inner, (*path, key))


@given(st.sampled_from(list(paths(WHOLE))), JSON, st.sampled_from([200, 400, 429, 500, None, "x"]))
def test_anything_anywhere_is_read_or_a_fault(path, odd, status):
    answer = json.loads(json.dumps(WHOLE))
    at = answer
    for key in path[:-1]:
        at = at[key]
    if path:
        at[path[-1]] = odd
    else:
        answer = odd
    try:
        checked = check_answer(answer, status)
    except Fault as fault:
        assert "\n" not in str(fault) and str(fault).encode()
    else:
        found = completion(checked)
        assert found.text.encode() is not None and (found.thought or "").encode() is not None
    if isinstance(answer, dict):
        tokens = usage(answer)
        assert 0 <= tokens.cached <= tokens.prompt and tokens.response >= 0


@pytest.mark.parametrize(
    ("stated", "counted"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 20}, (10, 20, 0, True)),
        ({"prompt_tokens": "10", "completion_tokens": 20.0}, (10, 20, 0, True)),
        ({"prompt_tokens": 10, "completion_tokens": "n/a"}, (10, 0, 0, False)),
        ({"prompt_tokens": -1, "completion_tokens": float("nan")}, (0, 0, 0, False)),
        ({"prompt_tokens": 10, "completion_tokens": 20, "prompt_tokens_details": 0}, (10, 20, 0, True)),
        ({"prompt_tokens": 10, "completion_tokens": 20, "prompt_cache_hit_tokens": 99}, (10, 20, 10, True)),
        ([1], (0, 0, 0, False)),
        (None, (0, 0, 0, False)),
    ],
)
def test_tokens_and_cost(stated, counted):
    answer = {**said("hi"), "usage": stated}
    assert tuple(usage(answer)) == counted
    cost = Prices({"m": (1e6, 1e6, 0.0)}).cost("m", answer)
    assert cost == (counted[0] - counted[2] + counted[1] if counted[3] else None)


def test_a_refusal_costs_nothing():
    assert Prices({"m": (1, 1, 1)}).cost("m", {"refused": "policy"}) == 0
