"""``limrank requests``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.cli.passages import passages
from limrank_ir.formats.output import check_places, output_name


def requests(
    run: o.RunFile,
    topics: o.TopicsFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write; - for stdout, .gz to compress it.")
    ],
    corpus: o.OptionalCorpusFile = None,
    index: o.IndexFolder = None,
    k: o.Depth = 100,
    exclude: o.ExcludeFile = None,
    quiet: o.Quiet = False,
) -> None:
    r"""Write a run as RankLLM requests: JSONL, each query with the text of its documents.

    For example:

        limrank requests --run bm25.txt --topics topics.tsv --corpus corpus.jsonl \
            -o requests.jsonl
        limrank rank-llm rerank --model-path limrank-smol \
            --requests-file requests.jsonl --output-trec-file out.txt
    """
    from limrank_ir.ranking import candidates

    check_places({"-o": output}, {"--run": run, "--topics": topics, "--corpus": corpus, "--exclude": exclude})
    found = candidates.read_candidates(run, topics, passages(corpus, index), k=k, exclude=exclude)
    candidates.write_requests(output, found)
    pairs = sum(map(len, found.documents.values()))
    console.log.info("%d queries with %d documents written to %s", len(found.documents), pairs, output_name(output))
