"""The process that runs PISA for `limrank_ir.retrieval.bm25`.

PISA prints to stdout and stderr from C++, and ends the process when something fails, such as on a full disk. In a
separate process, it cannot do that to ours, and Ctrl-C does not have to wait for it.

    python pisa.py FOLDER '{"task": "index", ...}'

It reads and writes lines of JSON. For ``index``: [docno, text] on stdin, and at the end the number of documents on
stdout. For ``search``: a query on stdin, and its list of [docno, score] on stdout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator


def main(folder: str, options: str) -> None:
    """Build an index from stdin, or answer the queries on stdin.

    Args:
        folder: the index.
        options: a JSON object with task, stemmer, k1, b, and for a search, k.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # redirects what PISA prints to stderr

    import pandas as pd
    from pyterrier_pisa import PisaIndex

    settings = json.loads(options)
    index = PisaIndex(folder, text_field="text", stemmer=settings["stemmer"])
    weighting = {"k1": settings["k1"], "b": settings["b"]}
    if settings["task"] == "index":
        index.index(_documents())
        index.bm25(**weighting)  # creates the files that a search needs
        print(len(index), file=results)
        return
    bm25 = index.bm25(num_results=settings["k"], **weighting)
    for line in sys.stdin:
        found = bm25(pd.DataFrame([{"qid": "1", "query": json.loads(line)}]))
        scores = [float(score) for score in found["score"]]
        print(json.dumps(list(zip(found["docno"], scores, strict=True))), file=results, flush=True)


def _documents() -> Iterator[dict[str, str]]:
    for line in sys.stdin:
        docno, text = json.loads(line)
        yield {"docno": docno, "text": text}


if __name__ == "__main__":
    main(*sys.argv[1:])
