"""BRIGHT's golden test: public runs, official judgments, and published values; and the bounds."""

from __future__ import annotations

import gzip
import random
import shutil

import pytest

from limrank_ir import EngineError
from limrank_ir.benchmarks.bright import check as checking
from limrank_ir.benchmarks.bright.bounds import best_order, random_order
from limrank_ir.benchmarks.bright.check import check, compare
from limrank_ir.benchmarks.bright.published import REASONIR
from tests.command_line import limrank as command
from tests.command_line import refused
from tests.conftest import SHARED

RUNS = SHARED / "data" / "bright-runs"
PUBLISHED = {  # ReasonIR top 100: nDCG@10, best order of the top 10, and of the top 100
    "biology": (43.49, 55.2, 86.6),
    "earth_science": (43.00, 50.8, 80.5),
    "economics": (32.65, 41.7, 68.5),
    "psychology": (39.57, 52.0, 82.7),
    "robotics": (20.82, 29.6, 61.7),
    "stackoverflow": (30.96, 44.7, 81.8),
    "sustainable_living": (27.34, 37.4, 73.9),
    "leetcode": (31.68, 44.0, 72.1),
    "pony": (19.55, 29.6, 87.0),
    "aops": (7.37, 9.8, 27.2),
    "theoremqa_questions": (33.93, 42.3, 63.9),
    "theoremqa_theorems": (36.68, 47.9, 72.7),
}
pytestmark = pytest.mark.filterwarnings("ignore")
shared = pytest.mark.skipif(not RUNS.is_dir(), reason="the public BRIGHT runs are not beside this repository")


def test_the_published_values_that_travel_with_the_package():
    assert {task: (one.ndcg, one.best_10, one.best_100) for task, one in REASONIR.items()} == PUBLISHED


@pytest.fixture(scope="module")
def found():
    return check(RUNS, RUNS, ())


@shared
def test_each_task_has_its_published_value_and_the_average_is_30_59(found):
    assert [one.task for one in found] == list(PUBLISHED)
    for one in found:
        assert (
            round(100 * one.ndcg, 2),
            round(100 * one.best[10], 1),
            round(100 * one.best[100], 1),
        ) == PUBLISHED[one.task]
        assert one.public and one.same
    compare(found)
    assert sum(one.queries for one in found) == 1384
    header, rows = checking.table(found)
    assert dict(zip(header, rows[-1], strict=True)) == {
        "task": "average of 12",
        "queries": "1384",
        "nDCG@10": "30.59",
        "published": "30.59",
        "best of 10": "40.4",
        "best of 20": "49.2",
        "best of 100": "71.5",
        "random of 10": "22.4",
        "random of 100": "4.9",
        "excluded": "",
    }


@shared
def test_excluded_ids_are_applied(found, tmp_path):
    (leetcode,) = [one for one in found if one.task == "leetcode"]
    assert leetcode.removed == 0  # the public run has none of them
    shutil.copy(RUNS / "leetcode.qrels.txt", tmp_path)
    with gzip.open(RUNS / "leetcode.exclude.txt.gz", "rt") as file:
        qid, docno = file.readline().split()
    lines = [f"{qid} Q0 {docno} 1 99.0 x\n"]
    with gzip.open(RUNS / "leetcode.reasonir-gpt4cot-top100.txt.gz", "rt") as file:
        lines += file.readlines()
    (tmp_path / "leetcode.other.txt").write_text("".join(lines))
    (without,) = check(tmp_path, tmp_path, ("leetcode",))
    shutil.copy(RUNS / "leetcode.exclude.txt.gz", tmp_path)
    (applied,) = check(tmp_path, tmp_path, ("leetcode",))
    assert without.removed is None and without.ndcg < leetcode.ndcg
    assert applied.removed == 1 and applied.ndcg == leetcode.ndcg and not applied.public


@shared
def test_other_values_are_an_error(tmp_path, monkeypatch):
    name = "pony.reasonir-gpt4cot-top100.txt"
    with gzip.open(RUNS / f"{name}.gz", "rt") as file:
        lines = file.readlines()
    shutil.copy(RUNS / "pony.qrels.txt", tmp_path)
    (tmp_path / name).write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    made = command("bench", "bright", "--check", ".", ".")
    assert made.exit_code == 0 and made.stdout.splitlines()[1].startswith("pony\t112\t19.55\t19.55\t29.6")
    assert "note: 1 of 1 tasks have published values, and all of these agree" in made.stderr
    monkeypatch.setitem(REASONIR, "pony", REASONIR["pony"].__class__(*(*_hashes(), 19.60, 29.6, 87.0)))
    with pytest.raises(
        EngineError, match=r"nDCG@10 is 19.55, published is 19.60, for the same files; check the versio"
    ):
        compare(check(tmp_path, tmp_path, ()))
    monkeypatch.undo()
    (tmp_path / name).write_text("".join([*lines[:-1], lines[-1].replace(lines[-1].split()[2], "unknown")]))
    compare(check(tmp_path, tmp_path, ()))  # other content, but the same values
    (tmp_path / name).write_text("".join(line for line in lines if " 1 " not in line))
    made = command("bench", "bright", "--check", tmp_path, tmp_path)
    assert made.exit_code == 2 and made.stdout.startswith("task\t")
    assert "published is 19.55; the file is named like the public run, but run or judgments have other" in made.stderr


def _hashes():
    return REASONIR["pony"].run, REASONIR["pony"].qrels


def test_files_that_do_not_fit_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aops.qrels.txt").write_text("q 0 d 1\nr 0 d 1\n")
    refused(
        command("bench", "bright", "--check", ".", "."), "--check .: no run for aops; add the file, or leave the ta"
    )
    (tmp_path / "aops.run.txt").write_text("q Q0 d 1 2 x\n")
    refused(command("bench", "bright", "--check", ".", "."), "aops.run.txt: 1 queries, but aops.qrels.txt has 2 ('r'")
    (tmp_path / "aops.run.txt").write_text("s Q0 d 1 2 x\n")
    refused(command("bench", "bright", "--check", ".", "."), "has none of the queries of aops.qrels.txt")
    refused(command("bench", "bright", "--check", ".", ".", "--tasks", "pony"), "--check .: no run for pony")
    refused(command("bench", "bright", "--check", "nothing", "."), "--check nothing: no such file or folder")
    (tmp_path / "empty").mkdir()
    refused(command("bench", "bright", "--check", "empty", "empty"), "no file is named like a task of BRIGHT")
    (tmp_path / "aops.run.txt").write_text("q Q0 e 1 3 x\nq Q0 d 1 2 x\nr Q0 d 1 2 x\n")
    made = command("bench", "bright", "--check", "aops.run.txt", "aops.qrels.txt", "--tasks", "aops")
    assert made.exit_code == 0 and made.stdout.splitlines()[1].split("\t")[:4] == ["aops", "2", "81.55", ""]


def test_the_expectation_of_a_random_order_is_the_mean_of_many_shuffles():
    shuffling = random.Random(3)
    candidates = {"q": [f"d{number}" for number in range(15)], "r": ["d1", "d2"], "s": []}
    qrels = {"q": {"d1": 1, "d7": 1, "d9": 1, "elsewhere": 1}, "r": {"d2": 2, "d1": 1}, "s": {"d1": 1}}
    values = []
    for _ in range(3000):
        shuffled = {qid: shuffling.sample(docnos, len(docnos)) for qid, docnos in candidates.items()}
        values.append(sum(_ndcg(shuffled[qid], grades) for qid, grades in qrels.items()) / 3)
    assert random_order(candidates, qrels) == pytest.approx(sum(values) / len(values), abs=0.01)
    assert max(values) <= best_order(candidates, qrels) + 1e-12


def _ndcg(docnos, grades):
    import math

    ideal = sum(grade / math.log2(n + 2) for n, grade in enumerate(sorted(grades.values(), reverse=True)[:10]))
    return sum(grades.get(docno, 0) / math.log2(n + 2) for n, docno in enumerate(docnos[:10])) / ideal
