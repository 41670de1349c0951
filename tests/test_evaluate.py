"""Evaluation: the same numbers as trec_eval, and notes on what is missing."""

import json
import math
import shlex
import subprocess
import sys

import ir_measures
import pytest
import pytrec_eval
from scipy import stats
from typer.testing import CliRunner

from limrank_ir.cli.app import app
from limrank_ir.errors import InputError, LimRankError
from limrank_ir.ranking.evaluate import compare_runs, evaluate, parse_measures

QRELS = """\
q1 0 a 2
q1 0 b 1
q1 0 c 0
q2 0 a 1
q2 0 d 1
q3 0 e 3
q4 0 a 1
q5 0 b 2
"""
FIRST = """\
q1 Q0 c 1 9 one
q1 Q0 a 2 8 one
q1 Q0 x 3 7 one
q2 Q0 d 1 2.5 one
q2 Q0 y 2 1.5 one
q2 Q0 a 3 0.5 one
q3 Q0 x 1 3 one
q3 Q0 e 2 2 one
q4 Q0 b 1 1 one
q5 Q0 b 1 1 one
"""
SECOND = FIRST.replace("q1 Q0 a 2 8", "q1 Q0 a 2 10").replace("q3 Q0 e 2 2", "q3 Q0 e 2 4")
THIRD = SECOND.replace("q4 Q0 b 1 1", "q4 Q0 a 1 1").replace("q5 Q0 b 1 1", "q5 Q0 c 1 1")
MEASURES = "nDCG@10 RR@10 R@2 AP P(rel=2)@1 Judged@3"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in {"qrels.txt": QRELS, "one.txt": FIRST, "two.txt": SECOND, "three.txt": THIRD}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_eval(*arguments):
    return CliRunner().invoke(app, ["eval", "--qrels", "qrels.txt", *arguments])


def table(text):
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def means(qrels, run, measures="nDCG@10"):
    (evaluation,) = evaluate(qrels, [run], parse_measures(measures))
    return evaluation


def test_the_results_equal_those_of_ir_measures(folder):
    ours = means("qrels.txt", "one.txt", MEASURES)
    theirs = ir_measures.calc(
        [ir_measures.parse_measure(name) for name in MEASURES.split()],
        list(ir_measures.read_trec_qrels("qrels.txt")),
        list(ir_measures.read_trec_run("one.txt")),
    )
    assert ours.mean == pytest.approx({str(m): value for m, value in theirs.aggregated.items()}, abs=1e-15)
    per_query = {(m.query_id, str(m.measure)): m.value for m in theirs.per_query}
    assert {(qid, name): value for qid, row in ours.per_query.items() for name, value in row.items()} == per_query
    assert len(per_query) == 5 * 6


def test_the_results_equal_those_of_pytrec_eval(folder):
    qrels, run = {}, {}
    for line in QRELS.splitlines():
        qid, _, docno, grade = line.split()
        qrels.setdefault(qid, {})[docno] = int(grade)
    for line in THIRD.splitlines():
        qid, _, docno, _, score, _ = line.split()
        run.setdefault(qid, {})[docno] = float(score)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recip_rank"}).evaluate(run)
    ours = means("qrels.txt", "three.txt", "nDCG@10 RR").per_query
    assert ours == {
        qid: {"nDCG@10": values["ndcg_cut_10"], "RR": values["recip_rank"]} for qid, values in theirs.items()
    }


def test_all_measures_break_ties_like_trec_eval(folder):
    """ir_measures computes RR@10 with another program, which breaks ties by ascending docno."""
    (folder / "ties.txt").write_text("q1 Q0 c 1 1 t\nq1 Q0 a 2 1 t\nq1 Q0 z 3 1.00000001 t\n")
    (folder / "few.txt").write_text("q1 0 a 1\n")
    assert means("few.txt", "ties.txt", "RR@10 RR").mean == {"RR@10": 1 / 3, "RR": 1 / 3}


def test_grades_below_0_remove_documents_from_the_ranking(folder):
    (folder / "signed.txt").write_text(QRELS + "q1 0 x -100\nq3 0 x -1\n")
    assert means("signed.txt", "one.txt", "RR").per_query["q3"]["RR"] == 1.0
    assert means("qrels.txt", "one.txt", "RR").per_query["q3"]["RR"] == 0.5


def test_queries_missing_from_a_run_count_as_0_and_are_reported(folder):
    (folder / "part.txt").write_text("q3 Q0 e 1 1 t\nq9 Q0 a 1 1 t\n")
    result = run_eval("part.txt", "-m", "RR nDCG@10 NumRet")
    assert table(result.stdout) == [{"run": "part.txt", "RR": "0.2000", "nDCG@10": "0.2000", "NumRet": "1.0000"}]
    assert result.stderr.splitlines() == [
        "note: part.txt: 4 of 5 queries of the qrels are missing and count as 0",
        "note: part.txt: 1 of 2 queries are not in the qrels and are left out",
    ]
    assert run_eval("part.txt", "-m", "RR", "--quiet").stderr == ""


def test_a_query_with_only_negative_grades_is_left_out_and_reported(folder):
    (folder / "qrels.txt").write_text("q1 0 a 1\nq2 0 d -1\n")
    result = run_eval("one.txt", "-m", "RR")
    assert table(result.stdout)[0]["RR"] == "0.5000"
    assert "note: 1 queries of qrels.txt have no grade of 0 or more and are left out\n" in result.stderr


def test_one_row_per_run_and_one_column_per_measure(folder):
    rows = table(run_eval("one.txt", "two.txt", "--measures", "RR,R@2, RR").stdout)
    assert rows == [
        {"run": "one.txt", "RR": "0.6000", "R@2": f"{(0.5 + 0.5 + 1 + 0 + 1) / 5:.4f}"},
        {"run": "two.txt", "RR": "0.8000", "R@2": f"{(0.5 + 0.5 + 1 + 0 + 1) / 5:.4f}"},
    ]


def test_runs_with_the_same_name_are_shown_with_their_paths(folder):
    (folder / "other").mkdir()
    (folder / "other" / "one.txt").write_text(SECOND)
    assert [row["run"] for row in table(run_eval("one.txt", "other/one.txt").stdout)] == ["one.txt", "other/one.txt"]


def test_per_query_prints_every_query_of_every_run_before_the_means(folder):
    queries, summary = run_eval("one.txt", "two.txt", "-m", "RR", "--per-query").stdout.split("\n\n")
    rows = table(queries)
    assert [(row["query"], row["run"]) for row in rows] == [
        (f"q{number}", run) for number in range(1, 6) for run in ("one.txt", "two.txt")
    ]
    assert [row["RR"] for row in rows if row["query"] == "q1"] == ["0.5000", "1.0000"]
    assert [row["RR"] for row in table(summary)] == ["0.6000", "0.8000"]


def comparisons(text):
    """The second table that --significance prints."""
    return table(text.partition("\n\n")[2])


def test_significance_compares_each_run_with_the_first_and_corrects_over_the_runs(folder):
    evaluations = evaluate("qrels.txt", ["one.txt", "two.txt", "three.txt"], parse_measures("RR"))
    one, two, three = ([row["RR"] for row in evaluation.per_query.values()] for evaluation in evaluations)
    raw = [stats.ttest_rel(one, two).pvalue, stats.ttest_rel(one, three).pvalue]
    smaller, larger = sorted(raw)
    holm = {smaller: min(1, 2 * smaller), larger: min(1, max(2 * smaller, larger))}
    found = compare_runs(evaluations, test="t")
    assert [by_measure["RR"].p for by_measure in found] == pytest.approx([holm[value] for value in raw])
    assert 0 < found[0]["RR"].p < 1
    printed = run_eval("one.txt", "two.txt", "three.txt", "-m", "RR", "--significance", "--test", "t")
    assert "note: paired t-tests, Holm's correction\n" in printed.stderr
    assert [(row["run"], row["measure"]) for row in comparisons(printed.stdout)] == [
        ("two.txt", "RR"),
        ("three.txt", "RR"),
    ]
    for row, by_measure in zip(comparisons(printed.stdout), found, strict=True):
        better = by_measure["RR"]
        assert row["difference"] == f"{better.difference:+.4f}" and row["p"] == f"{better.p:.4f}"
        assert row["95% CI"] == f"[{better.interval[0]:+.4f},{better.interval[1]:+.4f}]"
        assert row["W/T/L"] == f"{better.wins}/{better.ties}/{better.losses}" and row["d_z"] == f"{better.effect:+.2f}"


def test_the_test_and_the_correction_can_be_chosen_and_equivalence_is_tested(folder):
    runs = ("one.txt", "two.txt", "three.txt", "-m", "RR", "--significance")
    records = json.loads(
        run_eval(*runs, "--test", "wilcoxon", "--correction", "bh", "--equivalent", "3", "--json").stdout
    )
    assert records[0]["comparison"] is None
    for record in records[1:]:
        found = record["comparison"]["RR"]
        assert (found["test"], found["correction"], found["margin"]) == ("wilcoxon", "bh", 3)
        assert found["p"] == record["p"]["RR"] and found["finding"] == "same within 3"
    for row in comparisons(run_eval(*runs, "--equivalent", "3").stdout):
        assert float(row["p same within 3"].removeprefix("<")) < 0.05


def test_runs_that_do_not_differ_have_p_1(folder):
    (found,) = compare_runs(evaluate("qrels.txt", ["one.txt", "one.txt"], parse_measures("RR AP")))
    assert {measure: comparison.p for measure, comparison in found.items()} == {"RR": 1.0, "AP": 1.0}
    assert found["RR"].ties == found["RR"].queries == 5


@pytest.mark.filterwarnings("error")
def test_equal_differences_have_no_p_value_in_a_t_test(folder):
    (folder / "qrels.txt").write_text("".join(f"q{number} 0 a 1\n" for number in range(3)))
    for name, docnos in {"one.txt": "xa", "two.txt": "a", "three.txt": "a"}.items():
        rows = [f"q{number} Q0 {docno} 1 {-rank} t\n" for number in range(3) for rank, docno in enumerate(docnos)]
        (folder / name).write_text("".join(rows))
    with (folder / "three.txt").open("a") as file:
        file.write("q0 Q0 z 1 9 t\n")
    evaluations = evaluate("qrels.txt", ["one.txt", "two.txt", "three.txt"], parse_measures("RR@10"))
    assert [row["RR@10"] for row in evaluations[0].per_query.values()] == [0.5] * 3
    assert [row["RR@10"] for row in evaluations[1].per_query.values()] == [1.0] * 3
    alone = stats.ttest_rel([0.5] * 3, [row["RR@10"] for row in evaluations[2].per_query.values()]).pvalue
    found = compare_runs(evaluations, test="t")
    assert [by_measure["RR@10"].p for by_measure in found] == [None, pytest.approx(alone)]
    result = run_eval("one.txt", "two.txt", "-m", "RR@10", "--significance", "--test", "t")
    (row,) = comparisons(result.stdout)
    assert (row["difference"], row["95% CI"], row["p"]) == ("+0.5000", "?", "?")
    assert "note: two.txt: RR@10 has no p-value: all queries differ by the same amount\n" in result.stderr


def test_one_query_is_too_few_for_a_test(folder):
    (folder / "qrels.txt").write_text("q1 0 a 1\n")
    result = run_eval("one.txt", "two.txt", "-m", "RR", "--significance")
    assert "note: two.txt: RR has no p-value: one query is too few for a test\n" in result.stderr
    assert [row["p"] for row in comparisons(result.stdout)] == ["?"]
    records = json.loads(run_eval("one.txt", "two.txt", "-m", "RR", "--significance", "--json").stdout)
    assert records[1]["p"] == {"RR": None}


def test_json_holds_unrounded_values(folder):
    printed = run_eval("one.txt", "two.txt", "-m", "nDCG@10", "--json", "--per-query", "--significance").stdout
    records = json.loads(printed)
    assert [record["run"] for record in records] == ["one.txt", "two.txt"]
    values = [row["nDCG@10"] for row in records[0]["per_query"].values()]
    assert records[0]["mean"]["nDCG@10"] == pytest.approx(sum(values) / 5, abs=1e-15)
    assert values[2] == pytest.approx(1 / math.log2(3), abs=1e-15)
    assert (records[0]["p"], records[0]["missing"]) == (None, 0)
    assert 0 < records[1]["p"]["nDCG@10"] <= 1
    assert "per_query" not in json.loads(run_eval("one.txt", "--json").stdout)[0]


def test_measures_may_have_parameters_with_commas():
    assert [str(measure) for measure in parse_measures("P(rel=2, judged_only=True)@5, AP nDCG@10 AP")] == [
        "P(rel=2,judged_only=True)@5",
        "AP",
        "nDCG@10",
    ]


OTHER_NAMES = {
    "map": "AP",
    "ndcg": "nDCG",
    "ndcg_cut_10": "nDCG@10",
    "ndcg_cut.10": "nDCG@10",
    "recip_rank": "RR",
    "P_10": "P@10",
    "P.10": "P@10",
    "recall_100": "R@100",
    "map_cut_100": "AP@100",
    "Rprec": "Rprec",
    "bpref": "Bpref",
    "success_5": "Success@5",
    "num_rel_ret": "NumRet(rel=1)",
    "iprec_at_recall_0.10": "IPrec@0.1",
    "mrr@10": "RR@10",
    "MRR_10": "RR@10",
    "ndcg@20": "nDCG@20",
    "ndcg(dcg='exp-log2')@5": "nDCG(dcg='exp-log2')@5",
}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_of_trec_eval_and_pyterrier(name):
    assert [str(measure) for measure in parse_measures(name)] == [OTHER_NAMES[name]]


def test_names_of_different_tools_in_one_list():
    assert list(map(str, parse_measures("map,ndcg_cut_10 recip_rank nDCG@10"))) == ["AP", "nDCG@10", "RR"]


IMPOSSIBLE = ["P@0", "ndcg@0", "nDCG(cutoff=0)", "P_0", "ndcg_cut_0", "RR@0", "Judged@0", "P@-1", "P@True", "nDCG@1.0"]
IMPOSSIBLE += ["P(rel=0)@5", "P(rel=99999999999)@5", "IPrec@2", "Compat(p=0)", "INST", "nDCG@1000000000000000000000"]
IMPOSSIBLE += [
    "nDCG(gains={1:1000000000})@10",
    "P_10abc",
    "ndcg_cut",
    "ndcg_cut_10@5",
    "official",
    "all_trec",
    "recall",
]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_measure_is_refused_before_it_crashes_the_interpreter(name, capfd):
    with pytest.raises(InputError, match=r"^--measures: '"):
        parse_measures(name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("names", ["nDGC@10", "nDCG@ten", "nDCG(@10", "nDCG(foo=1)@10", "42", "", "import os", "P"])
def test_an_unknown_measure_is_one_line_with_examples(names):
    with pytest.raises(LimRankError, match=r"^--measures: .*examples: nDCG@10, RR@10"):
        parse_measures(names)


MISTAKES = {
    "measure": (["one.txt", "-m", "nDGC@10"], "--measures: 'nDGC@10' is not a measure; examples: nDCG@10, RR@10"),
    "program that is not installed": (["one.txt", "-m", "alpha_nDCG@10"], "no installed package computes 'alpha_nDCG"),
    "single run": (["one.txt", "--significance"], "--significance compares runs with the first one"),
    "test without runs to compare": (
        ["one.txt", "two.txt", "--test", "t"],
        "--test is for comparing runs; give --signif",
    ),
    "margin": (
        ["one.txt", "two.txt", "--significance", "--equivalent", "0"],
        "--equivalent 0: give a difference above 0",
    ),
    "missing run": (["one.txt", "nothing.txt"], "nothing.txt: no such file"),
    "bad run": (["one.txt", "qrels.txt"], "qrels.txt:1: 4 columns, not 6"),
    "cutoff": (["one.txt", "-m", "RR P@0"], "--measures: 'P@0' has cutoff 0; give a whole number from 1"),
    "bad qrels": (["one.txt", "--qrels", "one.txt"], "one.txt:1: 6 columns, not 4"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line_and_status_2(folder, arguments, message):
    result = run_eval(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("limrank: ") and message in line


def test_only_negative_grades_are_not_judgments(folder):
    (folder / "qrels.txt").write_text("q1 0 a -1\n")
    result = run_eval("one.txt")
    assert result.exit_code == 2
    assert result.stderr.startswith("limrank: qrels.txt: all grades are below 0")


@pytest.mark.parametrize("grade", ["200000000", "1000000000", "2147483648", "99999999999"])
def test_a_huge_grade_is_refused_before_it_needs_memory(folder, grade):
    """trec_eval would allocate memory for every grade below it."""
    (folder / "huge.txt").write_text(f"q1 0 a 1\nq3 0 e {grade}\n")
    command = f"ulimit -v 6000000; exec {shlex.quote(sys.executable)} -c"
    code = "import limrank_ir.ranking.evaluate as e; e.evaluate('huge.txt', ['one.txt'], e.parse_measures('nDCG@10'))"
    made = subprocess.run(["bash", "-c", f"{command} {shlex.quote(code)}"], capture_output=True, text=True)
    assert made.stderr.splitlines()[-1] == (
        f"limrank_ir.errors.InputError: huge.txt:2: grade {grade} is above 1000, and evaluation needs memory for every "
        "grade up to the highest; use smaller grades"
    )


def test_the_highest_grade_needs_little_memory(folder):
    (folder / "qrels.txt").write_text("q1 0 a 1000\nq1 0 c 3\n")
    (folder / "one.txt").write_text("q1 Q0 a 1 9 t\nq1 Q0 c 2 8 t\n")
    code = "import sys; from limrank_ir.ranking.evaluate import evaluate, parse_measures as p; "
    code += "print(evaluate('qrels.txt', ['one.txt'], p(sys.argv[1]))[0].mean)"
    command = f"ulimit -v 6000000; exec {shlex.join([sys.executable, '-c', code, 'nDCG@10'])}"
    made = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert made.stdout == "{'nDCG@10': 1.0}\n", made.stderr
