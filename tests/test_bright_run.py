"""``limrank bench bright`` from end to end, on a miniature of BRIGHT."""

from __future__ import annotations

import json

import pytest

from limrank_ir import InputError
from limrank_ir.benchmarks.bright import run as bright
from limrank_ir.benchmarks.bright.run import run_bright
from limrank_ir.benchmarks.bright.settings import BrightSettings
from limrank_ir.benchmarks.systems.system import System, Work
from limrank_ir.formats.trec import read_run
from limrank_ir.models import ModelOptions
from tests.bright_mini import BIOLOGY, EXAMPLES, EXPANDED, write_bright, write_json_runs, write_trec_runs
from tests.command_line import limrank as command
from tests.command_line import refused


class Reader:
    """A system whose score is the passage's length, and which remembers what it read."""

    def __init__(self, fails_at=None):
        self.pairs, self.calls, self.fails_at = [], 0, fails_at

    def system(self, weight=0.5):
        return System("reader", "reader", "reader", weight, None, lambda: self.score)

    def score(self, pairs, advance):
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        self.pairs += pairs
        advance(len(pairs))
        return [float(len(passage)) for _, passage, _ in pairs], Work(len(pairs), len(pairs), 1.0, 10, 0, 0)


@pytest.fixture
def mini(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bright(tmp_path / "data", rows_per_file=2)
    write_json_runs(tmp_path / "runs")
    return tmp_path


@pytest.fixture
def reader(monkeypatch):
    found = Reader()
    monkeypatch.setattr(bright, "read_systems", lambda names, options, store: [found.system()])
    return found


def settings(folder, **changes):
    given = {"tasks": ("aops", "biology"), "data": folder / "data", "first_stage": str(folder / "runs")}
    return BrightSettings(**{**given, "depths": (2, 3), **changes})


def test_the_reranker_reads_the_original_query_in_its_prompt_and_nothing_else(mini, reader):
    run_bright("reader", mini / "out", settings(mini))
    text = "\n".join(f"{query} {instruction}" for query, _, instruction in reader.pairs)
    assert "Find different but similar math problems to In how many ways can stairs be climbed?\n" in text
    assert "the concepts used to answer the question:\n\nWhy do moths fly to a lamp?\n" in text
    assert "HUMAN" not in text and not any(query in text for of in EXPANDED.values() for query in of.values())
    assert len({passage for _, passage, _ in reader.pairs} & set(BIOLOGY.values())) > 3

    reader.pairs.clear()
    run_bright("reader", mini / "plain", settings(mini, task_prompts=False))
    queries = {query for of in EXAMPLES.values() for _, query, gold, *_ in of if gold}
    assert {query for query, _, _ in reader.pairs} == queries


def test_figures_by_hand(mini, reader):
    report = run_bright("reader", mini / "out", settings(mini))
    found = {(r.task, r.variant, r.k): r.mean["nDCG@10"] for r in report.results}
    # aops, query a/1: p4 is excluded, so the candidates are p3, p1, p2, and the relevant ones p1 and p2. By length, p1
    # is the first of the top 2 (p3 and p1), and p2 and p1 are the first of the top 3.
    ideal = 1 + 0.6309297535714575
    assert found["aops", "first stage", None] == pytest.approx((0.6309297535714575 + 0.5) / ideal)
    assert found["aops", "alone", 2] == pytest.approx(1 / ideal)
    assert found["aops", "alone", 3] == pytest.approx(1.0)
    bounds = {(bound.task, bound.k): bound for bound in report.bounds}
    assert bounds["aops", 2].best == pytest.approx(1 / ideal) and bounds["aops", 3].best == 1.0
    assert bounds["aops", 2].random == pytest.approx(0.5)  # each of two places holds p1 half of the time
    # biology, query 1: the documents tie, and trec_eval puts the higher docno, the relevant one, first.
    assert found["biology", "first stage", None] == pytest.approx((0.6309297535714575 / ideal + 1.0) / 2)
    assert report.tasks["aops"]["removed"] == 1
    (averaged,) = [row for row in report.as_json()["averages"] if row["label"] == "first stage"]
    both = (found["aops", "first stage", None] + found["biology", "first stage", None]) / 2
    assert averaged["nDCG@10"] == pytest.approx(both)  # of tasks, not of queries
    text = (mini / "out" / "results.md").read_text()
    for part in ("| nDCG@10 | Bio | AoPS | Avg of 2 |", "top 2, fused", "do not compare", "top_k=10", "left out"):
        assert part in text
    assert json.loads((mini / "out" / "card.json").read_text())["settings"]["--first-stage"] == str(mini / "runs")


def test_excluded_documents_leave_before_the_cutoff(mini, reader):
    run_bright("reader", mini / "out", settings(mini, depths=(1, 2)))
    top = {entry.docno for entry in read_run(mini / "out/runs/aops/reader-k2.run.gz")["a/1"]}
    assert top == {"p3", "p1"}
    first = read_run(mini / "out/runs/aops/first-stage.run.gz")
    assert [entry.docno for entry in first["a/1"]] == ["p3", "p1", "p2"]


def test_runs_in_trec_and_json_format_give_the_same(mini, reader):
    write_trec_runs(mini / "trec")
    one = run_bright("reader", mini / "one", settings(mini))
    two = run_bright("reader", mini / "two", settings(mini, first_stage=str(mini / "trec" / "{task}" / "top100.txt")))
    assert [r.mean for r in one.results] == [r.mean for r in two.results]
    assert [r.per_query for r in one.results] == [r.per_query for r in two.results]


def test_files_as_in_brights_repository(mini, reader):
    run_bright("reader", mini / "out", settings(mini))
    place = mini / "out/official/biology_reader-k3_long_False"
    scores = json.loads((place / "score.json").read_text())
    assert scores["0"]["light/moth 1_0.txt"] == len(BIOLOGY["light/moth 1_0.txt"])  # the data set's id, with its space
    figures = json.loads((place / "results.json").read_text())
    assert list(figures)[:2] == ["NDCG@1", "NDCG@5"] and list(figures)[-2:] == ["P@100", "MRR"] and len(figures) == 25

    import pytrec_eval

    gold = {qid: dict.fromkeys(docnos, 1) for qid, _, docnos, *_ in EXAMPLES["biology"]}
    names = {"ndcg_cut.1,10", "map_cut.5", "recall.5", "P.10", "recip_rank"}
    official = pytrec_eval.RelevanceEvaluator(gold, names).evaluate(scores)
    for theirs, ours in (
        ("ndcg_cut_1", "NDCG@1"),
        ("ndcg_cut_10", "NDCG@10"),
        ("map_cut_5", "MAP@5"),
        ("recall_5", "Recall@5"),
        ("P_10", "P@10"),
        ("recip_rank", "MRR"),
    ):
        assert figures[ours] == round(sum(values[theirs] for values in official.values()) / len(official), 5)
    fused = read_run(mini / "out/runs/biology/reader-k3-fused.run.gz")
    assert {entry.tag for entries in fused.values() for entry in entries} == {"reader-3f"}


def test_an_interrupted_run_resumes(mini, monkeypatch):
    interrupted, again = Reader(fails_at=3), Reader()
    monkeypatch.setattr(bright, "read_systems", lambda names, options, store: [interrupted.system()])
    with pytest.raises(KeyboardInterrupt, match=r"saved in .*work; run the same command again to resume"):
        run_bright("reader", mini / "out", settings(mini))
    assert not (mini / "out" / "results.json").exists()
    monkeypatch.setattr(bright, "read_systems", lambda names, options, store: [again.system()])
    report = run_bright("reader", mini / "out", settings(mini))
    assert again.calls == 2 and len(report.results) == 2 + 2 * 2 * 2
    run_bright("reader", mini / "out", settings(mini))
    assert again.calls == 2  # nothing is measured twice
    with pytest.raises(InputError, match=r"made with --no-task-prompts False, not with --no-task-prompts True"):
        run_bright("reader", mini / "out", settings(mini, task_prompts=False))
    (mini / "runs/aops_bm25_long_False/score.json").write_text('{"a/1": {"p2": 3, "p1": 2}}')
    run_bright("reader", mini / "out", settings(mini))
    assert again.calls == 4  # only aops has other candidates


def test_the_weight_of_the_fusion(mini, reader):
    def order(folder):
        return [entry.docno for entry in read_run(mini / folder / "runs/biology/reader-k3-fused.run.gz")["0"]]

    run_bright("reader", mini / "all", settings(mini, fuse_weight=1.0))
    run_bright("reader", mini / "none", settings(mini, fuse_weight=0.0))
    run_bright("reader", mini / "off", settings(mini, fuse=False))
    assert order("none") == ["sleep/rem_0.txt", "light/moth%201_0.txt", "salt/empty_0.txt"]
    assert order("all")[0] == "light/moth%201_0.txt"
    assert not list((mini / "off").glob("runs/*/*fused*"))


def test_the_small_model_judges_each_pair_once(mini, limrank):
    models = ModelOptions(engine=limrank.engine)
    report = run_bright("limrank-smol", mini / "out", settings(mini, tasks=("aops",), models=models))
    judged = {r.k: r.work.judged for r in report.results if r.variant == "alone"}
    assert judged == {2: 2, 3: 1}  # the verdicts on the top 2 are in the store
    assert report.systems["limrank-smol"]["fusion_weight"] == 0.7


def test_the_command_prints_the_table(mini, reader):
    arguments = ("--data", "data", "--tasks", "aops", "--first-stage", "runs", "-k", 2, "--no-fuse")
    made = command("bench", "bright", *arguments, "-o", "out")
    assert made.exit_code == 0, made.stderr
    assert [line.split("\t") for line in made.stdout.splitlines()] == [
        ["nDCG@10", "AoPS", "Avg of 1"],
        ["first stage", "69.3", "69.34"],
        ["random order of the top 2", "50.0", "50.00"],
        ["reader, top 2", "61.3", "61.31"],
        ["best order of the top 2", "61.3", "61.31"],
    ]
    assert "note: wrote results.md, results.json, card.json, runs/, and official/ to out" in made.stderr
    assert json.loads((mini / "out" / "results.json").read_text())["settings"]["--model"] == "limrank-smol"


REFUSED = {
    "--tasks bio": "--tasks: 'bio' is no task of BRIGHT; choose from biology",
    "--version pro --tasks pony": "--tasks: BRIGHT pro has no pony; choose from",
    "--long --tasks aops": "--long: aops of BRIGHT v1 has no long documents; choose from biology",
    "--version pro --long --tasks biology": "--long: biology of BRIGHT pro has no long documents; use --version v1",
    "--tasks pony": "no Parquet file for pony (it has aops, biology); add examples/pony-*.parquet",
    "--expanded-queries gpt4 --tasks aops": "--expanded-queries: only BM25 reads them",
    "--first-stage nothing": "--first-stage nothing: no such file or folder",
    "--first-stage runs/aops_bm25_long_False/score.json": "one file, but there are several tasks",
    "--data nothing": "--data nothing: no such folder; give a copy of the data set xlangai/BRIGHT",
    "--adapter x --model a/b": "--adapter x: --model a/b must be a listed model or a folder",
}


@pytest.mark.parametrize("options", REFUSED)
def test_bad_input_is_one_line(mini, options):
    usual = {"--data": "data", "--first-stage": "runs", "--tasks": "aops,biology", "-o": "out"}
    words = options.split()
    for name, value in usual.items():
        if name not in words:
            words += [name, value]
    refused(command("bench", "bright", *words), REFUSED[options])
    assert not (mini / "out").exists()


def test_a_folder_for_the_results_is_needed(mini):
    refused(
        command("bench", "bright", "--tasks", "aops"), "no --output; name a folder for the results, or give --check"
    )
