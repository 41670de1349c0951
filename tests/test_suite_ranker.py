"""Systems of the benchmarks that are a model with a ranker: ``limrank-smol@setwise:top=10``."""

from __future__ import annotations

import json

import pytest

from limrank_ir import InputError
from limrank_ir.benchmarks.suite import tables
from limrank_ir.benchmarks.suite.run import SuiteSettings, run_suite
from limrank_ir.benchmarks.systems.by_name import read_systems
from limrank_ir.benchmarks.systems.rerank import rerank
from limrank_ir.benchmarks.systems.system import by_query
from limrank_ir.formats.corpus import Passage
from limrank_ir.formats.topics import Topic
from limrank_ir.formats.trec import RunEntry
from limrank_ir.models import ModelOptions
from limrank_ir.rank_llm import coordinator
from limrank_ir.rankers.behind import split_ranker
from tests.asked import Knows
from tests.suite_collections import write_collections

NAME = "limrank-smol@setwise:top=1,sort=bubble@setwise-numbers"
PAIRS = [(f"query {number}", f"p {place * 3 % 5}", None) for number in range(3) for place in range(5)]


def system(name, tmp_path, **options):
    (found,) = read_systems([name], ModelOptions(**options), tmp_path / "verdicts.sqlite")
    return found


@pytest.fixture
def knows(monkeypatch):
    """The engine of all rerankers: passages end with the number that says how relevant they are."""
    engine = Knows()
    engine.load = lambda: None
    monkeypatch.setattr(
        "limrank_ir.reranker.choose_engine", lambda given, *unused: engine if given == "local" else given
    )
    return engine


@pytest.mark.parametrize("ranker", ["setwise:top=5", "listwise", "adaptive", "setwise:by=answer,top=5@rank-r1"])
def test_scores_are_those_of_the_orders_and_a_second_call_asks_nothing(knows, tmp_path, ranker):
    found = system(f"limrank-smol@{ranker}", tmp_path)
    asked = len(knows.asked)
    for again in (False, True):
        steps = []
        scores, work = found.start()(PAIRS, steps.append)
        for query in range(3):
            mine = scores[5 * query : 5 * query + 5]
            assert sorted(range(5), key=lambda place: -mine[place]) == [3, 1, 4, 2, 0]
        assert sum(steps) == work.pairs == 15 and (again or len(steps) > 1) and work.failed == work.repaired == 0
        assert work.judged == (0 if again else 15) and work.tokens == sum(work.pair_tokens) > 0
        asked = asked if again else work.calls
        assert work.calls == asked > 0


def test_neighboring_queries_with_the_same_text_stay_two(knows, tmp_path):
    texts = {"a": "p 1", "b": "p 3", "c": "p 2", "d": "p 4"}
    documents = {"q1": ["a", "b"], "q2": ["c", "d"], "q3": ["a", "c"]}
    found = rerank(
        ranker_ := system("limrank-smol@listwise", tmp_path),
        ranker_.start(),
        {qid: [RunEntry(qid, docno, 1, 1.0, "x") for docno in docnos] for qid, docnos in documents.items()},
        {qid: Topic(qid, "other" if qid == "q3" else "the same") for qid in documents},
        {docno: Passage(docno, text) for docno, text in texts.items()},
        label="x",
    )
    assert found.work.calls == 3
    assert all([score for _, score in scored] == [1.0, 2.0] for scored in found.alone.values())  # places among two
    assert by_query([("q", "a", None), ("q", "b", None), ("q", "c", "i")]) == [range(2), range(2, 3)]


def test_label_and_identity_say_what_changes_a_score(tmp_path):
    found = system(NAME, tmp_path)
    assert found.label == "limrank-smol@setwise:top-1:sort-bubble@setwise-numbers"  # no comma: --fuse splits there
    assert found.adapter == system("limrank-smol", tmp_path).adapter and not found.log_odds
    others = ["limrank-smol@setwise:top=1", "limrank-smol@setwise", "limrank-smol-untrained@setwise"]
    assert len({found.identity, *(system(name, tmp_path).identity for name in others)}) == 4
    same = system("limrank-smol@setwise:top=1,window=4,sort=bubble@setwise-numbers", tmp_path)
    assert same.identity == found.identity


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("limrank-smol@setwize", "did you mean setwise"),
        ("limrank-smol@setwise@rank-r1", "rank-r1 has no effect with setwise"),
        ("limrank-smal@setwise", "did you mean limrank-smol"),
        ("limrank-smol@", "unknown ranker ''"),
    ],
)
def test_what_is_unknown_is_refused_at_once(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        system(name, tmp_path)


def test_a_path_with_the_sign_in_it(tmp_path):
    folder = tmp_path / "me@host" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    for base in ("limrank-smol", "owner/name"):  # of a model on the hub, nothing is here
        assert split_ranker(f"{base}+{folder}") == (f"{base}+{folder}", [])
        assert split_ranker(f"{base}+{folder}@setwise:top=1@setwise-numbers") == (
            f"{base}+{folder}",
            ["setwise:top=1", "setwise-numbers"],
        )
    assert split_ranker(f"{folder}@listwise") == (str(folder), ["listwise"])
    assert split_ranker("owner/name@listwise") == ("owner/name", ["listwise"])
    message = "no such model, and 'host/missing' behind @ is no ranker; check that its paths exist"
    with pytest.raises(InputError, match=message):
        system(f"limrank-smil+{tmp_path}/me@host/missing", tmp_path)
    with pytest.raises(InputError, match="no such model, and 'host/missing'"):
        coordinator(f"limrank-smil+{tmp_path}/me@host/missing")


def test_the_real_model_in_the_suite(tmp_path):
    pytest.importorskip("matplotlib")
    data = write_collections(tmp_path / "data")
    settings = SuiteSettings(k=2, models=ModelOptions(max_length=256, device="cpu"))
    report = run_suite([data / "given"], [NAME], tmp_path / "out", settings, command="x")
    label = "limrank-smol@setwise:top-1:sort-bubble@setwise-numbers"
    work = report.work()[label]
    assert (work.calls, work.pairs, work.failed) == (2, 5, 0)
    header, rows = tables.work(report)
    shown = dict(zip(header, rows[-1], strict=True))
    assert (shown["calls"], shown["answers repaired"], shown["failed"]) == ("2", "0", "0") and "seconds" in header
    text = (tmp_path / "out" / "results.md").read_text()
    assert "Calls are questions to the model" in text and label in text
    assert json.loads((tmp_path / "out" / "results.json").read_text())["systems"][label]["name"] == NAME
