"""The command ``limrank bench errors``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from limrank_ir.cli import console
from limrank_ir.cli import options as o
from limrank_ir.errors import InputError
from limrank_ir.formats.output import check_places


def errors(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Page to write: page.html.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="A folder that bench suite wrote, instead of the files.")
    ] = None,
    collection: Annotated[str | None, typer.Option(metavar="NAME", help="Which collection of FOLDER.")] = None,
    system: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which system of FOLDER: its label, or LABEL-fused.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", metavar="FILE", help="The first stage's TREC run.")] = None,
    reranked: Annotated[Path | None, typer.Option(metavar="FILE", help="The TREC run after reranking.")] = None,
    topics: Annotated[Path | None, typer.Option(metavar="FILE", help="The queries.")] = None,
    corpus: Annotated[Path | None, typer.Option(metavar="FILE", help="The passages.")] = None,
    qrels: Annotated[Path | None, typer.Option(metavar="FILE", help="The judgments.")] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSONL of rerank --explain: log-odds and reasoning."),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, metavar="N", help="Documents of each ranking to show.")] = 10,
    margin: Annotated[
        float,
        typer.Option(min=0.0, metavar="X", help="Log-odds this close count as the same (indirect scored like direct)."),
    ] = 1.0,
    queries: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most queries on the page: those that changed most.")
    ] = 1000,
    quiet: o.Quiet = False,
) -> None:
    r"""Where reranking helped and hurt most: a page to read, query by query.

    Both rankings stand side by side, with judgments, log-odds, and reasoning. A filter finds the error that LimRank's
    paper names: indirect relevance scored like direct. A JSON file beside the page has the same without texts.

    For example:

        limrank rerank --run bm25.txt --topics topics.tsv --corpus corpus.jsonl \
            --explain verdicts.jsonl -o reranked.txt

        limrank bench errors --run bm25.txt --reranked reranked.txt --topics topics.tsv \
            --corpus corpus.jsonl --qrels qrels.txt --verdicts verdicts.jsonl -o page.html

        limrank bench errors results/suite --collection csfcube --system limrank-smol -o page.html
    """
    from .report import write_errors
    from .suite_folder import Files, suite_files

    given = {"--run": run, "--reranked": reranked, "--topics": topics, "--corpus": corpus, "--qrels": qrels}
    if output.suffix != ".html":
        raise InputError(f"-o {output}: give a page a name that ends in .html")
    check_places(
        {"-o": output, f"{output.with_suffix('.json')} beside -o": output.with_suffix(".json")},
        {**given, "--verdicts": verdicts},
    )
    if folder is not None:
        if named := [name for name, path in given.items() if path is not None]:
            raise InputError(f"{named[0]}: the files come from {folder}; leave one of them out")
        files = suite_files(folder, collection, system)
    else:
        if missing := [name for name, path in given.items() if path is None]:
            raise InputError(f"bench errors needs {', '.join(missing)}; or give a folder that bench suite wrote")
        files = Files(*(path for path in given.values() if path is not None))
    found = write_errors(files, output, verdicts=verdicts, k=k, margin=margin, queries=queries)
    counts = Counter(change.change for change in found)
    console.table(
        ["queries", "helped", "hurt", "unchanged", "indirect like direct"],
        [
            [
                str(len(found)),
                *(str(counts[name]) for name in ("helped", "hurt", "unchanged")),
                str(sum(bool(change.indirect) for change in found)),
            ]
        ],
        left=0,
    )
    console.log.info("wrote %s and %s", output, output.with_suffix(".json"))
