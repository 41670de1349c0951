"""From files to the page and the JSON beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from limrank_ir.errors import InputError
from limrank_ir.formats.corpus import read_passages
from limrank_ir.formats.files import find, replacing

from ..environment import command_line, environment
from ..folder import write_json
from .changes import MARGIN, MEASURE, QueryChange, Rankings, changes, read_rankings
from .page import LONGEST, PAIRS, most_changed, page, records, shown_documents, text_limit
from .suite_folder import Files
from .verdicts import Judged, read_verdicts

BEFORE, AFTER = "First stage", "Reranked"


def write_errors(
    files: Files,
    output: Path,
    *,
    verdicts: Path | None = None,
    k: int = 10,
    margin: float = MARGIN,
    queries: int = 1000,
) -> list[QueryChange]:
    """Write the page, and the same without texts as JSON beside it.

    Args:
        files: the runs, topics, corpus, and judgments.
        output: the page; the JSON has the same name with ``.json``.
        verdicts: the file of ``limrank rerank --explain``, or None.
        k: documents of each ranking to show.
        margin: see `limrank_ir.benchmarks.errors.changes.indirect_errors`.
        queries: the most queries on the page. The JSON has all.

    Returns:
        All queries, from the largest gain to the largest loss.

    Raises:
        InputError: a file is malformed, or the files do not fit together.
    """
    rankings = read_rankings(files.run, files.reranked, files.topics, files.qrels)
    top = rankings.docnos(k)
    known: dict[str, dict[str, Judged]] = {}
    if verdicts is not None:
        wanted = {qid: {entry.docno for entry in entries} for qid, entries in rankings.reranked.items()}
        limit = text_limit(sum(map(len, top.values())))
        known = read_verdicts(verdicts, wanted, top, limit=limit)
    found = changes(rankings, known, k=k, margin=margin)
    shown = most_changed(found, queries)
    docnos = {each.docno: None for change in shown for each in shown_documents(change, k)}
    passages = read_passages(files.corpus, docnos)
    given = {**dict(zip(files._fields, files, strict=True)), **({"verdicts": verdicts} if verdicts else {})}
    hashes = {name: _hash(path) for name, path in given.items()}
    facts = environment(command_line(), None)
    about = {
        "measure": MEASURE,
        "settings": {"k": k, "margin": margin},
        "graded": rankings.graded,
        "left_out": rankings.left_out,
        "files": {name: {"path": str(path), "sha256": hashes[name]} for name, path in given.items()},
        "environment": facts,
    }
    html = page(
        found,
        shown,
        passages,
        k=k,
        facts={**{name: f"{path} (sha256 {hashes[name][:16]})" for name, path in given.items()}, **facts},
        notes=_notes(rankings, found, shown, known, len(passages), k, margin),
        names=(BEFORE, AFTER),
        score="score",
    )
    write_json(output.with_suffix(".json"), records(found, about))
    with replacing(output) as file:
        file.write(html)
    return found


def _notes(
    rankings: Rankings,
    found: Sequence[QueryChange],
    shown: Sequence[QueryChange],
    known: dict[str, dict[str, Judged]],
    passages: int,
    k: int,
    margin: float,
) -> list[str]:
    """What a reader of the page has to know, and what it leaves out."""
    numbers = (
        "log-odds" if known else "scores of the reranked run, which are log-odds if limrank wrote it without --fuse,"
    )
    notes = [
        f"Queries are in the order of their change in {MEASURE}: helped most first, hurt most last. "
        "Changes below 0.0005 count as unchanged. The filter for hurt ones has the largest loss first.",
        f"Left is the first stage's ranking, right the reranked one, each down to rank {k}. ▲3 climbed three ranks, "
        "▼2 fell two; new ones were not in the first stage's run. On the left, → 3 goes to rank 3, and those that are "
        "out are not in the reranked run.",
        "Documents that are not judged count as not relevant.",
    ]
    if rankings.graded:
        notes.append(
            "Indirect relevance scored like direct, the error that LimRank's paper names: for a query, a document of a "
            f"lower grade above 0 is among the best {k} after reranking and stands above a document of the query's "
            f"highest grade, or has the same score; and their {numbers} differ by at most {margin:g}. "
            f"A query shows its first {PAIRS} such pairs, and their documents are set apart on the right."
        )
    else:
        notes.append(
            "The filter for indirect relevance that is scored like direct needs grades: in these judgments, everything "
            "relevant has grade 1, so no document counts as background."
        )
    if known:
        notes.append("Log-odds are the model's verdict: log P(true) - log P(false). P is P(true).")
        ranked = sum(each.after is not None for change in found for each in change.documents)
        if missing := ranked - sum(each.judged is not None for change in found for each in change.documents):
            notes.append(
                f"{missing:,} of {ranked:,} reranked documents have no verdict in the file; they show their score."
            )
    if len(shown) < len(found):
        notes.append(
            f"The page has {len(shown):,} of {len(found):,} queries, half of them helped most, half hurt most; "
            "the JSON file has all."
        )
    if rankings.left_out:
        notes.append(f"{rankings.left_out:,} judged queries are in neither run and are left out.")
    limit = text_limit(passages)
    notes.append(
        f"Passages and thoughts of more than {limit:,} characters are cut in the middle"
        f"{', because there are so many' if limit < LONGEST else ''}. Lower ranks are in the JSON file, without texts."
    )
    return notes


def _hash(path: Path) -> str:
    """The SHA-256 of a file, or of the file in a folder that its reader takes."""
    names = ("corpus.jsonl", "corpus.jsonl.gz", "topics.jsonl", "topics.jsonl.gz", "queries.jsonl", "queries.jsonl.gz")
    file = find(path, (*names, "qrels.txt", "qrels.txt.gz", "qrels/test.tsv"))
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the file") from error
