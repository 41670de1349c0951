"""The head of a run: what repro_eval's MetadataHandler reads in it, and that the run itself stays as it is."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from limrank_ir.benchmarks.energy import Usage
from limrank_ir.benchmarks.heads.ir_metadata import metadata, write_heads
from limrank_ir.cli.app import app
from limrank_ir.errors import InputError
from limrank_ir.formats.trec import iter_run, read_run, write_run

CARD = {
    "environment": {
        "command": "limrank bench suite dl19 -o out",
        "commit": "abc",
        "hardware": "NVIDIA H100",
        "processor": "AMD EPYC, 2 cores",
        "instruction sets": "avx2, avx512f",
        "memory": "23.5 GB",
        "torch": "2.13.0",
    },
    "settings": {"-k": 100, "--queries": None},
    "data": {"dl19": "sha256:0"},
    "systems": {
        "smol": {"name": "limrank-smol", "identity": "weights # 1", "adapter_hash": None, "fusion_weight": 0.7}
    },
    "usage": {"started": "2026-11-28T15:44:40+00:00", "seconds": 12.34, "joules": {"cpu": 300.0}, "energy": "measured"},
}
RUN = {"q1": [("d1", 2.0), ("d2", 1.0)], "#2": [("d2", 0.5)]}


@pytest.fixture(scope="module")
def handler():
    """Their reader. It imports pkg_resources for its other functions, which setuptools has no more."""
    pytest.importorskip("repro_eval", reason="repro-eval is not installed: it comes with limrank-ir[test]")
    missing = find_spec("pkg_resources") is None
    if missing:
        sys.modules["pkg_resources"] = ModuleType("pkg_resources")
    try:
        from repro_eval.metadata import MetadataHandler
    finally:
        if missing:
            del sys.modules["pkg_resources"]
    return MetadataHandler


def test_repro_eval_reads_the_head_and_the_run(handler, tmp_path):
    run = tmp_path / "smol.run"
    write_run(run, RUN, tag="smol")
    write_heads([run], CARD, collection="dl19", measures=["nDCG@10"])
    found = handler.read_metadata(run)
    assert found == metadata(CARD, "smol", collection="dl19", measures=["nDCG@10"])
    assert found["tag"] == "smol" and found["schema-version"] == 0.1
    assert {"platform", "research goal", "implementation", "method", "actor", "data"} < found.keys()
    assert found["platform"]["hardware"]["cpu"]["model"] == "AMD EPYC, 2 cores"
    assert found["platform"]["hardware"]["gpu"] == {"model": "NVIDIA H100"}
    assert found["implementation"]["source"] == {"lang": ["python"], "commit": "abc"}
    assert found["method"]["settings"] == {"-k": 100}
    assert found["method"]["retrieval"][0]["identity"] == "weights # 1"
    assert found["data"]["test collection"] == {"name": "dl19"}
    assert found["resources"]["cpu"] == {"energy used system": "300.0 J"}
    assert found["resources"]["runtime"]["wall clock"] == "12.3 s"
    stripped = handler.strip_metadata(run)
    assert stripped["q1"] == {"d1": 2.0, "d2": 1.0}


def test_a_second_head_replaces_the_first(tmp_path):
    run = tmp_path / "smol.run.gz"
    write_run(run, RUN, tag="smol")
    before = list(iter_run(run))
    write_heads([run], CARD)
    once = run.read_bytes()
    write_heads([run], {**CARD, "settings": {}})
    assert list(iter_run(run)) == before
    write_heads([run], CARD)
    assert list(iter_run(run)) == before and len(run.read_bytes()) == len(once)


def test_an_empty_run_gets_no_head(tmp_path):
    (tmp_path / "empty.run").write_text("\n")
    with pytest.raises(InputError, match="empty run; a head needs its tag"):
        write_heads([tmp_path / "empty.run"], CARD)


COLUMN = st.text(st.characters(exclude_categories=("Cs", "Zs", "Cc"), exclude_characters="\ufeff"), min_size=1)
SCORED = st.dictionaries(COLUMN, st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=4)
TEXTS = st.dictionaries(st.text(max_size=9), st.text(max_size=30), max_size=3)


@given(st.dictionaries(COLUMN, SCORED, min_size=1, max_size=3), TEXTS)
@example({"q": {"d": 1.0}}, {"a line break to some": "\x85", "\u2028": "ü\u2029"})
@settings(max_examples=60, deadline=None)
def test_a_run_with_a_head_reads_equal_whatever_is_in_the_card(handler, scores, texts):
    card = {**CARD, "settings": texts, "usage": Usage().__dict__}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "a.run"
        write_run(run, {qid: scored.items() for qid, scored in scores.items()}, tag="a")
        before = read_run(run)
        write_heads([run], card)
        assert read_run(run) == before
        assert handler.read_metadata(run) == metadata(card, "a")


def bench(*arguments):
    return CliRunner().invoke(app, ["bench", "ir-metadata", *map(str, arguments)])


def test_the_command_writes_the_heads_of_a_folders_runs(handler, tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    one, other = tmp_path / "runs" / "bm25.run", tmp_path / "runs" / "dl19" / "smol.run"
    for run in (one, other):
        write_run(run, RUN, tag=run.stem)
    done = bench(tmp_path, "-m", "nDCG@10, RR@10")
    assert done.exit_code == 0, done.output
    assert handler.read_metadata(one) == metadata(CARD, "bm25", measures=["nDCG@10", "RR@10"])
    assert handler.read_metadata(other)["data"]["test collection"] == {"name": "dl19"}
    assert list(read_run(other)) == list(RUN)


def test_a_folder_of_something_else_is_one_line(tmp_path):
    assert (
        bench(tmp_path).stderr == f"limrank: {tmp_path}: no card.json in it; give a folder that limrank bench wrote\n"
    )
    (tmp_path / "card.json").write_text("{}")
    assert "runs: no runs (*.run or *.run.gz); give a folder" in bench(tmp_path).stderr
