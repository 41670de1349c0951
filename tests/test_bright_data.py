"""BRIGHT's data: layouts, the hub's cache, half a data set, runs that do not fit, and streaming."""

from __future__ import annotations

import json
import shutil

import pytest

from limrank_ir import InputError
from limrank_ir.benchmarks import parquet
from limrank_ir.benchmarks.bright.data import docnos, iter_documents, read_documents, read_tasks
from limrank_ir.benchmarks.bright.first_stage import check_documents, check_run, read_scores, top
from limrank_ir.benchmarks.bright.task_files import task_file
from limrank_ir.benchmarks.bright.versions import TASKS, VERSIONS
from tests.bright_mini import AOPS, BIOLOGY, RUNS, write_bright, write_pro, write_rows

BOTH = ("biology", "aops")


def read(folder, *tasks, version="v1", long=False, expansion=None):
    return read_tasks(VERSIONS[version], tasks or BOTH, folder, long=long, expansion=expansion)


def test_queries_judgments_and_excluded_ids(tmp_path):
    biology, aops = read(write_bright(tmp_path, rows_per_file=2))
    assert biology.queries["0"] == "Why do moths fly to a lamp?" == biology.expanded["0"]
    assert biology.qrels["0"] == {"light/moth%201_0.txt": 1, "light/moth_2_0.txt": 1}
    assert biology.excluded == {"0": set(), "1": set()}  # "N/A" means none
    assert aops.excluded == {"a/1": {"p4"}} and list(aops.queries) == ["a/1"] and aops.unjudged == {"a/2"}
    assert len(biology.documents) == 3 and biology.count == 6
    assert biology.renamed == {"light/moth%201_0.txt": "light/moth 1_0.txt"}
    assert any("queries without a relevant document are left out" in note for note in aops.notes)
    assert any("mteb counts 111 and 188,002" in note for note in aops.notes)


def test_expanded_queries_and_long_documents(tmp_path):
    folder = write_bright(tmp_path)
    (expanded,) = read(folder, "biology", expansion="gpt4")
    assert expanded.queries["0"] == "Why do moths fly to a lamp?" and expanded.expanded["0"].startswith("Phototaxis")
    (long,) = read(folder, "biology", long=True)
    assert long.qrels == {"0": {"light/moth": 1}, "1": {"sleep/rem": 1}} and docnos(long) == {"light/moth", "sleep/rem"}
    with pytest.raises(InputError, match=r"llama3-70b_reason: no Parquet file for biology; add llama3-70b_reason/biol"):
        read(folder, "biology", expansion="llama3-70b")


def test_bright_pro_in_the_layout_of_mteb(tmp_path):
    (pro,) = read(write_pro(tmp_path), "biology", version="pro")
    (usual,) = read(write_bright(tmp_path / "v1"), "biology")
    assert (pro.queries, pro.qrels) == (usual.queries, usual.qrels)
    assert list(iter_documents(pro)) == list(iter_documents(usual))
    with pytest.raises(
        InputError, match=r"has neither economics/ nor BrightProEconomicsRetrieval/, so economics is mis"
    ):
        read(tmp_path, "economics", version="pro")
    with pytest.raises(InputError, match="BRIGHT pro has none"):
        read(tmp_path, "biology", version="pro", expansion="gpt4")


def test_the_pinned_revision_is_read_from_the_hubs_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "a75a0eb483f6a5233a6efc2d63d71540a4443dfb"
    missing = (
        r"^xlangai/BRIGHT: examples and documents of aops: not on this machine, and downloading failed \(.*\); "
        rf"where there is a network, run `hf download xlangai/BRIGHT --repo-type dataset --revision {commit} "
        r"--local-dir BRIGHT`, and give --data BRIGHT$"
    )
    with pytest.raises(InputError, match=missing):
        read(None, "aops")
    snapshot = tmp_path / "datasets--xlangai--BRIGHT" / "snapshots" / commit
    write_bright(snapshot)
    (aops,) = read(None, "aops")
    assert aops.source == f"xlangai/BRIGHT@{commit}" and docnos(aops) == set(AOPS)
    shutil.rmtree(snapshot / "documents")
    with pytest.raises(InputError, match=r"the copy in the hub's cache has no documents/aops-\*.parquet"):
        read(None, "aops")


def test_only_the_wanted_documents_are_kept(tmp_path, monkeypatch):
    (data,) = read(write_bright(tmp_path, rows_per_file=1), "biology")
    monkeypatch.setattr(parquet, "ROWS", 1)
    found = read_documents(data, {"light/moth%201_0.txt", "salt/empty_0.txt"})
    assert {docno: passage.text for docno, passage in found.items()} == {
        "light/moth%201_0.txt": BIOLOGY["light/moth 1_0.txt"],
        "salt/empty_0.txt": " ",
    }
    stream = iter_documents(data)
    next(stream)
    for file in data.documents[1:]:  # what comes later is not read yet
        file.unlink()
    with pytest.raises(InputError, match="not a Parquet file"):
        list(stream)


def test_half_a_data_set_is_one_line(tmp_path):
    folder = write_bright(tmp_path / "data", rows_per_file=2)
    (folder / "documents/biology-00001-of-00003.parquet").unlink()
    with pytest.raises(
        InputError, match=r"documents: 2 files for biology .* not all its shards; copy the folder again"
    ):
        read(folder)
    for file in folder.glob("documents/biology*"):
        file.unlink()
    write_rows(folder / "documents", "biology", [{"id": "other", "content": "text"}])
    with pytest.raises(InputError, match="none of the 3 relevant documents of biology is in it"):
        read(folder)
    write_rows(folder / "documents", "biology", [{"id": "sleep/rem_1.txt", "content": "text"}])
    assert any("2 of 3 relevant documents are not in the corpus" in note for note in read(folder, "biology")[0].notes)
    write_rows(folder / "documents", "biology", [{"_id": "sleep/rem_1.txt", "content": "text"}])
    with pytest.raises(InputError, match=r"no column id \(it has _id, content\)"):
        read(folder)
    (folder / "documents/biology-00000-of-00001.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(InputError, match=r"not a Parquet file \(.*\); copy it again"):
        read(folder)
    row = {"query": "q", "id": "1", "excluded_ids": ["p1"], "gold_ids": ["p1"], "gold_ids_long": ["N/A"]}
    write_rows(folder / "examples", "aops", [row])
    with pytest.raises(InputError, match=r"query '1' excludes its gold documents \('p1'\)"):
        read(folder, "aops")
    write_rows(folder / "examples", "aops", [{**row, "excluded_ids": ["N/A"]}] * 2)
    with pytest.raises(InputError, match="two queries have the id '1'"):
        read(folder, "aops")


def test_runs_that_do_not_fit(tmp_path):
    _, aops = read(write_bright(tmp_path))
    run = {qid: list(scores.items()) for qid, scores in RUNS["aops"].items()}
    check_run("r", run, aops)  # a/2 is a query of the task, though not judged
    with pytest.raises(InputError, match=r"r: 3 queries, where aops has 1: 1 more \('b'\); .* 194 or 205 queries"):
        check_run("r", {**run, "b": []}, aops)
    with pytest.raises(InputError, match="r: has none of the queries of aops; is it a run of this task"):
        check_run("r", {"b": []}, aops)
    biology, _ = read(tmp_path)
    with pytest.raises(InputError, match=r"r: 1 queries, where biology has 2: 1 fewer \('1'\)"):
        check_run("r", {"0": []}, biology)
    with pytest.raises(
        InputError, match=r"r: 1 of 2 documents are not in the corpus of aops \('p9'\); give a run over"
    ):
        check_documents("r", {"a/1": [("p1", 1.0), ("p9", 1.0)]}, aops)


def test_excluded_ids_are_removed_before_the_cutoff_and_ties_are_trec_evals():
    run = {"q": [("a", 1.0), ("b", 1.0 + 1e-9), ("c", 1.0), ("d", 3.0)], "r": [("d", 1.0)]}
    assert top(run, {"q": {"d"}, "r": {"d"}}, 2) == {"q": [("c", 1.0), ("b", 1.0 + 1e-9)]}


def test_a_json_run_must_be_one(tmp_path):
    file = tmp_path / "score.json"
    for text, message in (
        ("{", "malformed JSON"),
        ("{}", "empty run"),
        ('{"q": [1]}', "query 'q': not {docno: score}"),
        ('{"q": {"d": NaN}}', "finite"),
        ('{"q": {"d": true}}', "query 'q'"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_scores(file)
    file.write_text(json.dumps({"q": {"a b": 1, "c": 2}}, indent=1))
    assert read_scores(file) == {"q": [("c", 2.0), ("a%20b", 1.0)]}


def test_files_of_a_task_are_found_as_projects_publish_them(tmp_path):
    names = (
        "biology_bm25_long_False/score.json",
        "biology_bm25_long_False/results.json",
        "aops/reasonir_gpt4cot_top100.txt",
        "r2med_Biology/top100.txt",
        "theoremqa-questions.run.gz",
        "qrels.bright-theoremqa-questions.txt",
        "qrels.bright-theoremqa-questions.fixed.txt",
        "exclude.bright-theoremqa-questions.txt",
        "README-pony.md",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    def found(task, kind):
        file = task_file("--x", tmp_path, task, kind)
        return None if file is None else str(file.relative_to(tmp_path))

    assert found("biology", "run") == names[0] and found("biology", "qrels") is None
    assert found("aops", "run") == names[2] and found("pony", "run") is None
    assert found("theoremqa_questions", "run") == names[4]
    assert found("theoremqa_questions", "qrels") == names[5]
    assert found("theoremqa_questions", "excluded") == names[7]
    assert task_file("--x", tmp_path / "qrels.bright-{task}.fixed.txt", "theoremqa_questions", "qrels").name == names[6]
    (tmp_path / "aops/other.txt").write_text("")
    with pytest.raises(
        InputError, match=r"2 files for aops \(aops/other.txt, aops/reason.*\); say which with a pattern"
    ):
        found("aops", "run")
    with pytest.raises(InputError, match=r"no file .*aops\.json; check the pattern"):
        task_file("--x", tmp_path / "{task}.json", "aops", "run")


def test_every_task_of_every_version_has_a_source_a_size_and_a_prompt():
    from limrank_ir.prompts.bright import BRIGHT_QUERY_PROMPTS

    assert set(TASKS) == set(BRIGHT_QUERY_PROMPTS)
    assert {name: len(version.sizes) for name, version in VERSIONS.items()} == {"v1": 12, "v1.1": 12, "pro": 7}
    for version in VERSIONS.values():
        assert version.sources.keys() == version.sizes.keys() <= set(TASKS)
        assert all(len(revision) == 40 for _, revision in version.sources.values())
    assert sum(size.queries for size in VERSIONS["v1"].sizes.values()) == 1384
    assert sum(size.long is not None for size in VERSIONS["v1"].sizes.values()) == 8


def test_sources_and_sizes_are_those_of_mteb():
    tasks = pytest.importorskip("mteb.tasks.retrieval.eng")
    for name, version in VERSIONS.items():
        for task, (repository, revision) in version.sources.items():
            camel = "".join(word.capitalize() for word in task.split("_")).replace("Theoremqa", "TheoremQA")
            prefix = {"v1": None, "v1.1": "Bright", "pro": "BrightPro"}[name]
            theirs = tasks.BrightRetrieval if prefix is None else getattr(tasks, f"{prefix}{camel}Retrieval")
            assert theirs.metadata.dataset == {"path": repository, "revision": revision}
            statistics = theirs.metadata.descriptive_stats["standard"]
            if prefix is None:
                statistics = statistics["hf_subset_descriptive_stats"][task]
            size = version.sizes[task]
            assert statistics["num_samples"] == size.queries + size.documents
            if name == "v1.1" and size.long:
                long = getattr(tasks, f"Bright{camel}LongRetrieval").metadata.descriptive_stats["long"]
                assert long["num_samples"] == size.queries + size.long
