"""The examples run as they are: the notebooks in a kernel, the script as a program; without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from limrank_ir.http import create_app
from tests.chat_server import said, serving
from tests.serving import counting, served

EXAMPLES = Path(__file__).parents[1] / "examples"
QUESTION = "How much room is left on my disk?"


def printed(name, folder):
    """What the cells of a notebook print, run in a folder."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def script(*arguments):
    command = [sys.executable, EXAMPLES / "rag_langchain.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_experiment_notebook(tmp_path):
    text = printed("pyterrier_experiment.ipynb", tmp_path)
    assert re.search(r"BM25 >> LimRank +0\.\d+", text)
    assert "100 of the fused pipeline's 100 verdicts came from the store" in text
    assert len((tmp_path / "fused.run").read_text().splitlines()) == 100


def test_the_notebook_for_your_own_files(tmp_path):
    text = printed("rerank_your_files.ipynb", tmp_path)
    assert "10 passages" in text
    assert re.search(r"^ *-?\d+\.\d+ +0\.\d+ +Brakes squeak", text, re.MULTILINE)
    assert re.search(r"^q2 Q0 payment#0 1 ", (tmp_path / "reranked.run").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.ipynb")))
def test_committed_notebooks_hold_short_texts_only(name):
    """No images, no paths of the machine that ran them, no counters that change with each run."""
    for cell in nbformat.read(EXAMPLES / name, as_version=4).cells:
        assert cell.get("execution_count") is None
        for output in cell.get("outputs", []):
            assert output["output_type"] == "stream" and output["name"] == "stdout"
            assert (
                len(output["text"]) < 1000 and "site-packages" not in output["text"] and "/tmp/" not in output["text"]
            )


def test_the_rag_script_prints_the_prompt_where_there_is_no_chat_model():
    text = script(QUESTION, "--top", "2")
    assert "[1] (shutil.disk_usage)" in text and "[2]" in text and "[3]" not in text
    assert text.rstrip().endswith(f"Question: {QUESTION}")


def test_the_rag_script_asks_a_reranker_and_a_chat_model_over_http(tmp_path):
    (tmp_path / "notes.md").write_text("A short note.\n\nA longer note that the word counter likes best of all.\n")
    with (
        served(create_app(counting())) as (host, port),
        serving(lambda body: said("It is the second one [1].")) as chat,
    ):
        urls = ["--rerank-url", f"http://{host}:{port}", "--chat-url", chat.url]
        text = script("Which note?", "--documents", str(tmp_path), "--top", "1", *urls)
    assert text == "It is the second one [1].\n\n[1] notes.md#2\n"
    (asked,) = chat.asked
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert "A longer note" in asked["messages"][1]["content"] and "A short note" not in asked["messages"][1]["content"]
