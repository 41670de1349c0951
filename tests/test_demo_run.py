"""``limrank demo``, small: real collection, real BM25, real model, real page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import ir_measures
import pytest
from ir_measures import RR, nDCG

from limrank_ir import LimRank, LimRankError, fuse
from limrank_ir.demo import run
from limrank_ir.demo.collection import qrels, queries
from limrank_ir.demo.run import run_demo
from limrank_ir.formats.trec import read_run
from limrank_ir.models import MODELS
from tests import tiny

RUNS = ("bm25", "bm25-limrank-smol", "bm25+limrank-smol")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The command as a user types it, on three queries, in another process because PISA bypasses Python's streams."""
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "limrank_ir", "demo", "--queries", "3", "--k", "6", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "100"})
    return out, done


def test_it_prints_all_systems_and_three_queries(demo):
    out, done = demo
    for part in ("nDCG@10", "RR@10", "BM25 >> limrank-smol", "BM25 + limrank-smol", "pairs/s", "answers the question"):
        assert part in done.stdout
    for _, query in queries()[:3]:
        assert query[:40] in done.stdout
    assert str(out / "report.html") in done.stdout
    assert "[info]" not in done.stdout + done.stderr and "Storing terms" not in done.stderr  # PISA's noise


def test_runs_and_figures_agree(demo):
    out, done = demo
    table = re.findall(r"(BM25(?: (?:>>|\+) limrank-smol)?)\s*│\s*([\d.]+)\s*│\s*([\d.]+)", done.stdout)
    assert [row[0] for row in table] == ["BM25", "BM25 >> limrank-smol", "BM25 + limrank-smol"]
    asked = dict(queries()[:3])
    judged = [ir_measures.Qrel(qid, d, g) for qid, row in qrels().items() if qid in asked for d, g in row.items()]
    for (_, ndcg, rr), name in zip(table, RUNS, strict=True):
        run = read_run(out / f"{name}.run")
        assert set(run) == set(asked) and all(len(rows) == 6 for rows in run.values())
        scored = [ir_measures.ScoredDoc(qid, row.docno, row.score) for qid, rows in run.items() for row in rows]
        values = ir_measures.calc_aggregate([nDCG @ 10, RR @ 10], judged, scored)
        assert float(ndcg) == pytest.approx(values[nDCG @ 10], abs=6e-4)
        assert float(rr) == pytest.approx(values[RR @ 10], abs=6e-4)
    first, second, fused = (read_run(out / f"{name}.run") for name in RUNS)
    for qid in asked:
        scores = [{row.docno: row.score for row in run[qid]} for run in (second, first, fused)]
        assert scores[0].keys() == scores[1].keys() == scores[2].keys()
        odds, bm25, both = ([score[docno] for docno in scores[0]] for score in scores)
        weight = MODELS["limrank-smol"].fuse
        expected = fuse({"bm25": bm25, "limrank": odds}, {"bm25": 1 - weight, "limrank": weight})
        assert both == pytest.approx(expected.tolist(), abs=1e-4)


def test_the_report_contains_every_query_and_ranking(demo):
    out, _ = demo
    page = (out / "report.html").read_text(encoding="utf-8")
    for qid, _ in queries()[:3]:
        assert qid in page
    for rows in read_run(out / "bm25+limrank-smol.run").values():
        for row in rows:
            assert f'data-d="{row.docno}"' in page
    assert "limrank demo" in page and "torch" in page


def test_bad_folders_and_options_fail_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LimRankError, match="is a file, not a folder"):
        run_demo(tmp_path / "file" / "x")
    with pytest.raises(LimRankError, match="must be at least 1"):
        run_demo(tmp_path, k=0)
    assert json.dumps([entry.name for entry in tmp_path.iterdir()]) == '["file"]'


def test_an_unknown_model_fails_before_indexing(tmp_path, capsys):
    with pytest.raises(LimRankError, match=r"unknown model 'limrank-smal'.*did you mean limrank-smol\?"):
        run_demo(tmp_path, model="limrank-smal")
    assert capsys.readouterr().err == ""


def test_a_slow_machine_gets_fewer_queries(tmp_path, smol_folder, monkeypatch):
    folder = tiny.make(tmp_path / "tiny", smol_folder)
    limrank = LimRank(str(folder), prompt_format="rank1", think="never", device="cpu")
    texts = {f"d{n}": f"{query} answered {n} times" for n, (_, query) in enumerate(queries()[:9])}
    index = run._index(texts, tmp_path / "index", 3)
    asked = dict(queries()[:30])
    assert run._in_time(asked, limrank, index, texts, 3) == asked
    monkeypatch.setattr(run, "SECONDS", 0)
    assert run._in_time(asked, limrank, index, texts, 3) == dict(queries()[: run.FEWEST_QUERIES])
