"""Decontamination: a benchmark's query is found however it is written, and a different query is not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.workshop.contamination import Benchmarks
from limrank_ir.workshop.words import words

QUERIES = [
    "how do I fold a paper crane",
    "symptoms of dengue fever",
    "Café déjà vu étude naïve",
    "Which enzyme cuts double-stranded DNA at a palindrome of six letters?",
    "My neighbor's oak drops acorns on our greenhouse each fall, and two panes broke; who has to pay for the glass?",
    "0-dimensional biomaterials lack inductive properties in mesenchymal tissue.",
]
BENCHMARKS = Benchmarks(QUERIES)

FULL_WIDTH = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)}
DISTURBANCES = {
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "full width": lambda text: text.translate(FULL_WIDTH),
    "no accents": lambda text: "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)),
    "upper case": str.upper,
    "punctuation": lambda text: "¿" + text.replace(" ", ", ") + " …!?",
    "white space": lambda text: text.replace(" ", "\u00a0\n\t"),
}


@st.composite
def disturbed(draw):
    """A query with one invisible character in a word, written in other ways, and with one inserted word."""
    query = draw(st.sampled_from(QUERIES))
    parts = query.split()
    place = draw(st.integers(0, len(parts) - 1))
    cut = draw(st.integers(1, max(1, len(parts[place]) - 1)))
    hidden = draw(st.sampled_from(["", "\u00ad", "\u200b", "\u200d", "\ufeff"]))
    parts[place] = parts[place][:cut] + hidden + parts[place][cut:]
    parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from(["", "really", "yellow"])))
    text = " ".join(filter(None, parts))
    for name in draw(st.lists(st.sampled_from(sorted(DISTURBANCES)), unique=True)):
        text = DISTURBANCES[name](text)
    return query, text


@given(disturbed(), st.sampled_from(["", "Hello all, ", "I have asked this before in other words: "]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_disturbed_query_is_found_alone_and_in_a_longer_text(case, prefix, more):
    query, text = case
    assert BENCHMARKS.find(prefix + text + (" Thanks, and greetings from all of us here." if more else "")) == query


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?!",
        "how do I fold a paper boat",
        "I fold laundry while my crane of a brother reads the paper",  # the words, but not the question
        "symptoms of scarlet fever",
        "Which enzyme cuts a palindrome?",
        "each fall, and two panes of glass",
        "who has to pay for the fence between my garden and our neighbor's greenhouse?",
    ],
)
def test_a_different_query_is_not_found(text):
    assert BENCHMARKS.find(text) is None


def test_a_query_of_few_content_words_needs_the_whole_text():
    benchmarks = Benchmarks(["what is a cell", "paper hats", "what is", ""])
    assert benchmarks.find("What IS a cell?") == "what is a cell"
    assert benchmarks.find("What is?") == "what is"
    assert benchmarks.find("funny paper hats!") == "paper hats"
    for text in (
        "what is a stem cell",
        "A cell: what is its wall?",
        "Can my aunt sell paper hats at the fair?",
        "what is it",
    ):
        assert benchmarks.find(text) is None


def test_words_of_a_template_are_not_a_query():
    template = "Which of the following statements best explains why {} live in water?"
    queries = [template.format(f"animals {number}") for number in range(12)]
    asked = template.format("dragonfly larvae")
    assert Benchmarks(queries[:10]).find(asked) is not None  # ten queries are not enough to call it a template
    assert Benchmarks(queries).find(asked) is None
    assert Benchmarks(queries[:2], queries).find(asked) is None  # but others like them are
    assert Benchmarks(queries[:2], queries).find(queries[5]) is None


@given(st.text(max_size=60))
def test_words_do_not_depend_on_the_form(text):
    assert words(unicodedata.normalize("NFD", text)) == words(text) == words(" ".join(words(text)))
