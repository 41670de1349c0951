"""Tiny collections for the tests of ``limrank bench suite``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

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


def write_collection(folder: Path, **files: str) -> Path:
    """Write a collection. `files` replace the usual ones or add to them (``run_pool`` is ``run.pool.txt``)."""
    folder.mkdir(parents=True)
    corpus = "".join(json.dumps({"docno": docno, "text": text}) + "\n" for docno, text in DOCS.items())
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
        file.write(corpus)
    (folder / "topics.jsonl").write_text("".join(json.dumps(topic) + "\n" for topic in TOPICS))
    (folder / "qrels.txt").write_text(QRELS)
    for name, text in files.items():
        extension = ".txt" if name.startswith("run") or name == "qrels" else ""
        (folder / f"{name.replace('_', '.')}{extension}").write_text(text)
    return folder


def write_collections(folder: Path) -> Path:
    """Write three collections (no run, a pool, and a run of its own) and a folder that is not a collection."""
    write_collection(folder / "plain")
    pool = {"q1": [("d6", 0), ("d2", 0), ("d1", 0), ("d3", 0)], "q3": [("d4", 0)]}
    write_collection(folder / "pool", run_pool=_run(pool))
    given = {"q1": [("d4", 9.0), ("d2", 3.0), ("d1", 2.5)], "q2": [("d5", 4.0), ("d3", 4.0)], "q3": [("d6", 1.0)]}
    write_collection(folder / "given", run_bm25=_run(given))
    (folder / "train-set").mkdir()
    return folder


def _run(documents: dict[str, list[tuple[str, float]]]) -> str:
    return "".join(f"{qid} Q0 {docno} 1 {score} x\n" for qid, scored in documents.items() for docno, score in scored)
