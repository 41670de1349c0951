"""The start of a synthesis: guidelines, seeds, personas, and the sampler that meets the quotas."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from limrank_ir import InputError, LimRankError
from limrank_ir.synth.config import read_config
from limrank_ir.synth.guidelines import allot, read_guidelines
from limrank_ir.synth.records import Persona, Seed
from limrank_ir.synth.sample import sample
from limrank_ir.synth.sources import read_personas, read_seeds
from tests.synthesis import FIELDS, write_config, write_sources

GUIDELINES = read_guidelines()


def written(path, text):
    path.write_text(text)
    return path


@given(st.integers(0, 500), st.lists(st.floats(0.01, 10), min_size=1, max_size=20))
def test_parts_add_up_and_are_close_to_their_shares(count, shares):
    parts = allot(count, [(str(number), share) for number, share in enumerate(shares)])
    assert sum(parts.values()) == count
    for number, share in enumerate(shares):
        assert abs(parts[str(number)] - count * share / sum(shares)) < 1


def test_our_guidelines_are_complete():
    assert len(GUIDELINES.domains) >= 15
    for kind in ("daily", "expert"):
        assert sum(getattr(domain, kind) for domain in GUIDELINES.domains) >= 8
    assert all(domain.words for domain in GUIDELINES.domains if domain.expert)


@pytest.mark.parametrize(
    ("change", "message"),
    {
        "domains": (lambda raw: raw.update(domains=[]), "domains: Tuple should have at least 1"),
        "twice": (lambda raw: raw["negatives"].append(raw["negatives"][0]), "'same words' is listed twice"),
        "a share": (lambda raw: raw["domains"][0].update(share=0), r"domains\.0\.share: "),
        "a field": (lambda raw: raw["documents"][0].pop("words"), r"documents\.0\.words: Field required"),
        "no daily": (lambda raw: [d.update(daily=False) for d in raw["domains"]], "no domain is for daily queries"),
    }.values(),
)
def test_bad_guidelines_are_named(tmp_path, change, message):
    raw = yaml.safe_load((files("limrank_ir.synth") / "guidelines.yaml").read_text())
    change(raw)
    path = written(tmp_path / "mine.yaml", yaml.safe_dump(raw))
    with pytest.raises(LimRankError, match=rf"mine\.yaml: .*{message}"):
        read_guidelines(path)


def test_fields_of_a_persona():
    def fields(text, domain=None):
        return GUIDELINES.fields(Persona(id="p", text=text, domain=domain))

    assert fields("A retired nurse who keeps bees") == ["health"]
    assert set(fields("A tax lawyer")) == {"law", "finance"}
    assert fields("A tax lawyer", "biology") == ["biology"]
    assert fields("Someone") == []


# Files


def test_seeds_in_all_layouts(tmp_path):
    json_lines = '{"qid": "7", "query": "what  is\\tit"}\n{"query": "where"}\n'
    assert read_seeds(written(tmp_path / "a.jsonl", json_lines)) == [
        Seed(id="7", query="what is it"),
        Seed(id="query2", query="where"),
    ]
    assert read_seeds(written(tmp_path / "b.tsv", "7\twhat is it\n")) == [Seed(id="7", query="what is it")]
    assert read_seeds(written(tmp_path / "c.txt", "what is it\n"))[0].id == "query1"


BAD = {
    "an empty line": ("a\n\nb\n", "f:2: empty line; remove it"),
    "a duplicate": ("What is it\nb\nwhat is it?\n", "f:3: same query as in .*f:1; remove one of them"),
    "an id twice": ("1\ta\n1\tb\n", "f:2: same id as in .*f:1"),
    "no text": ('{"id": 1}\n', "f:1: query without text; fill in 'query'"),
    "nothing": ("", "f: the file is empty"),
    "no JSON": ("{\n", "f:1: malformed JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_seeds_are_named(tmp_path, name):
    text, message = BAD[name]
    with pytest.raises(LimRankError, match=message):
        read_seeds(written(tmp_path / "f", text))


def test_the_readme_lists_the_domains():
    text = " ".join((Path(__file__).parents[1] / "synth" / "README.md").read_text().split())
    experts, others = re.search(
        r"The domains, as a persona's `domain` names them: (.*?)\. .*? can also be about (.*?),", text
    ).groups()
    assert experts.split(", ") == [domain.name for domain in GUIDELINES.domains if domain.expert]
    assert others.split(", ") == [domain.name for domain in GUIDELINES.domains if not domain.expert]


def test_all_unknown_domains_are_named_at_once(tmp_path):
    rows = [{"persona": f"person {n}", "domain": name} for n, name in enumerate(["magic", "law", "alchemy", "magic"])]
    path = written(tmp_path / "f", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError) as caught:
        read_personas(path, GUIDELINES)
    message = str(caught.value)
    assert "f:1: unknown domain 'magic'; " in message and "f:3: unknown domain" in message
    assert message.count("'magic'") == 1 and message.count("choose from: agriculture and food, arts") == 1


def test_bad_personas_are_named(tmp_path):
    with pytest.raises(LimRankError, match="f:1: unknown domain 'magic'; choose from: agri"):
        read_personas(written(tmp_path / "f", '{"persona": "a wizard", "domain": "magic"}\n'), GUIDELINES)
    with pytest.raises(LimRankError, match="f:2: empty line"):
        read_personas(written(tmp_path / "f", "a nurse\n\n"), GUIDELINES)


# The sampler


def drawn(couples, people=None, seed=0, negatives=3):
    seeds = [Seed(id=f"s{number}", query=f"thing {number}") for number in range(couples)]
    if people is None:
        people = [Persona(id=f"p{n}", text="x", domain=FIELDS[n % len(FIELDS)]) for n in range(5 * couples)]
    return sample(seeds, people, GUIDELINES, couples=couples, negatives=negatives, seed=seed)


@pytest.mark.parametrize("couples", [1, 7, 100])
def test_quotas_are_met(couples):
    found = drawn(couples)
    assert [couple.id for couple in found] == sorted({couple.id for couple in found})
    assert len({couple.seed.id for couple in found}) == len({couple.persona.id for couple in found}) == couples
    for kind in ("daily", "expert"):
        domains = [(each.name, each.share) for each in GUIDELINES.domains if getattr(each, kind)]
        levels = [(each.name, each.share) for each in GUIDELINES.difficulties]
        briefs = [getattr(couple, kind) for couple in found]
        assert Counter(brief.domain for brief in briefs) == +Counter(allot(couples, domains))
        assert Counter(brief.difficulty for brief in briefs) == +Counter(allot(couples, levels))
        forms = [(each.name, each.share) for each in GUIDELINES.forms]
        assert Counter(brief.form for brief in briefs) == +Counter(allot(couples, forms))
    briefs = [brief for couple in found for brief in (couple.daily, couple.expert)]
    kinds = Counter(kind for brief in briefs for kind in brief.negatives)
    shares = {each.name: each.share / sum(each.share for each in GUIDELINES.negatives) for each in GUIDELINES.negatives}
    assert all(abs(kinds[name] - 6 * couples * share) < 1 for name, share in shares.items())
    for brief in briefs:
        assert len(brief.documents) == 4 and (couples == 1 or len(set(brief.negatives)) == 3)
        assert "borrowed" not in brief.negatives[:-1]
        if "minimal pair" in brief.negatives:
            assert brief.documents[brief.negatives.index("minimal pair") + 1] == brief.documents[0]
    for couple in found:
        assert couple.expert.domain == couple.persona.domain


def test_the_seed_decides():
    assert drawn(30) == drawn(30) != drawn(30, seed=1)


def test_personas_with_several_fields_go_where_they_are_needed():
    # A greedy assignment could use up the lawyers for finance.
    both = [Persona(id=f"b{number}", text="a tax lawyer") for number in range(2)]
    people = [Persona(id=f"p{n}", text="x", domain=field) for n, field in enumerate(FIELDS * 2)]
    for field in ("law", "finance"):
        people = [person for person in people if person.domain != field]
        people += [Persona(id=f"one-{field}", text="x", domain=field)]
    found = drawn(20, people + both)
    assert Counter(couple.expert.domain for couple in found)["law"] == 2


def test_quotas_that_cannot_be_met_are_named():
    with pytest.raises(LimRankError, match="couples: 3, but there are only 2 seeds"):
        sample([Seed(id="a", query="a"), Seed(id="b", query="b")], [], GUIDELINES, couples=3, negatives=1, seed=0)
    people = [Persona(id=f"p{n}", text="x", domain=field) for n, field in enumerate(FIELDS * 9) if field != "law"]
    with pytest.raises(LimRankError, match=r"too few personas in 1 domains: law \(2 of 2 missing\); add personas"):
        drawn(20, people)
    few = [person for person in people if person.domain not in ("finance", "computing")] + people[:1]
    with pytest.raises(LimRankError, match=r"in 3 domains: computing \(1 of 1 missing\), finance \(2 .*, law \(2 of 2"):
        drawn(20, few)
    with pytest.raises(LimRankError, match="too few personas"):
        drawn(1, [])


# The configuration


@pytest.mark.parametrize(
    ("changes", "message"),
    {
        "unknown": ({"model": "x"}, "model: unknown setting"),
        "unknown inside": ({"judge": {"model": "x", "temperature": 1}}, r"judge\.temperature: unknown setting"),
        "ours": ({"judge": {"model": "x", "parameters": {"seed": 1}}}, "parameters.seed is set by limrank"),
        "none": ({"couples": 0}, "couples: Input should be greater than or equal to 1"),
    }.values(),
)
def test_a_bad_configuration_is_named(tmp_path, changes, message):
    with pytest.raises(LimRankError, match=rf"synth\.yaml: .*{message}"):
        read_config(write_config(tmp_path, "http://localhost", **changes))


def test_all_faults_of_a_configuration_are_reported_at_once(tmp_path):
    changes = {"cuoples": 3, "couples": 0, "judge": {"model": "", "conccurrency": 1}, "filters": {"hardd": 1}}
    changes["generator"] = {"model": "m", "base_url": "localhost:8000/v1"}
    with pytest.raises(InputError) as caught:
        read_config(write_config(tmp_path, "http://localhost", **changes))
    message = str(caught.value)
    for part in (
        "cuoples: unknown setting; did you mean couples?",
        "couples: Input should be",
        "judge.model: String should have at least 1",
        "judge.conccurrency: unknown setting; did you mean concurrency?",
        "filters.hardd: unknown setting; did you mean hard?",
        "generator.base_url: must begin with http:// or https://",
    ):
        assert part in message
    assert message.startswith(f"{tmp_path}/synth.yaml: ") and "\n" not in message


def test_all_faults_of_guidelines_are_reported_at_once(tmp_path):
    raw = yaml.safe_load((files("limrank_ir.synth") / "guidelines.yaml").read_text())
    for domain in raw["domains"][:3]:
        domain["shares"] = domain.pop("share")
    with pytest.raises(InputError) as caught:
        read_guidelines(written(tmp_path / "mine.yaml", yaml.safe_dump(raw)))
    for number in range(3):
        assert f"domains.{number}.share: Field required" in str(caught.value)
        assert f"domains.{number}.shares: unknown setting; did you mean share?" in str(caught.value)


def test_paths_are_relative_to_the_configuration(tmp_path):
    write_sources(tmp_path)
    config = read_config(write_config(tmp_path, "http://localhost", filters={"benchmarks": ["b.jsonl"]}))
    assert config.output == tmp_path / "out" and config.seeds == tmp_path / "seeds.tsv"
    assert config.filters.benchmarks == (tmp_path / "b.jsonl",) and config.filters.hard is None
    assert read_config(tmp_path / "synth.yaml", output=tmp_path / "else").output == tmp_path / "else"
