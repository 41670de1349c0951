"""A miniature of BRIGHT in the layout of the data set on the hub, with texts of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BIOLOGY = {
    "light/moth 1_0.txt": "Moths navigate by the moon and circle around a lamp.",  # stackoverflow's ids have spaces
    "light/moth_2_0.txt": "Phototaxis is movement toward light.",
    "sleep/rem_0.txt": "Dreams are most vivid in REM sleep.",
    "sleep/rem_1.txt": "The brain stem relaxes the muscles in REM sleep.",
    "salt/osmosis_0.txt": "Osmosis moves water toward salt.",
    "salt/empty_0.txt": " ",  # BRIGHT has such documents
}
AOPS = {
    "p1": "How many ways are there to tile a row with dominoes?",
    "p2": "Count the subsets of ten numbers without two neighbors.",
    "p3": "A triangle has sides 3, 4, and 5. Find its area.",
    "p4": "In how many ways can stairs be climbed by one or two steps?",
}
EXAMPLES = {
    "biology": [
        ("0", "Why do moths fly to a lamp?", ["light/moth 1_0.txt", "light/moth_2_0.txt"], ["N/A"], ["light/moth"]),
        ("1", "Why am I unable to move in a dream?", ["sleep/rem_1.txt"], ["N/A"], ["sleep/rem"]),
    ],
    "aops": [
        ("a/1", "In how many ways can stairs be climbed?", ["p1", "p2"], ["p4"], ["N/A"]),
        ("a/2", "What is the area of a triangle?", [], ["N/A"], ["N/A"]),  # as one query of theoremqa_questions
    ],
}
EXPANDED = {
    "biology": {"0": "Phototaxis is the answer: navigation by light.", "1": "Relaxed muscles in REM sleep."},
    "aops": {"a/1": "Fibonacci numbers count tilings with dominoes.", "a/2": "Heron's formula."},
}
DOCUMENTS = {"biology": BIOLOGY, "aops": AOPS}
LONG = {"light/moth": "Moths and lamps, at length.", "sleep/rem": "REM sleep, at length."}
RUNS = {
    "biology": {
        "0": {"sleep/rem_0.txt": 3.0, "light/moth 1_0.txt": 2.0, "salt/empty_0.txt": 1.0},
        "1": {"sleep/rem_0.txt": 2.5, "sleep/rem_1.txt": 2.5, "salt/osmosis_0.txt": 1.0},
    },
    "aops": {"a/1": {"p4": 9.0, "p3": 3.0, "p1": 2.0, "p2": 1.0}, "a/2": {"p3": 1.0}},
}
"""The first stage. In ``1`` two documents tie; ``p4`` is excluded."""


def write_bright(folder: Path, *, rows_per_file: int = 100) -> Path:
    """Write the data set: ``examples/biology-00000-of-00001.parquet``, and so on."""
    for task, examples in EXAMPLES.items():
        rows = [
            {
                "query": query,
                "reasoning": "HUMAN REASONING",
                "id": qid,
                "excluded_ids": excluded,
                "gold_ids_long": gold_long,
                "gold_ids": gold,
            }
            for qid, query, gold, excluded, gold_long in examples
        ]
        write_rows(folder / "examples", task, rows)
        write_rows(folder / "gpt4_reason", task, [{**row, "query": EXPANDED[task][row["id"]]} for row in rows])
        documents = [{"id": docno, "content": text} for docno, text in DOCUMENTS[task].items()]
        write_rows(folder / "documents", task, documents, rows_per_file)
    write_rows(folder / "long_documents", "biology", [{"id": name, "content": text} for name, text in LONG.items()])
    return folder


def write_rows(folder: Path, task: str, rows: list[dict], rows_per_file: int = 100) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts = [rows[first : first + rows_per_file] for first in range(0, len(rows), rows_per_file)]
    for number, part in enumerate(parts):
        pq.write_table(pa.Table.from_pylist(part), folder / f"{task}-{number:05}-of-{len(parts):05}.parquet")


def write_pro(folder: Path) -> Path:
    """Write biology in the layout of BRIGHT-Pro on the hub, as mteb uploads it."""
    place = folder / "BrightProBiologyRetrieval"
    write_rows(place / "corpus", "standard", [{"id": docno, "text": text} for docno, text in BIOLOGY.items()])
    queries = [{"id": qid, "text": query} for qid, query, *_ in EXAMPLES["biology"]]
    write_rows(place / "queries", "standard", queries)
    qrels = [
        {"query-id": qid, "corpus-id": docno, "score": 1} for qid, _, gold, *_ in EXAMPLES["biology"] for docno in gold
    ]
    write_rows(place / "qrels", "standard", qrels)
    return folder


def write_json_runs(folder: Path) -> Path:
    """Write the runs as Rank1 publishes them."""
    for task, run in RUNS.items():
        place = folder / f"{task}_bm25_long_False"
        place.mkdir(parents=True)
        (place / "score.json").write_text(json.dumps(run))
        (place / "results.json").write_text("{}")
    return folder


def write_trec_runs(folder: Path) -> Path:
    """Write the runs as ReasonRank publishes them."""
    for task, run in RUNS.items():
        (folder / task).mkdir(parents=True)
        lines = [f"{qid} Q0 {docno} 1 {score} x\n" for qid, scores in run.items() for docno, score in scores.items()]
        (folder / task / "top100.txt").write_text("".join(lines))
    return folder
