"""`rerank_dataset`: rows of a Ray dataset with the verdicts of a single process, by query, kept in a store."""

from __future__ import annotations

import os
from collections import defaultdict

import pytest

from limrank_ir import InputError
from limrank_ir.formats.trec import read_run
from limrank_ir.ray import COLUMNS, Workers, rerank_dataset, write_run
from limrank_ir.store import VerdictStore

from .command_line import one_thread
from .engines import reading

ONE = Workers(count=1, cpus=1)
TEXTS = ("shutil.copy(src, dst) copies a file.", "os.remove(path) removes a file.", "A cake needs flour.")
# Queries are not next to each other; the third is in another language, and one text has no instruction.
ROWS = [
    {"qid": f"q{q}", "docno": f"d{d}", "query": query, "text": text, "told": told}
    for d, text in enumerate(TEXTS)
    for q, (query, told) in enumerate([("copy a file", None), ("delete a file", "code only"), ("Rührkuchen", None)])
]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    # More cores than there are: the worker of a dataset that failed keeps its own while its exception is kept.
    ray.init(num_cpus=6, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.default_hash_shuffle_parallelism = 2
    with one_thread():
        yield
    ray.shutdown()


class Stub:
    """Scores a prompt by its length, and notes with how many others of its query it came."""

    identity = "stub"

    def __init__(self, folder):
        self.folder = folder

    def read_labels(self, prompts, labels, *, think, budget, done=frozenset()):
        for index, prompt in enumerate(prompts):
            if index not in done:
                together = sum(other.prefix == prompt.prefix for other in prompts)
                with (self.folder / "asked").open("a") as file:
                    file.write(f"{together}\n")
                yield [(index, reading(float(len(prompt.prefix + prompt.passage))))]

    def asked(self):
        return list(map(int, (self.folder / "asked").read_text().split()))


def dataset(rows=ROWS, blocks=3):
    import ray

    return ray.data.from_items(rows, override_num_blocks=blocks)


def test_rows_come_back_with_the_verdicts_of_a_single_process(tmp_path, limrank):
    judged = rerank_dataset(dataset(), instruction="told", workers=ONE)
    judged.write_parquet(str(tmp_path / "parts"))
    import ray

    saved = ray.data.read_parquet(str(tmp_path / "parts"))
    rows = {(row["qid"], row["docno"]): row for row in saved.take_all()}
    pairs = [(row["query"], row["text"], row["told"]) for row in ROWS]
    keys = limrank.keys([limrank.prompt(*pair) for pair in pairs])
    for row, verdict, key in zip(ROWS, limrank.judge(pairs), keys, strict=True):
        found = rows[row["qid"], row["docno"]]
        assert {name: found[name] for name in row} == row and set(found) == {*row, *COLUMNS}
        assert found["key"] == key.hex()
        assert found["score"] == pytest.approx(verdict.log_odds, abs=1e-4)
        assert found["probability"] == pytest.approx(verdict.probability, abs=1e-4)
        assert (found["finish"], found["reasoning"], found["tokens"]) == ("verdict", None, verdict.prompt_tokens)

    write_run(tmp_path / "run.txt", saved)
    run = read_run(tmp_path / "run.txt")
    assert list(run) == ["q0", "q1", "q2"]
    assert all(entry.score == rows[entry.qid, entry.docno]["score"] for found in run.values() for entry in found)


def test_a_querys_rows_are_judged_together_and_a_store_saves_the_second_time(tmp_path):
    stub = Stub(tmp_path)
    judged = rerank_dataset(dataset(), workers=ONE, engine=stub, store=tmp_path / "store.db")
    first = {row["key"]: row["score"] for row in judged.take_all()}
    assert stub.asked() == [len(TEXTS)] * len(ROWS)
    assert len(VerdictStore(tmp_path / "store.db")) == len(ROWS) == len(first)

    more = [*ROWS, {**ROWS[0], "docno": "d9", "text": "A new passage."}]
    second = rerank_dataset(dataset(more), workers=ONE, engine=stub, store=tmp_path / "store.db").take_all()
    assert len(stub.asked()) == len(ROWS) + 1
    scores = {row["key"]: row["score"] for row in second}
    assert len(scores) == len(more) and first.items() <= scores.items()


def test_columns_that_are_missing_or_taken_are_an_error_that_says_so(tmp_path):
    with pytest.raises(Exception, match=r"no column 'body', but 'qid', 'docno', 'query'"):
        rerank_dataset(dataset(), passage="body", workers=ONE, engine=Stub(tmp_path)).take_all()
    rows = [{**row, "score": 1.5} for row in ROWS]
    with pytest.raises(Exception, match=r"a column 'score' already; give prefix="):
        rerank_dataset(dataset(rows), workers=ONE, engine=Stub(tmp_path)).take_all()
    judged = rerank_dataset(dataset(rows), workers=ONE, engine=Stub(tmp_path), prefix="limrank_").take_all()
    by_query = defaultdict(set)
    for row in judged:
        assert row["score"] == 1.5
        by_query[row["qid"]].add(row["limrank_score"])
    assert [len(scores) for scores in by_query.values()] == [len(TEXTS)] * 3


def test_wrong_options_and_stores_are_refused_before_anything_runs(tmp_path):
    (tmp_path / "note.txt").write_text("not a database, " * 100)
    with pytest.raises(InputError, match=r"note\.txt"):
        rerank_dataset(dataset(), workers=ONE, store=tmp_path / "note.txt")
    with pytest.raises(InputError, match="unknown option 'thinks'"):
        rerank_dataset(dataset(), thinks="never")
