"""``limrank bench followir``: a tiny data set in the official layout, tiny stand-ins, and mteb's own evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limrank_ir.benchmarks.followir.measure import FollowIrSettings, read_tasks, run_followir
from limrank_ir.benchmarks.followir.official import OFFICIAL, official_name
from limrank_ir.benchmarks.followir.p_mrr import PMrr
from limrank_ir.benchmarks.followir.results import FollowIrResult, averages, right_order
from limrank_ir.benchmarks.followir.stand_ins import read_stand_in
from limrank_ir.benchmarks.followir.task import Preference, sample
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import read_run
from limrank_ir.models import ModelOptions
from limrank_ir.prompts import RANK1
from limrank_ir.verdict import Reading
from tests.command_line import limrank as command
from tests.conftest import SHARED
from tests.followir_data import CANDIDATES, DOCS, INSTRUCTIONS, QUERIES, write_dataset
from tests.suite_collections import write_collection

pytest.importorskip("mteb", reason="mteb is not installed")
datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


class Obedient:
    """Scores by rules: what an instruction forbids comes last, and everything else by the length of its text."""

    identity = "obedient"

    def __init__(self, *, reads_instructions=True):
        self.prompts = []
        self.reads_instructions = reads_instructions

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        for index, prompt in enumerate(prompts):
            if index not in done:
                if "warm-up" not in prompt.prefix:
                    self.prompts.append(prompt.text)
                score = float(len(prompt.passage))
                only = "Only" in prompt.prefix or "not bread" in prompt.prefix
                if self.reads_instructions and only and ("deletes" in prompt.passage or "Bread" in prompt.passage):
                    score = -50.0
                yield [(index, Reading((score, 0.0), None, 10, 0, "verdict"))]


def run(given, output, engine, **settings):
    chosen = FollowIrSettings(models=ModelOptions(engine=engine), **settings)
    return run_followir([str(folder) for folder in given], ["limrank-smol"], output, chosen)


def test_instructions_that_are_followed_move_the_changed_documents_down(tmp_path):
    data = write_dataset(tmp_path / "core17")
    _, (result,) = run([data], tmp_path / "out", Obedient())
    order = [entry.docno for entry in read_run(tmp_path / "out" / "runs" / "core17" / "limrank-smol.run.gz")["301-og"]]
    assert order == ["d3", "d1", "d4", "d5", "d2"]  # by length; d3 and d1 tie
    # Forbidden are d3 and d4, which tie at the end: d3 goes from 1 to 5, and d4 from 3 to 4.
    assert result.p_mrr.per_query == {"301": pytest.approx(1 - 1 / 5), "302": pytest.approx(1 - 3 / 4)}
    assert result.original["AP@1000"] == pytest.approx((1 + (1 / 3 + 2 / 5) / 2) / 2)
    assert result.original["nDCG@5"] > result.changed["nDCG@5"] > 0
    _, (deaf,) = run([data], tmp_path / "deaf", Obedient(reads_instructions=False))
    assert deaf.p_mrr.mean == 0


def test_mteb_reads_the_same_prompts_and_finds_the_same_figures_without_judging_again(tmp_path):
    engine = Obedient()
    output = tmp_path / "out"
    _, (result,) = run([write_dataset(tmp_path / "core17")], output, engine, mteb=True)
    assert len(engine.prompts) == 4 * len(CANDIDATES)  # nothing twice
    expected = {
        RANK1.render(QUERIES[qid.split("-")[0]], f"{title} {text}".strip(), INSTRUCTIONS[qid]).text
        for qid in INSTRUCTIONS
        for title, text in DOCS.values()
    }
    assert set(engine.prompts) == expected
    (file,) = (output / "mteb" / "results").glob("limrank-ir__limrank-smol/*/Core17InstructionRetrieval.json")
    scores = json.loads(file.read_text())["scores"]["test"][0]
    assert scores["p-MRR"] == pytest.approx(result.p_mrr.mean, abs=1e-5)
    assert scores["og"]["map_at_1000"] == pytest.approx(result.original["AP@1000"], abs=1e-5)
    assert scores["og"]["ndcg_at_5"] == pytest.approx(result.original["nDCG@5"], abs=1e-5)
    assert scores["changed"]["ndcg_at_5"] == pytest.approx(result.changed["nDCG@5"], abs=1e-5)
    assert (file.parent / "model_meta.json").exists()


def test_a_second_call_resumes_and_other_settings_need_another_folder(tmp_path):
    data, output, engine = write_dataset(tmp_path / "core17"), tmp_path / "out", Obedient()
    _, first = run([data], output, engine)
    judged = len(engine.prompts)
    _, again = run([data], output, engine)
    assert len(engine.prompts) == judged and again[0].p_mrr == first[0].p_mrr
    for file in ("results.json", "results.md", "card.json", "runs/core17/limrank-smol.run.gz"):
        assert (output / file).exists()
    assert list(read_run(output / "runs" / "core17" / "limrank-smol.run.gz")) == list(INSTRUCTIONS)
    with pytest.raises(InputError, match="its results were made with -k 1000, not with -k 3"):
        run([data], output, engine, k=3)


def test_ctrl_c_says_what_is_saved(tmp_path):
    class Interrupted(Obedient):
        def read_labels(self, *args, **options):
            if len(self.prompts) > 2:
                raise KeyboardInterrupt
            yield from super().read_labels(*args, **options)

    engine = Interrupted()
    with pytest.raises(KeyboardInterrupt, match="run the same command again to resume"):
        engine.prompts = ["", "", ""]
        run([write_dataset(tmp_path / "core17")], tmp_path / "out", engine)


def test_a_shallow_k_is_noted_with_the_documents_that_it_hides(tmp_path, caplog):
    data = write_dataset(tmp_path / "news21")
    with caplog.at_level("WARNING", logger="limrank_ir"):
        _, (result,) = run([data], tmp_path / "out", Obedient(), k=2)
    assert "news21: the first 2 of 5 candidates: 1 of 2 changed documents (50%) are outside in both" in caplog.text
    assert (result.p_mrr.outside, result.p_mrr.per_query["301"]) == (1, 0.0)
    facts = json.loads((tmp_path / "out" / "results.json").read_text())["tasks"]["news21"]
    assert (facts["changed_documents_outside_both"], facts["measure"]) == (1, "nDCG@5")
    with pytest.raises(InputError, match="--mteb: mteb scores all 5 candidates; give -k 5"):
        run([data], tmp_path / "mteb", Obedient(), k=2, mteb=True)


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ({"qrel_diff": None}, "'qrel_diff' not found"),
        ({"top_ranked": None}, "2 of 2 queries lack a text or candidates"),
        ({"qrel_diff": [{"query-id": "999", "corpus-ids": ["d1"]}]}, r"1 of 1 queries in qrel_diff are not .*'999'"),
        ({"corpus": [{"_id": "d1", "title": "", "text": "x"}]}, "4 of 5 candidates are not in the corpus"),
    ],
)
def test_half_a_data_set_is_one_clear_line(tmp_path, configs, message):
    data = write_dataset(tmp_path / "robust04", **configs)
    with pytest.raises(InputError, match=message) as error:
        run([data], tmp_path / "out", Obedient())
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_the_hub_offline_a_name_that_is_none_and_a_folder_without_a_task(tmp_path):
    settings = FollowIrSettings()
    with pytest.raises(
        InputError,
        match=r"mteb/Core17InstructionRetrieval: cannot be loaded .*hf download mteb/Core17.* give that folder",
    ):
        read_tasks(["core17"], settings)
    with pytest.raises(InputError, match="core18: neither one of robust04, news21, core17 nor a folder"):
        read_tasks(["core18"], settings)
    with pytest.raises(InputError, match="which task is it"):
        read_tasks([str(write_dataset(tmp_path / "mine"))], settings)
    assert [official_name(f"mteb_{name.upper()}Instruction") for name in OFFICIAL] == list(OFFICIAL)


# Stand-ins


def stand_in(folder: Path, topics: list[dict], qrels: str, run: str = "") -> Path:
    lines = "".join(json.dumps(topic) + "\n" for topic in topics)
    return write_collection(folder, topics_jsonl=lines, qrels=qrels, **({"run_bm25": run} if run else {}))


def test_facets_are_pairs_in_both_directions_with_followirs_changed_set(tmp_path):
    topics = [
        {"qid": "1-a", "query": "files", "instruction": "copy", "group": "1"},
        {"qid": "1-b", "query": "files", "instruction": "delete", "group": "1"},
        {"qid": "2-a", "query": "cake", "instruction": "alone", "group": "2"},
    ]
    qrels = "1-a 0 d1 3\n1-a 0 d2 0\n1-a 0 d4 2\n1-b 0 d1 0\n1-b 0 d2 1\n1-b 0 d4 1\n2-a 0 d3 1\n"
    pool = "".join(f"{qid} Q0 {docno} 1 0 x\n" for qid in ("1-a", "1-b", "2-a") for docno in ("d1", "d2", "d4", "d5"))
    task = read_stand_in(stand_in(tmp_path / "facets", topics, qrels, pool), k=1000)
    assert {pair.name: pair.documents for pair in task.pairs} == {"1-a to 1-b": ("d1",), "1-b to 1-a": ("d2",)}
    assert task.candidates["1-a"] == task.candidates["1-b"] and len(task.candidates["1-a"]) == 4
    assert task.topics["1-b"].instruction == "delete" and "2-a" not in task.topics
    assert len(read_stand_in(tmp_path / "facets", k=2).candidates["1-a"]) == 2


TWINS = [
    {"qid": "1", "query": "copies a file", "satisfying": ["d1"], "violating": ["d2"]},
    {"qid": "2", "query": "deletes a file", "satisfying": ["d2"], "violating": ["d1"]},
]


def test_twins_want_each_others_worse_passage(tmp_path):
    qrels = "1 0 d1 2\n1 0 d2 0\n1 0 d4 1\n2 0 d2 2\n2 0 d1 0\n2 0 d4 1\n"
    folder = stand_in(tmp_path / "twins", TWINS, qrels)
    task = read_stand_in(folder, k=1000)
    assert [(pair.name, pair.documents) for pair in task.pairs] == [("1 to 2", ("d1",)), ("2 to 1", ("d2",))]
    assert task.preferences == [Preference("1", "d1", "d2", "2"), Preference("2", "d2", "d1", "1")]
    assert set(task.candidates["1"]) == {"d1", "d2", "d4"}
    _, (result,) = run([folder], tmp_path / "out", Obedient(reads_instructions=False))
    assert (result.right.right, result.right.twins, result.right.both) == (1, 1, 0)
    with pytest.raises(InputError, match="topic '1': violating 'd9' has no judgment"):
        read_stand_in(stand_in(tmp_path / "odd", [{**TWINS[0], "violating": ["d9"]}, TWINS[1]], qrels), k=10)
    with pytest.raises(InputError, match="topic '1': satisfying is not a list of docnos"):
        read_stand_in(stand_in(tmp_path / "text", [{**TWINS[0], "satisfying": "d1"}, TWINS[1]], qrels), k=10)


def test_an_exclusion_has_a_rival_instead_of_a_second_instruction(tmp_path):
    topics = [{"qid": "1", "query": "flour, excluding a cake with eggs", "formulation": "A - a"}]
    folder = stand_in(tmp_path / "exclusions", topics, "1 0 d5 1\n", "1 Q0 d3 1 9 x\n1 Q0 d5 2 8 x\n")
    task = read_stand_in(folder, k=1000)
    assert task.preferences == [Preference("1", "d5", "d3")] and not task.pairs
    _, results = run([folder], tmp_path / "out", Obedient())
    assert [(result.system, result.right.right) for result in results] == [("bm25", 0), ("limrank-smol", 0)]
    assert results[0].p_mrr is None and results[0].original == {}


def test_a_collection_in_which_nothing_changes_is_refused(tmp_path):
    with pytest.raises(InputError, match="no group, no satisfying and violating, and no formulation"):
        read_stand_in(write_collection(tmp_path / "plain"), k=10)
    with pytest.raises(InputError, match="no two topics share group and query"):
        read_stand_in(stand_in(tmp_path / "one" / "x", [{"qid": "1", "query": "a", "group": "1"}], "1 0 d1 1\n"), k=10)


def test_a_collection_with_a_readme_is_no_data_set_and_a_folder_of_collections_is_not_one(tmp_path):
    qrels = "1 0 d1 2\n1 0 d2 0\n2 0 d2 2\n2 0 d1 0\n"
    stand_in(tmp_path / "all" / "core17", TWINS, qrels)
    (tmp_path / "all" / "core17" / "README.md").write_text("# Twins\n")
    (task,) = read_tasks([str(tmp_path / "all" / "core17")], FollowIrSettings())
    assert task.preferences and task.measure is None
    stand_in(tmp_path / "all" / "other", TWINS, qrels)
    with pytest.raises(InputError, match="holds 2 collections; give them one by one"):
        read_tasks([str(tmp_path / "all")], FollowIrSettings())


def test_a_tie_is_not_right_and_twins_need_both():
    preferences = [Preference("1", "a", "b", "2"), Preference("2", "b", "a", "1"), Preference("3", "a", "b")]
    tied = {"a": 1.0, "b": 1.0}
    found = right_order(preferences, {"1": {"a": 1.0, "b": 0.0}, "2": {"b": 1.0}, "3": tied})
    assert (found.pairs, found.right, found.twins, found.both) == (3, 2, 1, 1)
    found = right_order(preferences, {"1": {"a": 1.0, "b": 0.0}, "2": {"a": 1.0}, "3": tied})
    assert (found.right, found.both) == (1, 0)


def test_the_official_averages_need_all_three_tasks():
    def result(task, p, ap, ndcg):
        means = {"AP@1000": ap, "nDCG@5": ndcg}
        return FollowIrResult(task, "x", PMrr(p, {}, 1, 0), None, means, means, None, None)

    results = [result("robust04", 0.3, 0.2, 0), result("news21", 0.0, 0, 0.5), result("core17", -0.06, 0.11, 0)]
    assert averages(results) == {"x": {"p-MRR": pytest.approx(0.08), "score": pytest.approx(0.27)}}
    assert averages(results[:2]) == {}


def test_a_larger_sample_contains_the_smaller_one():
    names = [f"q{number}" for number in range(30)]
    small, large = sample(names, 5, 1), sample(names, 12, 1)
    assert len(small) == 5 and set(small) < set(large) and large == sorted(large, key=names.index)
    assert sample(names, None, 1) == sample(names, 99, 1) == names


def test_the_command_prints_a_table_and_refuses_what_it_cannot_do(tmp_path):
    result = command("bench", "followir", str(tmp_path / "none"), "-o", str(tmp_path / "out"))
    assert result.exit_code == 2 and "neither one of robust04" in result.stderr
    result = command("bench", "followir", "core17", "-m", "dense", "--mteb", "-o", str(tmp_path / "out"))
    assert result.exit_code == 2 and "--mteb: dense is not a LimRank model" in result.stderr
    result = command("bench", "followir", "core17", "-m", "bm25", "-o", str(tmp_path / "out"))
    assert result.exit_code == 2 and "reads no instructions" in result.stderr


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the shared collections are not here")
def test_the_shared_stand_ins_are_what_the_guide_says():
    twins = read_stand_in(SHARED / "data" / "scifact-antonym", k=1000)
    assert (len(twins.pairs), len(twins.preferences), twins.count) == (46, 46, 214)
    exclusions = read_stand_in(SHARED / "data" / "negconstraint", k=1000)
    assert len(exclusions.preferences) == 198
    beside = [int(each.worse) == int(each.better) + 1 for each in exclusions.preferences]
    assert sum(beside) == 132  # the passage that the publisher numbers next: the topic with what is excluded
