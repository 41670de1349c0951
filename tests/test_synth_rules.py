"""Training rows by rule: what is changed, what must not be, and that the rows can be trained on."""

from __future__ import annotations

import json
import random
import re

import pytest

from limrank_ir.synth.rules.entities import entities
from limrank_ir.synth.rules.excerpts import excerpts
from limrank_ir.synth.rules.exclusions import exclusions
from limrank_ir.synth.rules.facts import OPPOSITES, another_number, numbers, with_number, with_opposite
from limrank_ir.synth.rules.minimal_pairs import minimal_pairs
from limrank_ir.synth.rules.rows import Row, Source
from limrank_ir.train.rows import read_groups
from tests.synthesis import synth

CITIES = ["Lisbon", "Oslo", "Vienna", "Prague", "Dublin", "Athens"]


def row(query, *pos, qid="1", neg=(), instruction=None):
    return Row(qid, query, pos, tuple(neg), instruction, "here", "MIT")


def pair(query, positive, *others):
    """The changed passage, or None."""
    made = list(minimal_pairs(Source((row(query, positive, neg=others),)), 0))
    return made[0]["neg"][0] if made else None


# Minimal pairs


def test_a_number_that_the_query_states_is_changed_everywhere():
    positive = "A pass is valid for 30 days. After 30 days, a new pass costs 12 euros."
    changed = pair("What happens when a pass is valid for 30 days only?", positive)
    (other,) = numbers(changed) - {"12"}
    assert other != "30" and changed == positive.replace("30", other)
    # The answer is not changed: nobody could tell.
    assert pair("What does a new pass cost?", positive) is None
    # Another 30 is another fact.
    assert pair("Do 30 euros buy a pass?", "The bus runs at night and every 30 minutes.") is None


@pytest.mark.parametrize("text", ["in 1987", "for 1,200 people", "at 37.5 degrees", "of 90% of all", "takes 7 days"])
def test_another_number_looks_alike(text):
    (number,) = numbers(text)
    found = {another_number(text, number, {number}, random.Random(seed)) for seed in range(20)}
    assert number not in found and len(found) > 3
    assert number != "1,200" or {"1,500", "900"} <= found
    for other in found:
        assert len(number.partition(".")[2]) == len(other.partition(".")[2])
        value, before = (float(each.replace(",", "")) for each in (other, number))
        assert abs(value - before) <= 13 if number == "1987" else value <= 100 if "%" in text else value < 4 * before


def test_numbers_in_names_and_codes_are_left_alone():
    assert numbers("COVID-19, type 3a, 10.1000/xyz, 3.1.4, 12:30 and 1,000 or 25%") == {"1,000", "25"}
    assert with_number("5 of 15 and 5.", "5", "8") == "8 of 15 and 8."


def test_a_direction_is_turned_around_unless_the_query_asks_whether():
    positive = "Warm water holds a greater amount of salt."
    assert pair("A greater amount of salt dissolves when water is heated", positive) == positive.replace(
        "greater", "smaller"
    )
    assert pair("Does a greater amount of salt dissolve when water is heated?", positive) is None
    assert pair("The greater bird-of-paradise lives here", positive) is None  # the same word, not the same fact
    assert pair("A greater amount of salt", f"{positive} Cold water holds a smaller amount.") is None


def test_opposites_go_both_ways():
    for word, other in OPPOSITES.items():
        assert other in OPPOSITES and word != other
        assert with_opposite(f"{word.title()} in-{word} {word}.", word) == f"{other.title()} in-{word} {other}."


def test_a_name_gives_way_to_one_that_stands_between_the_same_words():
    others = [f"The museum of {city} was opened by a queen." for city in CITIES]
    positive = "The museum of Berlin was opened by a queen. Berlin is proud of it."
    query = "Who opened the museum of Berlin?"
    changed = pair(query, positive, *others)
    (city,) = [each for each in CITIES if each in changed]
    assert changed == positive.replace("Berlin", city)
    # A part that would be left, another name of the query, and a calculation: nothing is changed.
    assert pair(query, f"{positive} So is West Berlin.", *others) is None
    assert pair("Did Oslo or Berlin open the museum?", f"{positive} Oslo is not.", *others) is None
    assert pair(query, f"{positive} 2+2=4", *others) is None


# Entities


def test_passages_about_another_entity_are_like_the_positive():
    diseases = [f"Disease{letter}" for letter in "abcdefgh"]
    rows = tuple(
        row(
            f"What are the symptoms of {name} in children?",
            f"The symptoms of {name} are fever, rash, and pain {n}.",
            qid=name,
        )
        for n, name in enumerate(diseases)
    )
    filler = row("Other", *(f"Sentence number {n} on volcano {n * 7} and wine." for n in range(600)), qid="filler")
    made = {each["qid"]: each for each in entities(Source((*rows, filler)), 0)}
    assert set(made) == {f"entity-{name}" for name in diseases}
    for name in diseases:
        negatives = made[f"entity-{name}"]["neg"]
        assert len(negatives) == 4 and all("fever" in text and name not in text for text in negatives)
    assert list(entities(Source(rows[:3]), 0)) == []  # no word is rare among three passages


# Excerpts


def town(first):
    """A passage of ten sentences; the next ten towns share some of them."""
    things = ((first + n) % 60 for n in range(10))
    return " ".join(
        f"Near the bar{n}x and the cafe{n}x, visitors like to sit in the sun of t{first}s{n}." for n in things
    )


def sentences_of(passage):
    return set(passage.rstrip(".").split(". "))


def test_an_excerpt_is_taken_out_of_its_passage():
    whole = {str(n): town(n) for n in range(60)}
    # The next piece of the same text shares sentences with it, so it is no negative.
    whole["piece"] = ". ".join(town(0).split(". ")[2:9]) + "."
    source = Source(tuple(row(f"Town {n}?", text, qid=n, instruction="Find towns.") for n, text in whole.items()))
    made = list(excerpts(source, 7))
    assert {each["neg_kind"] for each in made} == {"excerpt: of a half", "excerpt: of a sentence"} and len(made) > 50
    for each in made:
        passage = whole[each["qid"].removeprefix("excerpt-")]
        query, rest = sentences_of(each["query"]), sentences_of(each["pos"][0])
        assert query | rest == sentences_of(passage) and not query & rest
        assert len(query) > 2 if each["neg_kind"].endswith("half") else len(query) == 1
        assert len(set(each["neg"])) == 7 and passage not in each["neg"] and "instruction" not in each
        assert not {whole["0"], whole["piece"]} & set(each["neg"]) or "t0s" not in passage
    assert made == list(excerpts(source, 7)) != list(excerpts(source, 8))


def test_a_sentence_that_points_back_is_no_query():
    source = Source(tuple(row(f"Town {n}?", town(n).replace("Near the", "It has a"), qid=str(n)) for n in range(60)))
    assert {each["neg_kind"] for each in excerpts(source, 0)} == {"excerpt: of a half"}
    assert list(excerpts(Source(source.rows[:3]), 0)) == []  # too few to compare with


# Exclusions


def test_positives_about_an_excluded_name_become_negatives():
    instruction = "Find the facts."
    source = Source(
        (
            row(
                "Who lived longer, the painter Ada Kell or Bo Lund?",
                "Ada Kell died at 80.",
                "Bo Lund died at 70.",
                neg=["Somebody died."],
                instruction=instruction,
            ),
        )
    )
    seen = set()
    for seed in range(20):
        (made,) = exclusions(source, seed)
        seen.add(excluded := "Ada Kell" if "Ada" in made["neg"][0] else "Bo Lund")
        assert [excluded in text for text in made["pos"] + made["neg"]] == [False, True, False]
        assert made["query"].count(excluded) + made["instruction"].count(excluded) == 2
        assert made["instruction"].startswith(instruction)
    assert seen == {"Ada Kell", "Bo Lund"}


def test_other_questions_on_a_subject_are_what_is_excluded():
    source = Source(
        (
            row("What are the symptoms of Gout?", "Gout hurts.", qid="1", neg=["Gout is a disease."]),
            row("What are the treatments for gout?", "Gout is treated with a drug.", qid="2"),
            row("What is the outlook for Gout?", "One may recover from its symptoms.", qid="3"),
        )
    )
    for made in exclusions(source, 1):
        said = made["query"] + made.get("instruction", "")
        assert "out" in made["query"] and re.search("its treatment|its symptoms|the outlook", said)
        assert made["pos"] != made["neg"] and "disease" not in str(made["neg"])  # which is about the subject
        assert not ("its symptoms" in said and "symptoms" in str(made["pos"]))


# The command


def test_the_command_writes_rows_that_can_be_trained_on(tmp_path):
    rows = [
        {
            "qid": f"{n}",
            "query": f"What happens after {n} days in the museum of {city}?",
            "pos": [f"After {n} days, the museum of {city} closes."],
            "neg": ["Something else."],
            "license": "CC BY-SA 4.0" if n % 2 else "MIT",
            "source": "Toy",
        }
        for n, city in enumerate(CITIES * 2, 10)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    contents = []
    for name in ("one", "two"):
        result = synth("rules", path, "-o", tmp_path / name, "--count", 5)
        assert result.exit_code == 0, result.output
        contents.append([read_groups(tmp_path / name / "minimal-pairs.jsonl.gz")])
    assert contents[0] == contents[1]
    (groups,) = contents[0]
    assert len(groups) == 5 and all([c.label for c in group.candidates] == [True, False] for group in groups)
    assert {group.license for group in groups} <= {"MIT", "CC BY-SA 4.0"} and {group.source for group in groups} == {
        "Toy"
    }
    assert "- license: " in (tmp_path / "one" / "README.md").read_text()
    path.write_text(json.dumps({name: value for name, value in rows[0].items() if name != "license"}))
    result = synth("rules", path, "-o", tmp_path / "three")
    assert result.exit_code == 2 and "rows.jsonl:1: no license" in result.stderr and not (tmp_path / "three").exists()
    path.write_text(json.dumps({**rows[0], "pos": []}))
    result = synth("rules", path, "-o", tmp_path / "three")
    assert result.exit_code == 2 and "rows.jsonl:1: 'pos' is empty" in result.stderr
